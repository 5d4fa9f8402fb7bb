/** `dhcp: proxy` beside a router that is not ours: dnsmasq, as most home routers run it, on a machine of its own. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseMac } from "../../src/bytes/addresses.ts";
import { type FleetEvent, startFleet } from "../../src/simulator/fleet.ts";
import { findVirtualModel, makeBoard } from "../../src/simulator/models.ts";
import { systemClock } from "../../src/system/clock.ts";
import { createLabNetwork, type LabNetwork } from "../../src/system/lab-network.ts";
import { systemRandom } from "../../src/system/random.ts";
import { openTap } from "../../src/system/tap.ts";
import { demoImage } from "./demo-image.ts";
import { startDnsmasqRouter } from "./dnsmasq-router.ts";
import { ManagerProcess } from "./manager-process.ts";
import { enterNetworkNamespace } from "./network-namespace.ts";
import { requireRoot, requireTools } from "./required-tools.ts";

const MAC = parseMac("dc:a6:32:00:00:01");
/** The demo image has no device tree of the Pi 5. */
const MODELS = ["3b+", "4"] as const;
const skipped = requireRoot() || requireTools(["ip", "dnsmasq"]);

describe.skipIf(skipped)("beside dnsmasq as the router", () => {
  let lab: LabNetwork;
  let router: { stop(): Promise<void> } | undefined;
  let manager: ManagerProcess | undefined;

  beforeAll(async () => {
    const image = demoImage();
    enterNetworkNamespace();
    lab = await createLabNetwork({ taps: 1 });
    router = await startDnsmasqRouter(lab, `bramble-router-${process.pid}`);
    manager = await ManagerProcess.start(`cluster: attic
network: { interface: ${lab.bridge}, dhcp: proxy }
image: ${JSON.stringify(image)}
nodes: [{ name: node1, mac: "${MAC}" }]
`);
  }, 300_000);

  afterAll(async () => {
    await manager?.stop();
    await router?.stop();
  });

  it.each(MODELS)(
    "a Pi %s takes its address from the router and its files from us",
    async (model) => {
      const firstEvent = manager!.events.length;
      const events: FleetEvent[] = [];
      const off = new AbortController();
      const board = makeBoard(findVirtualModel(model)!, { mac: MAC }, systemRandom);
      await startFleet({
        pis: [{ name: "node1", board, tapName: lab.taps[0]! }],
        openPort: openTap,
        clock: systemClock,
        random: systemRandom,
        firmware: { linkUpMs: 10 },
        signal: off.signal,
        onEvent(event) {
          events.push(event);
          if (event.kind === "firmware-failed") off.abort();
        },
      }).finished;
      expect(events.map(({ kind }) => kind)).toContain("firmware-done");
      // What the manager tells is on its way still.
      const files = () =>
        manager!.events.slice(firstEvent).flatMap((event) => (event.kind === "tftp-complete" ? [event] : []));
      const paths = () => files().map(({ path }) => path);
      await expect.poll(() => paths().join(" "), { timeout: 20_000 }).toMatch(/config\.txt.*vmlinuz/);
      for (const { client } of files()) expect(client).toMatch(/^10\.77\.0\.[5-9]\d$/);
    },
    60_000,
  );
});
