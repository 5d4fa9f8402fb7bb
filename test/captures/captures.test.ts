/**
 * Packets that boards and other servers send, as text: each .hex file is read, and must give the .txt file beside it.
 * `UPDATE=1 vitest run test/captures` writes the .txt files anew; look at their diff then.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { datagramText } from "../../src/cluster/packet-text.ts";
import { readHexFile } from "./hex-file.ts";

const FOLDER = import.meta.dirname;
const names = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".hex"))
  .map((name) => name.slice(0, -".hex".length));

function read(name: string) {
  return readHexFile(readFileSync(join(FOLDER, `${name}.hex`), "utf8"));
}

describe("captured packets as text", () => {
  it.each(names)("%s", (name) => {
    const text = read(name)
      .map(({ about, ...datagram }) => {
        const shown = datagramText({ ...datagram, lengthBytes: datagram.bytes.length });
        return `${about === "" ? "" : `# ${about}\n`}${shown}\n`;
      })
      .join("\n");
    const path = join(FOLDER, `${name}.txt`);
    if (process.env.UPDATE) writeFileSync(path, text);
    expect(text).toBe(existsSync(path) ? readFileSync(path, "utf8") : `nothing: make ${name}.txt with UPDATE=1`);
  });

  it("has no text without its packets", () => {
    const texts = readdirSync(FOLDER).filter((name) => name.endsWith(".txt"));
    expect(texts.map((name) => name.slice(0, -".txt".length)).filter((name) => !names.includes(name))).toEqual([]);
  });

  it("is of packets with the lengths that were seen on the wire", () => {
    const lengths = (name: string) => read(name).map(({ bytes }) => bytes.length);
    expect(lengths("discover")).toEqual([320, 322, 322]);
    // dnsmasq's answer, and an answer with a list of 35 bytes less its guid.
    expect(lengths("offer")[0]).toBe(314);
  });

  it("shows the beginning of a packet, and how long the whole was", () => {
    const [data] = read("tftp").filter(({ bytes }) => bytes[1] === 3);
    const shown = datagramText({ ...data!, bytes: data!.bytes.subarray(0, 20), lengthBytes: 516 });
    expect(shown).toContain("data block 1, 512 bytes");
  });
});
