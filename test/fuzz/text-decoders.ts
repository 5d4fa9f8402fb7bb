/** What is shown to people: lines of consoles, and packets of captures. */
import type { Ipv4 } from "../../src/bytes/addresses.ts";
import { ConsoleLines } from "../../src/cluster/console-text.ts";
import { datagramText } from "../../src/cluster/packet-text.ts";
import { CONSOLE_LINE_BYTES_MAX } from "../../src/limits.ts";
import { DHCP_DECODERS, REPLIES } from "./dhcp-decoders.ts";
import { check, type FuzzedDecoder } from "./fuzzed-decoder.ts";
import { TFTP_DECODERS } from "./tftp-decoders.ts";

const CONSOLE = [
  "TFTP_GET: dc:a6:32:2e:f8:ed 10.77.0.1 5b154510/start4.elf\r\n",
  "[    2.113] VFS: Unable to mount root fs via NFS.\n",
  "6,339,5140900,-;NET: Registered PF_INET6\n SUBSYSTEM=net\n",
  "\x1b[0;32m  OK  \x1b[0m Started\tsystemd\n",
  `${"x".repeat(1400)}`,
].map((text) => Buffer.from(text, "latin1"));

/** Each byte that is not printable ASCII becomes four characters. */
const SHOWN_CHARACTERS_MAX = 4 * CONSOLE_LINE_BYTES_MAX;

const FROM = { address: "10.77.0.20" as Ipv4, port: 6665 };
const TO = { address: "10.77.0.1" as Ipv4, port: 6666 };

export const TEXT_DECODERS: readonly FuzzedDecoder[] = [
  {
    name: "the console line",
    corpus: CONSOLE,
    takesAll: true,
    decode: (bytes) => {
      const lines = new ConsoleLines();
      for (const line of [...lines.take(bytes), ...lines.take(bytes), ...lines.end()]) {
        check(/^[ -~]*$/.test(line), `not printable: ${line}`);
        check(line.length <= SHOWN_CHARACTERS_MAX, `a line of ${line.length} characters`);
      }
    },
  },
  {
    name: "the packet of a capture",
    corpus: [...REPLIES, ...DHCP_DECODERS[0]!.corpus, ...TFTP_DECODERS[0]!.corpus, ...CONSOLE],
    takesAll: true,
    decode: (bytes) => {
      const text = datagramText({ from: FROM, to: TO, bytes, lengthBytes: bytes.length });
      check(/^[ -~·…\n]*$/.test(text), `not printable: ${text}`);
    },
  },
];
