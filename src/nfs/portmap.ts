/**
 * The port mapper, version 2: RFC 1833 section 3. klibc's `nfsmount` (Debian's initramfs) asks it for the ports of MOUNT
 * and NFS and cannot be told otherwise; it tries TCP, then UDP, for ever.
 * Left out: CALLIT (it lets strangers send calls in our name) and rpcbind versions 3 and 4, which are answered
 * PROG_MISMATCH, so that newer clients fall back. SET and UNSET are answered "no": the table is our own.
 */
import type { RpcProgram } from "./program.ts";
import type { XdrReader, XdrWriter } from "./xdr.ts";

export const PORTMAP_PROGRAM = 100000;
export const PORTMAP_VERSION = 2;
export const PORTMAP_PORT = 111;
export const PORTMAP_PROCEDURE = { NULL: 0, SET: 1, UNSET: 2, GETPORT: 3, DUMP: 4 } as const;

const PROTOCOL_NUMBER = { tcp: 6, udp: 17 } as const;

/** Where a program can be reached. */
export interface PortMapping {
  program: number;
  version: number;
  protocol: keyof typeof PROTOCOL_NUMBER;
  port: number;
}

/** `mappings` is asked at every call, since ports may be known only after listening. */
export function createPortmapProgram(mappings: () => readonly PortMapping[]): RpcProgram {
  return {
    number: PORTMAP_PROGRAM,
    name: "port mapper",
    version: PORTMAP_VERSION,

    call({ procedure, args }) {
      switch (procedure) {
        case PORTMAP_PROCEDURE.NULL:
          return () => {};
        case PORTMAP_PROCEDURE.SET:
        case PORTMAP_PROCEDURE.UNSET:
          return (reply) => reply.bool(false);
        case PORTMAP_PROCEDURE.GETPORT: {
          const wanted = readMapping(args);
          return (reply) => reply.u32(findPort(mappings(), wanted));
        }
        case PORTMAP_PROCEDURE.DUMP:
          return (reply) => {
            for (const mapping of mappings()) writeMapping(reply.bool(true), mapping);
            reply.bool(false);
          };
        default:
          return undefined;
      }
    },
  };
}

interface WantedMapping {
  program: number;
  version: number;
  protocolNumber: number;
}

function readMapping(args: XdrReader): WantedMapping {
  const wanted = { program: args.u32("prog"), version: args.u32("vers"), protocolNumber: args.u32("prot") };
  args.u32("port"); // ignored by GETPORT
  args.end();
  return wanted;
}

export function writeMapping(writer: XdrWriter, mapping: PortMapping): void {
  writer.u32(mapping.program).u32(mapping.version).u32(PROTOCOL_NUMBER[mapping.protocol]).u32(mapping.port);
}

/** 0 when the program is not there. A version that is not there gets the port of another, which then says which are. */
function findPort(mappings: readonly PortMapping[], wanted: WantedMapping): number {
  const candidates = mappings.filter(
    ({ program, protocol }) => program === wanted.program && PROTOCOL_NUMBER[protocol] === wanted.protocolNumber,
  );
  const exact = candidates.find(({ version }) => version === wanted.version);
  return (exact ?? candidates[0])?.port ?? 0;
}
