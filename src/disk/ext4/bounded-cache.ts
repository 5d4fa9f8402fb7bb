/** Keeps what was used last, up to a total weight. One value may be heavier than the bound: it then stands alone. */
export class BoundedCache<Value> {
  readonly #weightMax: number;
  readonly #weightOf: (value: Value) => number;
  readonly #values = new Map<number, Value>();
  #weight = 0;

  constructor(weightMax: number, weightOf: (value: Value) => number) {
    this.#weightMax = weightMax;
    this.#weightOf = weightOf;
  }

  /** The value under `key`, made by `make` when it is not there. What `make` throws is not kept. */
  get(key: number, make: (key: number) => Value): Value {
    const values = this.#values;
    let value = values.get(key);
    if (value !== undefined) {
      // A Map lists in order of insertion, so the first key is always the one unused for longest.
      values.delete(key);
      values.set(key, value);
      return value;
    }
    value = make(key);
    values.set(key, value);
    this.#weight += this.#weightOf(value);
    for (const [oldest, evicted] of values) {
      if (this.#weight <= this.#weightMax || oldest === key) break;
      values.delete(oldest);
      this.#weight -= this.#weightOf(evicted);
    }
    return value;
  }
}
