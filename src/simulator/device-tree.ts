/**
 * Flattened device tree (Devicetree Specification 0.4, chapter 5), as far as the firmware's command line needs it: the
 * property `/chosen/bootargs`. Written nowhere; overlays, reserved memory and all other properties are passed over.
 */
import { DecodeError } from "../bytes/decode-error.ts";
import { Reader } from "../bytes/reader.ts";

const FORMAT = "device tree";
const MAGIC = 0xd00dfeed;
const TOKEN = { beginNode: 1, endNode: 2, property: 3, nop: 4, end: 9 } as const;
const CELL_BYTES = 4;

/** The words that the tree has for the kernel; none where it has none. Throws `DecodeError`. */
export function bootArguments(tree: Uint8Array): string {
  const header = new Reader(tree, FORMAT);
  if (header.u32("magic number") !== MAGIC) throw header.error("magic number", "is not that of a device tree");
  header.skip(CELL_BYTES, "total size");
  const structureOffset = header.u32("offset of the structure");
  const stringsOffset = header.u32("offset of the strings");
  const structure = readerAt(tree, structureOffset);
  const path: string[] = [];
  for (;;) {
    const token = structure.u32("token");
    switch (token) {
      case TOKEN.beginNode:
        path.push(text(structure, "name of a node"));
        align(structure, structureOffset);
        break;
      case TOKEN.endNode:
        path.pop();
        break;
      case TOKEN.property: {
        const sizeBytes = structure.u32("size of a property");
        const nameOffset = structure.u32("name of a property");
        const value = structure.bytes(sizeBytes, "property");
        align(structure, structureOffset);
        if (path.length !== 2 || path[1] !== "chosen") break;
        if (text(readerAt(tree, stringsOffset + nameOffset), "name of a property") === "bootargs") {
          return text(new Reader(value, FORMAT), "bootargs");
        }
        break;
      }
      case TOKEN.nop:
        break;
      case TOKEN.end:
        return "";
      default:
        throw structure.error("token", `${token} is none`);
    }
  }
}

function readerAt(tree: Uint8Array, offset: number): Reader {
  if (offset > tree.length) throw new DecodeError(FORMAT, "offset", `${offset} is past its end`);
  return new Reader(tree, FORMAT, offset);
}

/** To the next multiple of a cell, counted from where the structure begins. */
function align(reader: Reader, startOffset: number): void {
  reader.skip(-(reader.position - startOffset) & (CELL_BYTES - 1), "padding");
}

/** Up to a zero byte, which is read too. */
function text(reader: Reader, field: string): string {
  let read = "";
  for (let code = reader.u8(field); code !== 0; code = reader.u8(field)) read += String.fromCharCode(code);
  return read;
}
