/** What several caches may hold together. When it is too much, the cache that was filled least recently is emptied. */
export class CacheBudget {
  readonly #weightMax: number;
  readonly #caches = new Set<LayerCache<unknown>>();
  #weight = 0;

  constructor(weightMax: number) {
    this.#weightMax = weightMax;
  }

  /** Returns true when it is too much still, with nothing left but this cache. */
  charge(cache: LayerCache<unknown>, weight: number): boolean {
    this.#weight += weight;
    this.#caches.delete(cache);
    this.#caches.add(cache);
    for (const oldest of this.#caches) {
      if (this.#weight <= this.#weightMax) return false;
      if (oldest !== cache) oldest.clear();
    }
    return this.#weight > this.#weightMax;
  }

  release(cache: LayerCache<unknown>, weight: number): void {
    this.#weight -= weight;
    this.#caches.delete(cache);
  }
}

/**
 * One layer's part: a plain map by file id, emptied as a whole. Bookkeeping for each entry would cost more than
 * reading it again does. Only the value in use stays, however heavy: a directory of 100,000 names that is worked on
 * must not be read again for each of them.
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
    const isNew = !this.#values.has(id);
    this.#values.set(id, value);
    if (isNew) this.grow(id, weight, weight);
  }

  /** A value that is here has become heavier by `weight` (lighter, if negative), and weighs `wholeWeight` now. */
  grow(id: number, weight: number, wholeWeight: number): void {
    this.#weight += weight;
    if (!this.#budget.charge(this, weight)) return;
    const value = this.#values.get(id);
    this.clear();
    if (value === undefined) return;
    this.#values.set(id, value);
    this.#weight = wholeWeight;
    this.#budget.charge(this, wholeWeight);
  }

  /** `wholeWeight`: what the value weighs now. */
  delete(id: number, wholeWeight: number): void {
    if (!this.#values.delete(id)) return;
    this.#weight -= wholeWeight;
    this.#budget.charge(this, -wholeWeight);
  }

  clear(): void {
    this.#values.clear();
    this.#budget.release(this, this.#weight);
    this.#weight = 0;
  }
}
