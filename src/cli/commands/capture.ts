import { type FileHandle, open } from "node:fs/promises";
import type { Command } from "commander";
import { type CapturedPacketJson, capturedText, frameOf } from "../../manager/capture/captured-packet.ts";
import { pcapHeader, pcapRecord } from "../../manager/capture/pcap.ts";
import { apiOf, globalOptions } from "../context.ts";
import { UserError } from "../user-error.ts";

interface CaptureOptions {
  output?: string;
  follow?: boolean;
}

export function addCapture(bramble: Command): void {
  bramble
    .command("capture <node>")
    .description("the last DHCP, TFTP and netconsole packets between the manager and a node, as text or for Wireshark")
    .option("-o, --output <file>", "write a pcap file instead of text; - for standard output")
    .option("-f, --follow", "go on with the packets to come")
    .action(async (node: string, { output, follow }: CaptureOptions, command: Command) => {
      const path = `/v1/nodes/${encodeURIComponent(node)}/capture${follow ? "?follow=1" : ""}`;
      const packets = apiOf(command).lines<CapturedPacketJson>(path);
      if (output !== undefined) {
        await writeCapture(output, packets);
      } else {
        const text = globalOptions(command).json ? JSON.stringify : capturedText;
        for await (const packet of packets) console.log(text(packet));
      }
    });
}

/** Nothing is written when the manager refuses. */
async function writeCapture(output: string, packets: AsyncGenerator<CapturedPacketJson>): Promise<void> {
  const first = await packets.next();
  const file = output === "-" ? undefined : await openFile(output);
  const write = async (bytes: Uint8Array) => {
    if (file) await file.appendFile(bytes);
    else process.stdout.write(bytes);
  };
  let count = 0;
  try {
    await write(pcapHeader());
    for (let result = first; !result.done; result = await packets.next()) {
      await write(pcapRecord(frameOf(result.value)));
      count++;
    }
  } finally {
    await file?.close();
  }
  if (file) console.error(`${count} ${count === 1 ? "packet" : "packets"} in ${output}`);
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, "w", 0o640);
  } catch (error) {
    throw new UserError(`Cannot write the capture ${path}: ${(error as Error).message}`);
  }
}
