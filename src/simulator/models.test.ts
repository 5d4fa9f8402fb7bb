/** Every model through all its files, from our own DHCP and TFTP services, with the bytes that it sends. */
import { describe, expect, it } from "vitest";
import {
  ALL_FILES,
  askedFor,
  type DhcpMode,
  dhcpMessages,
  ROUTER,
  SERVER,
  VirtualNetwork,
} from "../../test/virtual-network.ts";
import type { FirmwareSettings } from "./firmware-settings.ts";
import { VIRTUAL_MODELS } from "./models.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const IDS = VIRTUAL_MODELS.map(({ pi }) => pi.id);
const SERIAL = "b0000001";
/** Of the requests: the port it is sent from, and its bytes as text. */
const readRequests = (frames: readonly Uint8Array[]) =>
  frames
    .map((frame) => Buffer.from(frame))
    .filter((frame) => frame.readUInt16BE(12) === 0x0800 && frame.readUInt16BE(36) === 69)
    .map((frame) => ({ port: frame.readUInt16BE(34), text: frame.subarray(42).toString("latin1") }));

async function bootModel(model: string, mode: DhcpMode, settings: Partial<FirmwareSettings> = {}, files = ALL_FILES) {
  const network = new VirtualNetwork();
  const board = network.board(model);
  if (mode === "proxy") await network.startRouter();
  await network.serve({ mode, boards: [board], files });
  return { board, ...(await network.run(network.boot(board, settings))) };
}

describe.each<DhcpMode>(["server", "proxy"])("with dhcp: %s", (mode) => {
  it.each(IDS)("a Pi %s boots through all its files", async (model) => {
    const { booted, failure, events } = await bootModel(model, mode);
    expect(failure).toBeUndefined();
    const is5 = VIRTUAL_MODELS.find(({ pi }) => pi.id === model)?.bootloader === "2712";
    expect(booted).toMatchObject({
      serverAddress: SERVER,
      kernel: { path: is5 ? "kernel_2712.img" : "kernel8.img", sizeBytes: 8000 },
      commandLine: "console=serial0,115200 root=/dev/nfs",
    });
    expect(booted?.ownAddress).toMatch(mode === "server" ? /^10\.77\.0\.11$/ : /^10\.77\.0\.\d+$/);
    expect(Buffer.from(booted?.initramfs ?? []).toString()).toBe(`initramfs of ${is5 ? "kernel_2712" : "kernel8"}`);
    const { deviceTree } = VIRTUAL_MODELS.find(({ pi }) => pi.id === model)!.pi;
    expect(booted?.deviceTree.path).toBe(deviceTree);
    expect(askedFor(events)).toContain("overlays/disable-wifi.dtbo");
  });
});

describe("on the wire", () => {
  it("a 3B asks in the frame of the published capture", async () => {
    const { frames, board } = await bootModel("3b", "server");
    const mac = board.mac.replaceAll(":", "");
    expect(hex(frames[0]?.subarray(0, 46))).toBe(
      `ffffffffffff${mac}08004500015c000000008011399200000000ffffffff004400430148000001010600`,
    );
    expect(frames[0]?.length).toBe(362);
  });

  it.each(IDS.filter((id) => id !== "3b" && id !== "cm3"))("a Pi %s asks in a frame of 364 bytes", async (model) => {
    const { frames } = await bootModel(model, "server");
    expect(frames[0]?.length).toBe(364);
    expect(hex(frames[0]?.subarray(278, 285))).toBe("63825363350101");
  });

  it("a 3B asks for its first two files without options and prefix, each from the next port", async () => {
    const { frames } = await bootModel("3b", "server");
    const requests = readRequests(frames);
    expect(requests.slice(0, 5)).toEqual([
      { port: 49152, text: "\0\x01bootcode.bin\0octet\0" },
      { port: 49153, text: "\0\x01bootsig.bin\0octet\0" },
      { port: 49154, text: `\0\x01${SERIAL}/start.elf\0octet\0tsize\0${"0"}\0` },
      { port: 49155, text: "\0\x01autoboot.txt\0octet\0tsize\0" + "0\0" },
      { port: 49156, text: "\0\x01config.txt\0octet\0tsize\0" + "0\0" },
    ]);
  });

  it("a 3B with that bug switched off asks for them with options", async () => {
    const { frames } = await bootModel("3b", "server", { bugs: { noTftpOptions: false } });
    expect(readRequests(frames)[0]?.text).toContain("bootcode.bin\0octet\0tsize\0");
  });

  it.each([
    ["4", undefined, "start4.elf", 1468],
    ["400", "2022-10-03", "start4.elf", 1468],
    ["cm4", "2022-09-02", "start4.elf", 1024],
    ["5", undefined, "config.txt", 1468],
    ["cm5", "2023-10-30", "config.txt", 1468],
  ] as const)("a Pi %s of %s asks for %s in blocks of %i bytes", async (model, released, name, blockBytes) => {
    const { frames } = await bootModel(model, "server", released === undefined ? {} : { released });
    expect(readRequests(frames)[0]).toEqual({
      port: 40084,
      text: `\0\x01${SERIAL}/${name}\0octet\0tsize\0${"0"}\0blksize\0${blockBytes}\0`,
    });
  });
});

/** With the folder of the serial number, from the first file to the kernel; `?` is a probe. */
const SEQUENCES = {
  "3b": `bootcode.bin bootsig.bin S/start.elf? S/autoboot.txt S/config.txt S/recovery.elf S/start.elf S/fixup.dat
    S/recovery.elf? S/config.txt? S/config.txt S/kernel8.img? S/bcm2710-rpi-3-b.dtb? S/initramfs8? S/overlays/README?
    S/dt-blob.bin S/recovery.elf? S/config.txt? S/config.txt S/bootcfg.txt S/bcm2710-rpi-3-b.dtb? S/bcm2710-rpi-3-b.dtb
    S/overlays/overlay_map.dtb? S/overlays/overlay_map.dtb S/overlays/disable-wifi.dtbo? S/overlays/disable-wifi.dtbo
    S/cmdline.txt? S/cmdline.txt S/initramfs8 S/recovery8.img? S/armstub8.bin? S/kernel8.img? S/kernel8.img`,
  "4": `S/start4.elf? S/config.txt S/pieeprom.sig S/recover4.elf? S/recovery.elf? S/start4.elf S/fixup4.dat S/recovery.elf?
    S/config.txt S/config.txt S/kernel8.img? S/bcm2711-rpi-4-b.dtb? S/initramfs8? S/overlays/README? S/dt-blob.bin
    S/recovery.elf? S/config.txt S/bootcfg.txt S/initramfs8 S/bcm2711-rpi-4-b.dtb S/overlays/overlay_map.dtb
    S/overlays/disable-wifi.dtbo S/cmdline.txt S/recovery8.img? S/armstub8-gic.bin S/kernel8.img`,
  "5": `S/config.txt? S/config.txt S/kernel_2712.img? S/bcm2712-rpi-5-b.dtb? S/initramfs_2712? S/overlays/README? S/pieeprom.sig
    S/bcm2712-rpi-5-b.dtb S/kernel_2712.img S/initramfs_2712 S/overlays/overlay_map.dtb S/overlays/disable-wifi.dtbo
    S/cmdline.txt S/armstub8-2712.bin S/kernel_2712.img`,
};

describe("the files", () => {
  const prefixed = Object.fromEntries(
    Object.entries(ALL_FILES).map(([path, content]) => [path === "bootcode.bin" ? path : `${SERIAL}/${path}`, content]),
  );

  it.each(Object.entries(SEQUENCES))("a Pi %s asks for come in the order of the captures", async (model, sequence) => {
    const { events } = await bootModel(model, "server", {}, prefixed);
    const expected = sequence.split(/\s+/).map((path) => path.replace("S/", `${SERIAL}/`));
    expect(askedFor(events)).toEqual(expected);
  });

  it("of an early Pi 4 include its USB controller's", async () => {
    const network = new VirtualNetwork();
    const board = network.board("4");
    const early = { ...board, model: { ...board.model, revision: 0xc03112 } };
    await network.serve({ mode: "server", boards: [early] });
    const { events } = await network.run(network.boot(early));
    expect(askedFor(events)).toContain("vl805.sig");
  });

  it.each([
    ["the MAC", "mac", "e4-5f-01-"],
    ["a folder", { text: "attic/" }, "attic/start4.elf"],
    ["a folder without its slash", { text: "attic" }, "atticstart4.elf"],
  ] as const)("are first looked for below %s if the EEPROM says so", async (_, prefix, expected) => {
    const { events } = await bootModel("cm4", "server", { eeprom: { prefix } });
    expect(askedFor(events)[0]).toContain(expected);
  });
});

describe("DHCP", () => {
  it("with an EEPROM has a REQUEST, with a ROM two DISCOVERs and none", async () => {
    expect(dhcpMessages((await bootModel("5", "server")).events)).toEqual(["DISCOVER", "OFFER", "REQUEST", "ACK"]);
    const of3b = dhcpMessages((await bootModel("3b", "server")).events);
    expect([...new Set(of3b)]).toEqual(["DISCOVER", "OFFER"]);
    expect(of3b.filter((message) => message === "DISCOVER")).toHaveLength(2);
  });

  it("beside a router takes the address from it and the files from us", async () => {
    for (const model of ["3b", "3b+", "4", "5"]) {
      const { events } = await bootModel(model, "proxy");
      expect(events.find(({ kind }) => kind === "address")).toMatchObject({ tftpServer: SERVER });
      const servers = events.flatMap((event) => (event.kind === "dhcp" && event.server ? [event.server] : []));
      expect(new Set(servers)).toEqual(new Set([SERVER, ROUTER]));
    }
  });
});
