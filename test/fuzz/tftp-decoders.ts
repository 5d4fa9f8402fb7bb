/** What TFTP's ports do with a datagram before a transfer is asked: the packet, its path, its options. */
import { agree } from "../../src/tftp/options.ts";
import { acknowledgedBlock, decodePacket, encodePacket, type TftpPacket } from "../../src/tftp/packet.ts";
import { normalisePath } from "../../src/tftp/path.ts";
import { check, type FuzzedDecoder } from "./fuzzed-decoder.ts";

const request = (path: string, options: Record<string, string>): TftpPacket => ({
  kind: "readRequest",
  path,
  mode: "octet",
  options: new Map(Object.entries(options)),
});

const REQUESTS: readonly Uint8Array[] = [
  request("bootcode.bin", {}),
  request("deadbeef/start.elf", { tsize: "0" }),
  request("deadbeef//../overlays\\x.dtbo", { tsize: "0", blksize: "1024" }),
  request("/deadbeef/kernel8.img", { tsize: "0", blksize: "1468", timeout: "5", windowsize: "64" }),
  request("x".repeat(500), { blksize: "65464", windowsize: "65535" }),
].map(encodePacket);

const OTHERS: readonly Uint8Array[] = (
  [
    { kind: "writeRequest", path: "x", mode: "netascii", options: new Map() },
    { kind: "acknowledge", block: 0xffff },
    { kind: "error", code: 0, message: "Early terminate" },
    { kind: "data", block: 1, data: new Uint8Array(512) },
    { kind: "optionAcknowledge", options: new Map([["tsize", "2263840"]]) },
  ] satisfies TftpPacket[]
).map(encodePacket);

export const TFTP_DECODERS: readonly FuzzedDecoder[] = [
  {
    name: "the TFTP packet",
    corpus: [...REQUESTS, ...OTHERS],
    decode: (bytes) => {
      const block = acknowledgedBlock(bytes);
      const packet = decodePacket(bytes);
      check(packet.kind === "acknowledge" ? packet.block === block : block === undefined, "two blocks of one packet");
      const again = decodePacket(encodePacket(packet));
      check(again.kind === packet.kind, "another packet than was written");
    },
  },
  {
    name: "the TFTP request's path and options",
    corpus: REQUESTS,
    decode: (bytes) => {
      const packet = decodePacket(bytes);
      if (packet.kind !== "readRequest" && packet.kind !== "writeRequest") return;
      const result = normalisePath(packet.path);
      if ("path" in result) {
        const parts = result.path.split("/");
        check(!parts.some((part) => part === "" || part === "." || part === ".."), `led astray by ${result.path}`);
        check(Buffer.byteLength(result.path) <= 512 && !/[\\\0]/.test(result.path), `a path like ${result.path}`);
      }
      const { blockBytes, windowBlocks, timeoutMs = 1000, acknowledged } = agree(packet.options, 3000, 1468);
      check(blockBytes >= 8 && blockBytes <= 1468, `blocks of ${blockBytes}`);
      check(windowBlocks >= 1 && windowBlocks * blockBytes <= 64 * 1468, `a window of ${windowBlocks}`);
      check(timeoutMs >= 1000 && timeoutMs <= 255_000, `a timeout of ${timeoutMs}`);
      for (const name of acknowledged.keys()) check(packet.options.has(name), `${name} was not asked for`);
    },
  },
];
