/** A fault, how it shows, and the one cause that must be named for it. */
import { expect, it } from "vitest";
import type { FrameFault } from "../../src/simulator/faults/frame-faults.ts";
import type { FirmwareSettings } from "../../src/simulator/firmware-settings.ts";
import { DiagnosedNetwork, type NetworkSettings, NODE } from "./diagnosed-network.ts";

export interface Scenario {
  cause: string;
  /** Ten seconds after the evidence is complete, counted from the beginning. */
  bySeconds: number;
  settings: NetworkSettings;
  /** Causes that are true before, while the evidence is not complete. */
  after?: readonly string[];
  /** Who it is named for; `lan` for the network. */
  nodes?: readonly string[];
  lan?: boolean;
  /** What the network is diagnosed with meanwhile. */
  alsoLan?: readonly string[];
  /** Which of several. */
  title?: string;
  run(network: DiagnosedNetwork): Promise<void>;
}

/** One board that is switched on, on a network with these settings. */
export interface Boot extends NetworkSettings, Pick<Scenario, "after" | "title"> {
  bySeconds: number;
  cable?: readonly FrameFault[];
  firmware?: Partial<FirmwareSettings>;
  /** It is switched off then; what follows is counted from there. */
  offMs?: number;
  forMs?: number;
}

export function boot(
  cause: string,
  { bySeconds, after, title, cable, firmware, offMs, forMs = 30_000, ...settings }: Boot,
): Scenario {
  return {
    cause,
    bySeconds,
    settings,
    ...(after && { after }),
    ...(title !== undefined && { title }),
    async run(network) {
      const pi = network.powerOn(network.boards[0], { ...(cable && { cable }), ...(firmware && { firmware }) });
      if (offMs !== undefined) {
        await network.pass(offMs);
        pi.powerOff();
      }
      await network.pass(forMs);
      pi.powerOff();
    },
  };
}

export function scenarios(table: readonly Scenario[]): void {
  it.each(table.map((scenario) => [scenario.title ?? scenario.cause, scenario] as const))(
    "%s",
    async (_, { cause, bySeconds, settings, after = [], nodes = [NODE], lan = false, alsoLan = [], run }) => {
      const network = await DiagnosedNetwork.start(settings);
      await run(network);
      for (const node of lan ? [undefined] : nodes) {
        expect(network.causes(node)).toEqual([...after, cause]);
        const { atMs } = network.named.find((each) => each.node === node && each.cause === cause)!;
        expect(atMs / 1000).toBeLessThanOrEqual(bySeconds);
      }
      expect(network.causes()).toEqual(lan ? [...after, cause] : alsoLan);
    },
  );
}
