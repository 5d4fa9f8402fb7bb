/**
 * What switches say to each other about loops: bridge protocol data units of IEEE 802.1D-2004 (section 9.3), in an
 * IEEE 802.3 frame with an LLC header, or as Cisco's per-VLAN form in a SNAP header.
 * Left out: the regions and instances of MSTP (only the part that all versions share is read), topology change notices.
 */
import { type Mac, macFromBytes } from "../../bytes/addresses.ts";
import { Reader } from "../../bytes/reader.ts";

export interface BridgeId {
  priority: number;
  mac: Mac;
}

export interface Bpdu {
  protocol: "STP" | "RSTP" | "MSTP";
  root: BridgeId;
  /** The switch that sent it, and the number of its port. */
  bridge: BridgeId;
  port: number;
  /** What a port waits in `listening`, then again in `learning`, before it forwards. */
  forwardDelayS: number;
  helloS: number;
}

/** Where BPDUs are sent to: by the standard, and by Cisco's per-VLAN spanning tree. */
export const BPDU_DESTINATIONS = ["01:80:c2:00:00:00", "01:00:0c:cc:cc:cd"] as const;

const FORMAT = "BPDU";
const MAC_BYTES = 6;
/** Above it, the field after the addresses is a type and not a length (IEEE 802.3 section 3.2.6). */
const LENGTH_MAX = 1500;
const LLC_SPANNING_TREE = 0x42;
const LLC_SNAP = 0xaa;
const SNAP_PVST = [0x00, 0x00, 0x0c, 0x01, 0x0b];
const TYPE_TOPOLOGY_CHANGE = 0x80;
/** Times are in units of 1/256 s. */
const TICKS_PER_S = 256;
const PROTOCOLS: Readonly<Record<number, Bpdu["protocol"]>> = { 0: "STP", 2: "RSTP", 3: "MSTP" };

/** `undefined` for a frame that is none, or tells no times. Throws `DecodeError` for a damaged one. */
export function decodeBpdu(frame: Uint8Array): Bpdu | undefined {
  const ethernet = new Reader(frame, FORMAT);
  const destination = macFromBytes(ethernet.bytes(MAC_BYTES, "destination"));
  if (!BPDU_DESTINATIONS.some((each) => each === destination)) return undefined;
  ethernet.skip(MAC_BYTES, "source");
  const lengthBytes = ethernet.u16("length");
  if (lengthBytes > LENGTH_MAX) return undefined;
  const reader = new Reader(ethernet.bytes(lengthBytes, "payload"), FORMAT);
  const serviceAccessPoint = reader.u8("LLC destination");
  reader.skip(2, "LLC source and control");
  if (serviceAccessPoint === LLC_SNAP) {
    if (reader.bytes(SNAP_PVST.length, "SNAP").some((byte, at) => byte !== SNAP_PVST[at])) return undefined;
  } else if (serviceAccessPoint !== LLC_SPANNING_TREE) {
    return undefined;
  }
  if (reader.u16("protocol") !== 0) return undefined;
  const version = reader.u8("version");
  if (reader.u8("type") === TYPE_TOPOLOGY_CHANGE) return undefined;
  reader.skip(1, "flags");
  const root = bridgeId(reader, "root");
  reader.skip(4, "root path cost");
  const bridge = bridgeId(reader, "bridge");
  const port = reader.u16("port") & 0x0fff;
  reader.skip(4, "message age and maximum age");
  const helloS = reader.u16("hello time") / TICKS_PER_S;
  const forwardDelayS = reader.u16("forward delay") / TICKS_PER_S;
  return { protocol: PROTOCOLS[version] ?? "MSTP", root, bridge, port, helloS, forwardDelayS };
}

function bridgeId(reader: Reader, name: string): BridgeId {
  return { priority: reader.u16(`${name} priority`), mac: macFromBytes(reader.bytes(MAC_BYTES, `${name} MAC`)) };
}
