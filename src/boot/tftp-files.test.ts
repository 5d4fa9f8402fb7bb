import { describe, expect, it } from "vitest";
import type { Ipv4, Mac } from "../bytes/addresses.ts";
import type { TftpRequest } from "../tftp/handler.ts";
import { NodeDirectory } from "./node-directory.ts";
import { type BootTrees, bootFile, tftpNodes } from "./tftp-files.ts";

const address1 = "10.0.0.11" as Ipv4;
const neighbour = "10.0.0.78" as Ipv4;
const newcomer = "10.0.0.77" as Ipv4;

/** The manager finds the file, and a worker opens it. */
function filesOf(find: ReturnType<typeof tftpNodes>, trees: BootTrees) {
  return async (request: TftpRequest) => {
    const found = await find(request);
    return "kind" in found ? found : bootFile(trees, found);
  };
}

function filesOfTwoNodes() {
  const directory = new NodeDirectory([
    { name: "node1", mac: "dc:a6:32:00:00:01" as Mac, address: address1 },
    { name: "node2", serial: "91cdf03d" },
  ]);
  const open = filesOf(
    tftpNodes(directory, async () => directory.learnNeighbour(neighbour, "dc:a6:32:00:00:01" as Mac)),
    {
      open: (node, path) =>
        path === "config.txt" ? { sizeBytes: node === "node1" ? 1 : 2, read: () => 0, close() {} } : undefined,
      blocked: (_, path) => (path.startsWith("pieeprom.") ? "the board would flash it" : undefined),
    },
  );
  const ask = (path: string, address: Ipv4) => open({ path, client: { address, port: 40084 } });
  return { directory, ask };
}

describe("the file of a TFTP request", () => {
  it.each([
    ["the serial that begins the path", "91cdf03d/config.txt", newcomer, 2],
    ["an upper-case serial", "91CDF03D/config.txt", newcomer, 2],
    ["the MAC that begins the path", "dc-a6-32-00-00-01/config.txt", newcomer, 1],
    ["the client's address, when the path names nobody", "config.txt", address1, 1],
    ["the neighbour table, when the address is new", "config.txt", neighbour, 1],
    ["the client's address, when the serial is not in the manifest", "deadbeef/config.txt", address1, 1],
  ])("finds the node by %s", async (_, path, address, sizeBytes) => {
    expect(await filesOfTwoNodes().ask(path, address)).toMatchObject({ kind: "file", sizeBytes });
  });

  it("opens a file only when what comes before it is done", async () => {
    const { directory } = filesOfTwoNodes();
    const steps: string[] = [];
    const trees = { open: () => void steps.push("opened"), blocked: () => undefined };
    const beforeFile = async (node: string, path: string) => {
      await new Promise(setImmediate);
      steps.push(`${node} ${path}`);
    };
    const open = filesOf(
      tftpNodes(directory, async () => {}, beforeFile),
      trees,
    );
    await open({ path: "91cdf03d/config.txt", client: { address: newcomer, port: 1 } });
    expect(steps).toEqual(["node2 config.txt", "opened"]);
  });

  it("knows the address of a node once its serial was asked for", async () => {
    const { directory, ask } = filesOfTwoNodes();
    await ask("91cdf03d/start4.elf", newcomer);
    expect(directory.byAddress(newcomer)?.name).toBe("node2");
    expect(await ask("config.txt", newcomer)).toMatchObject({ kind: "file", sizeBytes: 2 });
  });

  it("takes nobody for a node whose MAC is known because he asks below its serial", async () => {
    const { directory, ask } = filesOfTwoNodes();
    directory.identify("dc:a6:32:00:00:02" as Mac, "91cdf03d");
    expect(await ask("91cdf03d/config.txt", newcomer)).toMatchObject({ kind: "file", sizeBytes: 2 });
    expect(directory.byAddress(newcomer)).toBeUndefined();
  });

  it.each([
    ["a stranger", "config.txt", newcomer, "no node of the manifest"],
    ["a file that is not there", "91cdf03d/absent.dtb", newcomer, "has no /absent.dtb"],
    ["an EEPROM update that nobody planned", "91cdf03d/pieeprom.sig", newcomer, "would flash"],
  ])("says that the file is missing to %s", async (_, path, address, reason) => {
    expect(await filesOfTwoNodes().ask(path, address)).toMatchObject({
      kind: "missing",
      reason: expect.stringContaining(reason),
    });
  });
});
