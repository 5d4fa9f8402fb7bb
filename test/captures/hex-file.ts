/**
 * Datagrams as text: a line `from ADDRESS:PORT to ADDRESS:PORT`, then hex bytes on any number of lines (`00*16` stands for
 * sixteen zeros). `#` begins a comment; the comments right above a `from` line say what the datagram is.
 */
import { parseIpv4 } from "../../src/bytes/addresses.ts";
import type { UdpPeer } from "../../src/ports.ts";

export interface CapturedDatagram {
  about: string;
  from: UdpPeer;
  to: UdpPeer;
  bytes: Uint8Array;
}

const PEERS = /^from (\S+):(\d+) to (\S+):(\d+)$/;
const BYTES = /^([0-9a-f]{2})(?:\*(\d+))?$/;

export function readHexFile(text: string): CapturedDatagram[] {
  const datagrams: CapturedDatagram[] = [];
  let comments: string[] = [];
  for (const line of text.split("\n").map((each) => each.trim())) {
    const peers = PEERS.exec(line);
    if (line.startsWith("#")) comments.push(line.slice(1).trim());
    else if (line === "") comments = [];
    else if (peers) {
      const [, from, fromPort, to, toPort] = peers;
      datagrams.push({
        about: comments.join(" "),
        from: { address: parseIpv4(from!), port: Number(fromPort) },
        to: { address: parseIpv4(to!), port: Number(toPort) },
        bytes: new Uint8Array(0),
      });
    } else {
      const datagram = datagrams.at(-1);
      if (!datagram) throw new Error(`${line}: bytes before the first "from" line`);
      datagram.bytes = Buffer.concat([datagram.bytes, ...line.split(/\s+/).map(bytesOf)]);
    }
  }
  return datagrams;
}

function bytesOf(word: string): Uint8Array {
  const parts = BYTES.exec(word);
  if (!parts) throw new Error(`${word}: expected two hex digits, or 00*16`);
  return new Uint8Array(Number(parts[2] ?? 1)).fill(Number.parseInt(parts[1]!, 16));
}
