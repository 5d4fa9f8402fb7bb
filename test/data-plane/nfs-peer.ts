/** An NFS client on a real connection, for tests: one call after the other, or many at once. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { FileName } from "../../src/bytes/file-name.ts";
import { NFS_PROCEDURES } from "../../src/nfs/procedures/table.ts";
import { RecordAssembler } from "../../src/nfs/record-marking.ts";
import { acceptedBody, decodeReply, encodeRecord, newAttributes } from "../../src/nfs/test-client.ts";
import type { Encode, XdrReader } from "../../src/nfs/xdr.ts";

const MOUNT_PROGRAM = 100005;
const UNCHECKED = 0;
const STABILITY = { unstable: 0, fileSync: 2 };

type Reply = { status: string; body: XdrReader };

export class NfsPeer {
  readonly #socket: Socket;
  readonly #records = new RecordAssembler();
  /** Replies come by number, calls of one peer may overtake each other. */
  readonly #waiting = new Map<number, (reply: Uint8Array) => void>();
  #nextXid = 1;
  readonly closed: Promise<unknown>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => socket.once("close", resolve));
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => {
      this.#records.push(bytes);
      for (let reply = this.#records.next(); reply !== undefined; reply = this.#records.next()) {
        const own = reply.slice();
        const xid = Buffer.from(own).readUInt32BE(0);
        this.#waiting.get(xid)?.(own);
        this.#waiting.delete(xid);
      }
    });
  }

  /** From an address of the loopback network. */
  static async connect(port: number, localAddress: string): Promise<NfsPeer> {
    const socket = connect({ port, host: "127.0.0.1", localAddress, noDelay: true });
    await once(socket, "connect");
    return new NfsPeer(socket);
  }

  close(): void {
    this.#socket.destroy();
  }

  #send(procedure: number, args: Encode, program?: number): Promise<Uint8Array> {
    const xid = this.#nextXid++;
    const reply = new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting.set(xid, resolve);
      void this.closed.then(() => reject(new Error("the connection was closed")));
    });
    this.#socket.write(encodeRecord(procedure, args, { xid, ...(program !== undefined && { program }) }));
    return reply;
  }

  async call(procedure: string, args: Encode): Promise<Reply> {
    return decodeReply(
      await this.#send(
        NFS_PROCEDURES.findIndex(({ name }) => name === procedure),
        args,
      ),
    );
  }

  /** The root's handle, or the status that refused it. */
  async mount(path: string): Promise<Uint8Array | number> {
    const body = acceptedBody(await this.#send(1, (args) => args.name(path as FileName), MOUNT_PROGRAM));
    const status = body.u32("status");
    return status === 0 ? body.opaque(64, "handle").slice() : status;
  }

  getattr(handle: Uint8Array): Promise<Reply> {
    return this.call("GETATTR", (args) => args.opaque(handle));
  }

  /** The status, and the handle of what was found. */
  async lookup(directory: Uint8Array, name: string): Promise<{ status: string; handle: Uint8Array }> {
    const { status, body } = await this.call("LOOKUP", (args) => args.opaque(directory).name(name as FileName));
    return { status, handle: status === "NFS3_OK" ? body.opaque(64, "handle").slice() : new Uint8Array(0) };
  }

  async create(directory: Uint8Array, name: string): Promise<Uint8Array> {
    const { status, body } = await this.call("CREATE", (args) => {
      args
        .opaque(directory)
        .name(name as FileName)
        .u32(UNCHECKED);
      newAttributes(0o644)(args);
    });
    if (status !== "NFS3_OK" || !body.bool("handle follows")) throw new Error(`Cannot create ${name}: ${status}`);
    return body.opaque(64, "handle").slice();
  }

  write(handle: Uint8Array, offset: number, bytes: Uint8Array, how: keyof typeof STABILITY): Promise<Reply> {
    return this.call("WRITE", (args) =>
      args.opaque(handle).hyper(offset).u32(bytes.length).u32(STABILITY[how]).opaque(bytes),
    );
  }

  async read(handle: Uint8Array): Promise<string> {
    const { body } = await this.call("READ", (args) => args.opaque(handle).hyper(0).u32(65536));
    if (body.bool("attributes follow")) body.skip(84, "attributes");
    body.u32("count");
    body.bool("end of file");
    return Buffer.from(body.opaque(65536, "data")).toString();
  }
}
