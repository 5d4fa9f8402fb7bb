/**
 * TFTP packets: RFC 1350 section 5, options as RFC 2347.
 * Left out: nothing of the format; that only octet reads are served is decided in listener.ts.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";
import { Writer } from "../bytes/writer.ts";
import { TFTP_BLOCK_BYTES_MAX, TFTP_REQUEST_BYTES_MAX } from "../limits.ts";

export const OPCODE = {
  readRequest: 1,
  writeRequest: 2,
  data: 3,
  acknowledge: 4,
  error: 5,
  optionAcknowledge: 6,
} as const;

/** RFC 1350 appendix, and RFC 2347 for the last. */
export const ERROR_CODE = {
  notDefined: 0,
  fileNotFound: 1,
  accessViolation: 2,
  diskFull: 3,
  illegalOperation: 4,
  unknownTransfer: 5,
  fileExists: 6,
  noSuchUser: 7,
  optionRefused: 8,
} as const;

/** Option names are in lower case; their order is that of the packet. */
export type TftpOptions = ReadonlyMap<string, string>;

export type TftpPacket =
  | { kind: "readRequest" | "writeRequest"; path: string; mode: string; options: TftpOptions }
  | { kind: "data"; block: number; data: Uint8Array }
  | { kind: "acknowledge"; block: number }
  | { kind: "error"; code: number; message: string }
  | { kind: "optionAcknowledge"; options: TftpOptions };

const FORMAT = "TFTP packet";

export function decodePacket(bytes: Uint8Array): TftpPacket {
  const reader = new Reader(bytes, FORMAT);
  const opcode = reader.u16("opcode");
  switch (opcode) {
    case OPCODE.readRequest:
    case OPCODE.writeRequest: {
      checkLength(bytes, TFTP_REQUEST_BYTES_MAX);
      const kind = opcode === OPCODE.readRequest ? "readRequest" : "writeRequest";
      return { kind, path: text(reader, "file name"), mode: text(reader, "mode"), options: options(reader) };
    }
    case OPCODE.data:
      checkLength(bytes, 4 + TFTP_BLOCK_BYTES_MAX);
      return { kind: "data", block: reader.u16("block"), data: reader.rest() };
    case OPCODE.acknowledge:
      // Some firmware sends more bytes than the four that count.
      return { kind: "acknowledge", block: reader.u16("block") };
    case OPCODE.error: {
      checkLength(bytes, TFTP_REQUEST_BYTES_MAX);
      const code = reader.u16("error code");
      // A message cut short is still an error; many clients leave the final NUL out.
      const [message = ""] = Buffer.from(reader.rest()).toString("utf8").split("\0", 1);
      return { kind: "error", code, message };
    }
    case OPCODE.optionAcknowledge:
      checkLength(bytes, TFTP_REQUEST_BYTES_MAX);
      return { kind: "optionAcknowledge", options: options(reader) };
    default:
      throw reader.error("opcode", `${opcode} is not from 1 to 6`);
  }
}

/** The block of an acknowledgement, which is what a server hears most; `undefined` for any other packet. */
export function acknowledgedBlock(bytes: Uint8Array): number | undefined {
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== OPCODE.acknowledge) return undefined;
  return (bytes[2]! << 8) | bytes[3]!;
}

export function encodePacket(packet: TftpPacket): Uint8Array {
  const writer = new Writer(packet.kind === "data" ? 4 + packet.data.length : 64).u16(OPCODE[packet.kind]);
  switch (packet.kind) {
    case "readRequest":
    case "writeRequest":
      writeText(writer, packet.path);
      writeText(writer, packet.mode);
      writeOptions(writer, packet.options);
      break;
    case "data":
      writer.u16(packet.block).bytes(packet.data);
      break;
    case "acknowledge":
      writer.u16(packet.block);
      break;
    case "error":
      writer.u16(packet.code);
      writeText(writer, packet.message);
      break;
    case "optionAcknowledge":
      writeOptions(writer, packet.options);
      break;
  }
  return writer.finish();
}

function checkLength(bytes: Uint8Array, maximum: number): void {
  if (bytes.length > maximum) throw new DecodeError(FORMAT, "length", `${bytes.length} bytes; ${maximum} at most`);
}

/** Bytes up to a NUL, which is taken too. File names are UTF-8 in practice, ASCII by the RFC. */
function text(reader: Reader, field: string): string {
  const bytes: number[] = [];
  for (let byte = reader.u8(field); byte !== 0; byte = reader.u8(field)) bytes.push(byte);
  return Buffer.from(bytes).toString("utf8");
}

/** The first of two options with one name counts. */
function options(reader: Reader): TftpOptions {
  const found = new Map<string, string>();
  while (reader.remainingBytes > 0) {
    const name = text(reader, "option name").toLowerCase();
    const value = text(reader, `option ${name}`);
    if (!found.has(name)) found.set(name, value);
  }
  return found;
}

function writeText(writer: Writer, value: string): void {
  if (value.includes("\0")) throw new RangeError(`Cannot write ${JSON.stringify(value)}: it has a NUL in it`);
  writer.bytes(Buffer.from(value, "utf8")).u8(0);
}

function writeOptions(writer: Writer, values: TftpOptions): void {
  for (const [name, value] of values) {
    writeText(writer, name);
    writeText(writer, value);
  }
}
