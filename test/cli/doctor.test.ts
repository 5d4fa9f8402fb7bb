/** `bramble doctor` as a person runs it: what it prints, its exit codes, and what it says of manifest, images, ports and disk. */

import { spawnSync } from "node:child_process";
import dgram from "node:dgram";
import { once } from "node:events";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Examination } from "../../src/cluster/doctor/finding.ts";
import { freePorts } from "../free-ports.ts";
import { requireTools } from "../lab/required-tools.ts";
import { elf } from "../plan-images.ts";
import { Workplace } from "./command-line.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS } from "./small-image.ts";

const CHECKOUT = resolve(import.meta.dirname, "../..");
const isMissingTools = requireTools(SMALL_IMAGE_COMMANDS);
/** Findings that depend on the machine the tests run on. */
const OF_THIS_MACHINE = [
  ...["clock-unsynchronised", "container-network", "disk-slow", "disk-small", "disk-volatile", "firewall-blocks"],
  ...["firewall-unclear", "low-ports-forbidden", "manager-elsewhere", "raw-sockets-forbidden", "reverse-path-filter"],
].join(",");

describe.skipIf(isMissingTools)("bramble doctor", () => {
  const work = new Workplace();
  let ports: Record<string, number>;

  beforeAll(async () => {
    const names = ["dhcp", "tftp", "nfs", "mount", "portmap", "netconsole"];
    const free = await freePorts(names.length);
    ports = Object.fromEntries(names.map((name, index) => [name, free[index]!]));
    makeSmallImage(work.path("os.img"));
    makeSmallImage(work.path("pc.img"), { root: { "bin/busybox": elf(62), "sbin/init": elf(62) } });
    copyFileSync(work.path("os.img"), work.path("cut.img"));
    truncateSync(work.path("cut.img"), 9_000_000);
    writeFileSync(work.path("os.img.gz"), gzipSync(readFileSync(work.path("os.img"))));
  });
  afterAll(() => work.remove());

  const manifest = (image: string, node = "") => `cluster: attic
network: { address: 127.0.0.1, ports: ${JSON.stringify(ports)} }
image: ${image}
stateDir: state
nodes: [{ name: node1, mac: "dc:a6:32:00:00:01"${node} }]
`;

  async function doctor(text: string, words: string[] = []): Promise<Examination & { code: number | null }> {
    work.write("bramble.yaml", text);
    const all = ["--json", "doctor", "--offline", `--ignore=${OF_THIS_MACHINE}`, ...words];
    const { code, stdout, stderr } = await work.bramble(all);
    expect(stderr).toBe("");
    return { code, ...(JSON.parse(stdout) as Examination) };
  }

  it("has nothing to say of a good manifest and image, but for the network it was told to leave alone", async () => {
    const { code, findings, skipped } = await doctor(manifest("os.img"));
    expect(findings).toEqual([]);
    const notAsked = skipped.filter(({ what }) => what !== "the firewall");
    expect(notAsked).toEqual([
      { what: "other DHCP servers", why: "--offline" },
      { what: "spanning tree", why: "--offline" },
    ]);
    expect(code).toBe(0);
  });

  it.each([
    ["an image that was cut short", "cut.img", "", /it has 9000000 bytes/],
    ["an image for PCs", "pc.img", "", /its programs are for x86-64/],
    ["a model that the image does not boot", "os.img", ", model: cm5", /^node1: Cannot boot .*the image has no/],
  ])("names %s", async (_, image, node, evidence) => {
    const { code, findings } = await doctor(manifest(image, node));
    expect(findings.map(({ severity, id }) => `${severity} ${id}`)).toEqual(["error image-not-bootable"]);
    expect(findings[0]!.evidence).toMatch(evidence);
    expect(code).toBe(2);
  });

  it("says that it did not unpack a packed image", async () => {
    const { code, findings, skipped } = await doctor(manifest("os.img.gz"));
    expect([code, findings]).toEqual([0, []]);
    expect(skipped).toContainEqual(expect.objectContaining({ what: "what the image os.img.gz holds" }));
  });

  it("names every problem of a manifest, and does not judge the network by it", async () => {
    const { code, findings } = await doctor(manifest("gone.img", ', colour: "red"'));
    expect(findings.map(({ id }) => id)).toEqual(["manifest-wrong"]);
    expect(findings[0]!.evidence.split("\n")).toEqual([
      expect.stringMatching(/^bramble\.yaml:3:\d+: image: /),
      expect.stringMatching(/^bramble\.yaml:5:\d+: nodes\[0\].*Unknown key "colour"/),
    ]);
    expect(code).toBe(2);
  });

  it("names who has a port", async () => {
    const socket = dgram.createSocket("udp4");
    socket.bind(ports.tftp!, "127.0.0.1");
    await once(socket, "listening");
    try {
      const { findings } = await doctor(manifest("os.img"));
      expect(findings).toMatchObject([
        { id: "port-taken", what: `UDP port ${ports.tftp} (TFTP) is another program's` },
      ]);
      expect(findings[0]!.evidence).toContain(`(process ${process.pid}) has it`);
    } finally {
      socket.close();
    }
  });

  it("says that a file is no place for the state", async () => {
    const { code, findings } = await doctor(manifest("os.img"), ["--state", "os.img"]);
    expect(findings.map(({ id }) => id)).toEqual(["state-folder"]);
    expect(code).toBe(2);
  });

  it("leaves nothing behind", async () => {
    await doctor(manifest("os.img"), ["--state", "never-made"]);
    expect(() => readFileSync(work.path("never-made"))).toThrow("ENOENT");
  });

  it("prints what, what was seen and what to do, for people", async () => {
    work.write("bramble.yaml", manifest("pc.img"));
    const { stdout } = await work.bramble(["doctor", "--offline", `--ignore=${OF_THIS_MACHINE}`]);
    expect(stdout).toMatch(
      /^error Not every node can boot from the image pc\.img {2}\(image-not-bootable\)\n {2}seen: Cannot boot the image: .*\n {2}do: {3}another image.*\n\n/,
    );
    expect(stdout).toMatch(/\n1 error; \d things not looked at\n$/);
  });

  it("works where there is no manifest yet", async () => {
    const words = ["--manifest", "none.yaml", "--json", "doctor", "--offline", "--interface", "lo"];
    const { stdout } = await work.bramble(words);
    const { skipped } = JSON.parse(stdout) as Examination;
    expect(skipped[0]).toEqual({ what: "the manifest", why: "there is no none.yaml yet; bramble init writes one" });
  });

  it("names a library that cannot be loaded, and looks at the rest", async () => {
    const program = work.path("program");
    cpSync(join(CHECKOUT, "dist"), join(program, "dist"), { recursive: true });
    copyFileSync(join(CHECKOUT, "package.json"), join(program, "package.json"));
    mkdirSync(join(program, "node_modules"));
    for (const name of readdirSync(join(CHECKOUT, "node_modules")).filter((each) => each !== "koffi")) {
      symlinkSync(join(CHECKOUT, "node_modules", name), join(program, "node_modules", name));
    }
    work.write("bramble.yaml", manifest("os.img"));
    const words = [join(program, "dist/cli/main.js"), "--json", "doctor", `--ignore=${OF_THIS_MACHINE}`];
    const { status, stdout } = spawnSync(process.execPath, words, { cwd: work.folder, encoding: "utf8" });
    const { findings, skipped } = JSON.parse(stdout) as Examination;
    expect(findings).toMatchObject([{ id: "library-missing", what: "The library koffi cannot be loaded" }]);
    expect(skipped.map(({ what }) => what)).toEqual(
      expect.arrayContaining(["the manifest", "interfaces", "the clock"]),
    );
    expect(status).toBe(2);
  });

  it("refuses to ignore what it does not know", async () => {
    const { code, stderr } = await work.bramble(["doctor", "--ignore", "spanning-treee"]);
    expect(code).toBe(2);
    expect(stderr).toContain("There is no finding spanning-treee; docs/DOCTOR.md lists them");
  });
});
