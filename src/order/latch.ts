/** Holds back, until it is opened for good, what waits for it. */
export class Latch {
  readonly opened: Promise<void>;
  #resolve: () => void = () => {};
  /** How many have come to wait. */
  waitingCount = 0;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  open(): void {
    this.#resolve();
  }

  whenOpen<T>(run: () => T): Promise<T> {
    this.waitingCount += 1;
    return this.opened.then(run);
  }
}
