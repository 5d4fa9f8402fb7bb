/**
 * MOUNT version 3, which turns a path into the first file handle: RFC 1813 section 5 (appendix I).
 * Version 1 (RFC 1094), which belongs to NFSv2, is answered PROG_MISMATCH.
 *
 * The server keeps no state for a mount; the table that DUMP shows is what clients said and forgot to take back. Each
 * is shown its own mounts only, as it is its own exports: what other nodes there are is none of its business.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { fileNameFromText } from "../bytes/file-name.ts";
import { MOUNT_PATH_BYTES_MAX, MOUNT_TABLE_ENTRIES_MAX } from "../limits.ts";
import type { Exports, MountRefusal } from "./exports.ts";
import type { HandleCodec } from "./handle.ts";
import type { ObserveNfs } from "./observation.ts";
import type { RpcProgram } from "./program.ts";
import { AUTH_FLAVOR } from "./rpc.ts";
import type { Encode, XdrReader, XdrWriter } from "./xdr.ts";

export const MOUNT_PROGRAM = 100005;
export const MOUNT_VERSION = 3;

const PROCEDURE = { NULL: 0, MNT: 1, DUMP: 2, UMNT: 3, UMNTALL: 4, EXPORT: 5 } as const;

/** `mountstat3`. */
const MOUNT_STATUS = { OK: 0, NOENT: 2, ACCES: 13 } as const;

const STATUS_OF: Readonly<Record<MountRefusal, number>> = {
  "unknown-address": MOUNT_STATUS.ACCES,
  "another-node": MOUNT_STATUS.ACCES,
  "no-tree": MOUNT_STATUS.NOENT,
};

const NOTHING: Encode = () => {};

export function createMountProgram(exports: Exports, handles: HandleCodec, observe: ObserveNfs): RpcProgram {
  const mounts = new MountTable();

  return {
    number: MOUNT_PROGRAM,
    name: "MOUNT",
    version: MOUNT_VERSION,

    call({ procedure, args }, client) {
      switch (procedure) {
        case PROCEDURE.NULL:
          return NOTHING;
        case PROCEDURE.MNT:
          return mount(readPath(args), client);
        case PROCEDURE.DUMP:
          return (reply) => {
            for (const path of mounts.pathsOf(client)) writeListItem(reply, client, path);
            reply.bool(false);
          };
        case PROCEDURE.UMNT:
          return unmount(readPath(args), client);
        case PROCEDURE.UMNTALL:
          for (const path of mounts.pathsOf(client)) unmount(path, client);
          return NOTHING;
        case PROCEDURE.EXPORT:
          return (reply) => {
            for (const path of exports.list(client)) {
              writeListItem(reply, path);
              writeListItem(reply, client).bool(false); // the only "group" it is exported to
            }
            reply.bool(false);
          };
        default:
          return undefined;
      }
    },
  };

  function mount(path: string, client: Ipv4): Encode {
    const found = exports.find(path, client);
    if ("refused" in found) {
      observe({ kind: "mount-refused", client, path, cause: found.refused, reason: found.reason });
      return (reply) => reply.u32(STATUS_OF[found.refused]);
    }
    const { treeId, volume } = found;
    mounts.add(client, path);
    observe({ kind: "mount", client, path, treeId });
    return (reply) => {
      reply.u32(MOUNT_STATUS.OK);
      handles.write(reply, treeId, volume.rootId, volume.epoch);
      reply.u32(1).u32(AUTH_FLAVOR.AUTH_SYS);
    };
  }

  function unmount(path: string, client: Ipv4): Encode {
    if (mounts.remove(client, path)) observe({ kind: "unmount", client, path });
    return NOTHING;
  }
}

function readPath(args: XdrReader): string {
  const bytes = args.opaque(MOUNT_PATH_BYTES_MAX, "dirpath");
  args.end();
  return Buffer.from(bytes).toString("utf8");
}

/** One more item of an XDR linked list: "there is one", then its strings. */
function writeListItem(reply: XdrWriter, ...texts: string[]): XdrWriter {
  reply.bool(true);
  for (const text of texts) reply.name(fileNameFromText(text));
  return reply;
}

class MountTable {
  readonly #entries = new Map<string, { client: Ipv4; path: string }>();

  add(client: Ipv4, path: string): void {
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size < MOUNT_TABLE_ENTRIES_MAX) break;
      this.#entries.delete(oldest);
    }
    this.#entries.set(`${client} ${path}`, { client, path });
  }

  remove(client: Ipv4, path: string): boolean {
    return this.#entries.delete(`${client} ${path}`);
  }

  pathsOf(client: Ipv4): string[] {
    return [...this.#entries.values()].filter((entry) => entry.client === client).map((entry) => entry.path);
  }
}
