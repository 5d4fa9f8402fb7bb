/** What several caches may hold together. When it is too much, the cache that was filled least recently is emptied. */
export class CacheBudget {
  readonly #weightMax: number;
  readonly #caches = new Set<LayerCache<unknown>>();
  #weight = 0;

  constructor(weightMax: number) {
    this.#weightMax = weightMax;
  }

  charge(cache: LayerCache<unknown>, weight: number): void {
    this.#weight += weight;
    this.#caches.delete(cache);
    this.#caches.add(cache);
    for (const oldest of this.#caches) {
      if (this.#weight <= this.#weightMax) break;
      oldest.clear();
    }
  }

  release(cache: LayerCache<unknown>, weight: number): void {
    this.#weight -= weight;
    this.#caches.delete(cache);
  }
}

/**
 * One layer's part: a plain map by file id, emptied as a whole. Bookkeeping for each entry would cost more than
 * reading it again does.
 */
export class LayerCache<Value> {
  readonly #budget: CacheBudget;
  readonly #values = new Map<number, Value>();
  #weight = 0;

  constructor(budget: CacheBudget) {
    this.#budget = budget;
  }

  get(id: number): Value | undefined {
    return this.#values.get(id);
  }

  set(id: number, value: Value, weight: number): void {
    if (!this.#values.has(id)) {
      this.#weight += weight;
      this.#budget.charge(this, weight);
    }
    this.#values.set(id, value);
  }

  /** A value that is here has become heavier. It may be gone after this. */
  grow(weight: number): void {
    this.#weight += weight;
    this.#budget.charge(this, weight);
  }

  delete(id: number): void {
    this.#values.delete(id);
  }

  clear(): void {
    this.#values.clear();
    this.#budget.release(this, this.#weight);
    this.#weight = 0;
  }
}
