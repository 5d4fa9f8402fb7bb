/**
 * The moment at which a node boots from nothing. Its firmware is at work, so no system of the node's runs: now an
 * ephemeral root can go and a changed plan can take effect, and it must be done before the firmware gets on.
 *
 * The sign is the firmware's DISCOVER, which no running system sends, and the offer waits for what it starts: whatever
 * becomes of the manager meanwhile, a node that boots has a fresh root, and one that runs keeps its own. Only where
 * DHCP is somebody else's, the first file of a boot has to do.
 */
import { isFirstBootFile } from "../cluster/status.ts";
import type { DhcpClient, DhcpClientFacts } from "../dhcp/policy.ts";
import type { Clock } from "../ports.ts";

/** Within one boot the firmware asks for its next file far sooner. */
const NEW_BOOT_PAUSE_MS = 15_000;

export interface BootStartsOptions {
  hearsDhcp: boolean;
  clock: Pick<Clock, "monotonicMs">;
  /** `undefined` when there is nothing to do. */
  begin(node: string): Promise<void> | undefined;
}

export interface BootStarts {
  /** What the answer to a DHCP client must wait for. */
  beforeReply(facts: DhcpClientFacts, client: DhcpClient): Promise<void> | undefined;
  /** What the first byte of a file must wait for. */
  beforeFile(node: string, path: string): Promise<void> | undefined;
}

export function bootStarts({ hearsDhcp, clock, begin }: BootStartsOptions): BootStarts {
  const lastFileMs = new Map<string, number>();
  return {
    beforeReply(facts, client) {
      const isFirmware = facts.message === "DISCOVER" && (facts.vendorClass?.startsWith("PXEClient") ?? false);
      return client.kind === "pi" && isFirmware ? begin(client.node) : undefined;
    },

    beforeFile(node, path) {
      if (hearsDhcp) return undefined;
      const nowMs = clock.monotonicMs();
      const lastMs = lastFileMs.get(node) ?? Number.NEGATIVE_INFINITY;
      lastFileMs.set(node, nowMs);
      return isFirstBootFile(path) && nowMs - lastMs > NEW_BOOT_PAUSE_MS ? begin(node) : undefined;
    },
  };
}
