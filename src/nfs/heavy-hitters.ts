/**
 * Which of any number of keys weigh most lately, in a fixed number of places: the space-saving algorithm (Metwally, Agrawal,
 * El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005). A key that has no place takes
 * over that of the lightest, with its weight. So a key's weight may be too high by what it took over, which is kept too,
 * and a key with more than a share of 1/PLACES of the whole always has a place.
 *
 * Weights fade with time. Keys are whole numbers from 0.
 */
const PLACES = 32;
const FREE = -1;

/** Weights fade to 1/e in this time, so they tell of about so long. */
const FADE_MS = 10_000;
/** A key that weighs less is forgotten. */
const WEIGHT_MIN = 1e-3;

export interface HeavyHitter {
  key: number;
  /** At least this is its own. */
  perSecond: number;
}

export class HeavyHitters {
  readonly #keys = new Float64Array(PLACES).fill(FREE);
  readonly #weights = new Float64Array(PLACES);
  /** What was taken over with the place. */
  readonly #inherited = new Float64Array(PLACES);

  add(key: number, weight: number): void {
    const keys = this.#keys;
    const weights = this.#weights;
    let lightest = 0;
    for (let place = 0; place < PLACES; place++) {
      if (keys[place] === key) {
        weights[place] = weights[place]! + weight;
        return;
      }
      if (weights[place]! < weights[lightest]!) lightest = place;
    }
    const inherited = weights[lightest]!;
    keys[lightest] = key;
    weights[lightest] = inherited + weight;
    this.#inherited[lightest] = inherited;
  }

  /** The heaviest first, as they were in the last `passedMs`; everything fades by those. */
  take(passedMs: number, limit: number): HeavyHitter[] {
    const kept = Math.exp(-passedMs / FADE_MS);
    // What comes in evenly weighs so much more than what comes in each second.
    const perSecond = ((1 - kept) * 1000) / passedMs;
    const found: HeavyHitter[] = [];
    for (let place = 0; place < PLACES; place++) {
      const key = this.#keys[place]!;
      const own = this.#weights[place]! - this.#inherited[place]!;
      if (key !== FREE && own > 0) found.push({ key, perSecond: own * perSecond });
      this.#fade(place, kept);
    }
    return found.sort((one, other) => other.perSecond - one.perSecond).slice(0, limit);
  }

  #fade(place: number, kept: number): void {
    this.#weights[place] = this.#weights[place]! * kept;
    this.#inherited[place] = this.#inherited[place]! * kept;
    if (this.#weights[place]! >= WEIGHT_MIN) return;
    this.#keys[place] = FREE;
    this.#weights[place] = 0;
    this.#inherited[place] = 0;
  }
}
