/** A service that goes away for a while, with all it knew: a manager that restarts. */
import type { Awaitable, Clock } from "../../ports.ts";

export interface RestartSettings {
  clock: Pick<Clock, "after">;
  /** From now until it goes, and how long it is away then. */
  afterMs: number;
  awayMs: number;
  /** Starts it, with nothing kept from before. Returns how to end it. */
  start(): Promise<() => Awaitable<void>>;
}

/** Starts it, and once ends it and starts it again. Returns how to end it for good. */
export async function startRestartingService(settings: RestartSettings): Promise<() => Promise<void>> {
  const { clock, afterMs, awayMs, start } = settings;
  let running: Promise<() => Awaitable<void>> | undefined = start();
  await running;
  const stop = async () => {
    const stopping = running;
    running = undefined;
    await (await stopping)?.();
  };
  let timer = clock.after(afterMs, () => {
    void stop();
    timer = clock.after(awayMs, () => {
      running = start();
    });
  });
  return async () => {
    timer.cancel();
    await stop();
  };
}
