/** Virtual Pis over this machine's loopback, from our own services on real sockets at ports that were free. */
import { afterEach, describe, expect, it } from "vitest";
import { freePorts } from "../../test/free-ports.ts";
import { ALL_FILES, answerFile } from "../../test/virtual-network.ts";
import { dhcpPolicy } from "../boot/dhcp-policy.ts";
import { NodeDirectory } from "../boot/node-directory.ts";
import type { Ipv4 } from "../bytes/addresses.ts";
import { startDhcpServer } from "../dhcp/server.ts";
import { systemClock } from "../system/clock.ts";
import { createUdpSockets } from "../system/udp.ts";
import { nodeUdpSockets } from "../system/udp-node.ts";
import { startTftpServer } from "../tftp/server.ts";
import { bootOverNetwork } from "./firmware.ts";
import type { FirmwareEvent } from "./firmware-events.ts";
import { openLoopbackNetwork } from "./loopback-network.ts";
import { findVirtualModel, makeBoard, type VirtualBoard } from "./models.ts";
import { seededRandom } from "./seed.ts";

const MANAGER = "127.0.0.1" as Ipv4;
const opened: (() => void)[] = [];
afterEach(() => {
  for (const close of opened.splice(0).reverse()) close();
});

async function serve(boards: readonly VirtualBoard[]) {
  const sockets = await createUdpSockets();
  const clock = systemClock;
  const [dhcpPort, tftpPort] = await portsOfServices();
  const nodes = boards.map(({ mac, serial }, index) => {
    return { name: `node${index}`, mac, serial, address: `127.0.0.${index + 11}` as Ipv4 };
  });
  const settings = {
    mode: "server",
    serverAddress: MANAGER,
    subnetMask: "255.255.255.0" as Ipv4,
    routers: [],
    dnsServers: [],
    leaseTimeS: 60,
  } as const;
  const dhcp = await startDhcpServer({
    sockets,
    clock,
    settings,
    interfaceName: "lo",
    ports: { server: dhcpPort, client: dhcpPort + 1 },
    policy: dhcpPolicy(new NodeDirectory(nodes)),
    observe: () => {},
  });
  opened.push(() => dhcp.close());
  const served: string[] = [];
  const tftp = await startTftpServer({
    sockets,
    clock,
    binding: { address: MANAGER, port: tftpPort },
    observe: () => {},
    handler: {
      open: ({ path, client }) => {
        served.push(`${client.address} ${path}`);
        return answerFile(ALL_FILES, path);
      },
    },
  });
  opened.push(() => tftp.close());
  const warnings: string[] = [];
  const manager = { address: MANAGER, dhcpPort, tftpPort };
  const onWarning = (message: string) => void warnings.push(message);
  const network = await openLoopbackNetwork({ sockets, clock, manager, onWarning });
  opened.push(() => network.close());
  return { network, warnings, served };
}

/** The port after that of DHCP is where answers go, so it has to be free as well. */
async function portsOfServices(): Promise<[dhcp: number, tftp: number]> {
  for (;;) {
    const [dhcpPort, tftpPort] = (await freePorts(2)) as [number, number];
    const next = { address: MANAGER, port: dhcpPort + 1 };
    const socket = await nodeUdpSockets()
      .bind(next)
      .catch(() => undefined);
    socket?.close();
    if (socket !== undefined && tftpPort !== next.port) return [dhcpPort, tftpPort];
  }
}

function boot(board: VirtualBoard, port: ReturnType<Awaited<ReturnType<typeof openLoopbackNetwork>>["plug"]>) {
  const events: FirmwareEvent[] = [];
  const report = (event: FirmwareEvent) => void events.push(event);
  const world = { port, clock: systemClock, random: seededRandom(1), report };
  return bootOverNetwork(board, world, { linkUpMs: 1, dhcpTimeoutMs: 20_000 });
}

describe("over loopback, without any rights", () => {
  it.each(["3b+", "4", "5"])("a Pi %s boots, at an address of its own", async (model) => {
    const board = makeBoard(findVirtualModel(model)!, {}, seededRandom(7));
    const { network, warnings, served } = await serve([board]);
    const booted = await boot(board, network.plug());
    expect(booted.ownAddress).toBe("127.0.0.11");
    expect(booted.kernel.sizeBytes).toBe(8000);
    expect(new Set(served.map((line) => line.split(" ")[0]))).toEqual(new Set(["127.0.0.11"]));
    expect(warnings).toEqual([]);
  });

  it("a 3B boots, and takes the second that it waits for frames", async () => {
    const board = makeBoard(findVirtualModel("3b")!, {}, seededRandom(7));
    const { network } = await serve([board]);
    expect((await boot(board, network.plug())).kernel.sizeBytes).toBe(8000);
  });

  it("twelve boot together, each for itself", async () => {
    const boards = Array.from({ length: 12 }, (_, index) => makeBoard(findVirtualModel("4")!, {}, seededRandom(index)));
    const { network } = await serve(boards);
    const booted = await Promise.all(boards.map((board) => boot(board, network.plug())));
    expect(booted.map(({ ownAddress }) => ownAddress)).toEqual(boards.map((_, index) => `127.0.0.${index + 11}`));
  });
});

it("says why the port for answers cannot be had", async () => {
  const sockets = nodeUdpSockets();
  const [port] = (await freePorts(1)) as [number];
  const taken = await sockets.bind({ address: "0.0.0.0" as Ipv4, port });
  opened.push(() => taken.close());
  const manager = { address: MANAGER, dhcpPort: port - 1, tftpPort: 69 };
  const opening = openLoopbackNetwork({ sockets, clock: systemClock, manager, onWarning: () => {} });
  await expect(opening).rejects.toThrow(`Cannot use UDP port ${port}`);
});
