/** Looks at what is done, once a second while something is. */
import type { Clock, Timer } from "../../ports.ts";

const INTERVAL_MS = 1000;
/** What is told of lately fades in ten seconds: after a minute there is nothing left of it. */
const QUIET_LOOKS = 60;

export interface WorkTimerUser {
  /** The first work after a pause. */
  begin(): void;
  /** True when something was done since it last looked. */
  look(): boolean;
  /** Nothing was done for long: it does not look again before something is. */
  rest(): void;
}

export class WorkTimer {
  readonly #clock: Pick<Clock, "after">;
  readonly #user: WorkTimerUser;
  #timer: Timer | undefined;
  #quietLooks = 0;

  constructor(clock: Pick<Clock, "after">, user: WorkTimerUser) {
    this.#clock = clock;
    this.#user = user;
  }

  noteWork(): void {
    if (this.#timer !== undefined) return;
    this.#quietLooks = 0;
    this.#user.begin();
    this.#wait();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #wait(): void {
    this.#timer = this.#clock.after(INTERVAL_MS, () => {
      this.#quietLooks = this.#user.look() ? 0 : this.#quietLooks + 1;
      if (this.#quietLooks < QUIET_LOOKS) this.#wait();
      else {
        this.#timer = undefined;
        this.#user.rest();
      }
    });
  }
}
