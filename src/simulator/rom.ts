/**
 * The boot ROM of the Pi 3: at most five tries to get an address and bootcode.bin, with the bugs that the 3B's has.
 *
 * Sources: documentation "boot-net"; the measurements of openSUSE/netboot-rpi3b; the issues named in firmware-settings.ts.
 * Left out: cards and USB disks, which the ROM tries first.
 */
import type { RomStage } from "./boot-stages.ts";
import { FirmwareFailure } from "./firmware-events.ts";
import {
  incompleteOffers,
  isComplete,
  listenForAnswers,
  type NetworkContext,
  type NetworkReady,
  newTransactionId,
  sendDiscover,
  takeOffer,
  useAddress,
} from "./firmware-network.ts";
import { Mailbox } from "./mailbox.ts";
import type { Offers } from "./offer-rules.ts";

export interface RomContext extends NetworkContext {
  stage: RomStage;
}

/**
 * One try after the other, each with a network stack of its own. `load` gets bootcode.bin. Throws the last try's
 * `FirmwareFailure`, which is final where the ROM gives up.
 */
export async function runRom<Loaded>(
  startTry: () => RomContext,
  load: (context: RomContext, network: NetworkReady) => Promise<Loaded>,
): Promise<Loaded> {
  for (let tries = 1; ; tries++) {
    const context = startTry();
    const { clock, stage } = context;
    const nextTryMs = clock.monotonicMs() + stage.rom.tryMs;
    try {
      const { address, tftpServer } = await waitForOffer(context);
      return await load(context, await useAddress(context, address, tftpServer));
    } catch (error) {
      if (!(error instanceof FirmwareFailure)) throw error;
      const waitMs = Math.max(0, nextTryMs - clock.monotonicMs());
      await new Promise<void>((resolve) => void clock.after(waitMs, resolve));
      if (tries >= stage.rom.tries) throw new FirmwareFailure(error.reason, error.message, stage.bugs.givesUp);
    }
  }
}

/**
 * The 3B notices what it was offered only when it is woken by some frame later than a second after its DISCOVER, and
 * stops waiting when a second passes without one.
 */
async function waitForOffer(context: RomContext): Promise<Required<Offers>> {
  const { stack, clock, stage } = context;
  const { lateReceive } = stage.bugs;
  const { tryMs, receiveTimeoutMs, transactionMs } = stage.rom;
  const transactionId = newTransactionId(context);
  const offers: Offers = {};
  const frames = new Mailbox<"frame">(clock);
  const startMs = clock.monotonicMs();
  const stopListening = listenForAnswers(context, (answer) => {
    if (answer.type === "offer" && answer.transactionId === transactionId) takeOffer(context, offers, answer);
  });
  stack.onAnyFrame(() => frames.put("frame"));
  sendDiscover(context, transactionId);
  try {
    for (;;) {
      const limitMs = lateReceive ? Math.min(clock.monotonicMs() + receiveTimeoutMs, startMs + tryMs) : startMs + tryMs;
      if ((await frames.take(limitMs)) === undefined) throw notNoticed(offers, stage);
      const isOver = !lateReceive || clock.monotonicMs() - startMs > transactionMs;
      if (isOver && isComplete(offers)) return offers;
    }
  } finally {
    stopListening();
    stack.onAnyFrame(() => {});
  }
}

function notNoticed(offers: Offers, stage: RomStage): FirmwareFailure {
  if (!isComplete(offers)) return incompleteOffers(offers, `in ${stage.rom.tries} tries`, stage);
  const why = "an OFFER came, but no frame after the first second that would have made the ROM notice it";
  return new FirmwareFailure("offer-not-noticed", `Cannot get an address in ${stage.rom.tries} tries: ${why}`);
}
