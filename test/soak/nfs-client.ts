/** An NFS client of our own: every call it makes is answered, or the connection is lost. */
import { connect } from "node:net";
import type { FileName } from "../../src/bytes/file-name.ts";
import { Reader } from "../../src/bytes/reader.ts";
import { NFS_PROCEDURES } from "../../src/nfs/procedures/table.ts";
import { RecordAssembler } from "../../src/nfs/record-marking.ts";
import {
  acceptedBody,
  decodeReply,
  encodeRecord,
  newAttributes,
  readAttributes,
  readPostAttributes,
  readWcc,
} from "../../src/nfs/test-client.ts";
import type { Encode, XdrReader } from "../../src/nfs/xdr.ts";

const MOUNT_PROGRAM = 100005;
const READ_BYTES = 256 * 1024;

/** The server is gone; nobody knows what became of the call. */
export class ConnectionLost extends Error {}

/** The server has answered with an error. */
export class Refused extends Error {
  readonly status: string;

  constructor(procedure: string, status: string) {
    super(`${procedure} was refused: ${status}`);
    this.status = status;
  }
}

export type Attributes = ReturnType<typeof readAttributes>;

export interface Entry {
  name: string;
  handle: Uint8Array;
  attributes: Attributes;
}

/** The bytes that go to and fro: a TCP socket, or what stands for one. */
export interface Transport {
  send(bytes: Uint8Array): void;
  onData(handler: (bytes: Uint8Array) => void): void;
  onClose(handler: () => void): void;
  close(): void;
}

interface Pending {
  resolve: (reply: Uint8Array) => void;
  reject: (error: Error) => void;
}

export class NfsClient {
  readonly #transport: Transport;
  readonly #records = new RecordAssembler();
  readonly #pending = new Map<number, Pending>();
  #isLost = false;
  #nextXid: number;

  constructor(transport: Transport, firstXid: number) {
    this.#transport = transport;
    this.#nextXid = firstXid;
    transport.onData((bytes) => this.#receive(bytes));
    transport.onClose(() => this.#lose());
  }

  static connect(port: number): Promise<NfsClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port, noDelay: true }, () => {
        socket.off("error", reject);
        socket.on("error", () => {});
        const transport: Transport = {
          send: (bytes) => void socket.write(bytes),
          onData: (handler) => void socket.on("data", handler),
          onClose: (handler) => void socket.on("close", handler),
          close: () => void socket.destroy(),
        };
        resolve(new NfsClient(transport, Math.floor(Math.random() * 2 ** 31)));
      });
      socket.once("error", reject);
    });
  }

  #receive(bytes: Uint8Array): void {
    this.#records.push(bytes);
    for (let reply = this.#records.next(); reply !== undefined; reply = this.#records.next()) {
      const xid = new Reader(reply, "reply").u32("xid");
      this.#pending.get(xid)?.resolve(reply);
      this.#pending.delete(xid);
    }
  }

  #lose(): void {
    this.#isLost = true;
    for (const { reject } of this.#pending.values()) reject(new ConnectionLost("the connection was lost"));
    this.#pending.clear();
  }

  close(): void {
    this.#transport.close();
  }

  #send(procedure: number, args: Encode, program?: number): Promise<Uint8Array> {
    if (this.#isLost) return Promise.reject(new ConnectionLost("the connection is lost"));
    const xid = this.#nextXid++ >>> 0;
    return new Promise((resolve, reject) => {
      this.#pending.set(xid, { resolve, reject });
      this.#transport.send(encodeRecord(procedure, args, program === undefined ? { xid } : { xid, program }));
    });
  }

  /** The body of a reply after NFS3_OK. */
  async #call(procedure: string, args: Encode): Promise<XdrReader> {
    const number = NFS_PROCEDURES.findIndex(({ name }) => name === procedure);
    const { status, body } = decodeReply(await this.#send(number, args));
    if (status !== "NFS3_OK") throw new Refused(procedure, status);
    return body;
  }

  async mount(path: string): Promise<Uint8Array> {
    const body = acceptedBody(await this.#send(1, (args) => args.name(path as FileName), MOUNT_PROGRAM));
    if (body.u32("status") !== 0) throw new Refused("MNT", path);
    return body.opaque(64, "handle").slice();
  }

  async getattr(file: Uint8Array): Promise<Attributes> {
    return readAttributes(await this.#call("GETATTR", (args) => args.opaque(file)));
  }

  async lookup(directory: Uint8Array, name: string): Promise<Uint8Array> {
    return (await this.#call("LOOKUP", operand(directory, name))).opaque(64, "object").slice();
  }

  async read(file: Uint8Array): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let offset = 0; ; ) {
      const body = await this.#call("READ", (args) => args.opaque(file).hyper(offset).u32(READ_BYTES));
      readPostAttributes(body);
      body.u32("count");
      const isEnd = body.bool("eof");
      const bytes = body.opaque(READ_BYTES, "data");
      parts.push(bytes);
      offset += bytes.length;
      if (isEnd) return Buffer.concat(parts);
      if (bytes.length === 0) throw new Error(`READ at ${offset} answers nothing, and not the end`);
    }
  }

  /** The write verifier. */
  async write(file: Uint8Array, offset: number, bytes: Uint8Array, isStable: boolean): Promise<bigint> {
    const body = await this.#call("WRITE", (args) => {
      args
        .opaque(file)
        .hyper(offset)
        .u32(bytes.length)
        .u32(isStable ? 2 : 0)
        .opaque(bytes);
    });
    readWcc(body);
    if (body.u32("count") !== bytes.length) throw new Error("WRITE took only a part");
    if (body.u32("committed") < (isStable ? 2 : 0)) throw new Error("WRITE promised less than was asked");
    return body.u64("verf");
  }

  async commit(file: Uint8Array): Promise<bigint> {
    const body = await this.#call("COMMIT", (args) => args.opaque(file).hyper(0).u32(0));
    readWcc(body);
    return body.u64("verf");
  }

  async setSize(file: Uint8Array, sizeBytes: number): Promise<void> {
    await this.#call("SETATTR", (args) => {
      args.opaque(file).u32(0).u32(0).u32(0).u32(1).hyper(sizeBytes).u32(0).u32(0).u32(0);
    });
  }

  async setModeAndTime(file: Uint8Array, mode: number, seconds: number): Promise<void> {
    await this.#call("SETATTR", (args) => {
      args.opaque(file).u32(1).u32(mode).u32(0).u32(0).u32(0).u32(0).u32(2).u32(seconds).u32(0).u32(0);
    });
  }

  async create(directory: Uint8Array, name: string, how: "guarded" | "exclusive"): Promise<Uint8Array> {
    const body = await this.#call("CREATE", (args) => {
      operand(directory, name)(args);
      if (how === "exclusive") args.u32(2).hyper(this.#nextXid);
      else newAttributes(0o644)(args.u32(1));
    });
    return handleOf(body);
  }

  async mkdir(directory: Uint8Array, name: string): Promise<Uint8Array> {
    return handleOf(await this.#call("MKDIR", withAttributes(operand(directory, name))));
  }

  async symlink(directory: Uint8Array, name: string, target: string): Promise<Uint8Array> {
    const makes = withAttributes(operand(directory, name));
    const body = await this.#call("SYMLINK", (args) => {
      makes(args);
      args.name(target as FileName);
    });
    return handleOf(body);
  }

  async readlink(file: Uint8Array): Promise<string> {
    const body = await this.#call("READLINK", (args) => args.opaque(file));
    readPostAttributes(body);
    return body.name("target");
  }

  async link(file: Uint8Array, directory: Uint8Array, name: string): Promise<void> {
    await this.#call("LINK", (args) => operand(directory, name)(args.opaque(file)));
  }

  async remove(directory: Uint8Array, name: string): Promise<void> {
    await this.#call("REMOVE", operand(directory, name));
  }

  async rmdir(directory: Uint8Array, name: string): Promise<void> {
    await this.#call("RMDIR", operand(directory, name));
  }

  async rename(from: Uint8Array, fromName: string, to: Uint8Array, toName: string): Promise<void> {
    await this.#call("RENAME", (args) => {
      operand(from, fromName)(args);
      operand(to, toName)(args);
    });
  }

  /** All entries but `.` and `..`. */
  async list(directory: Uint8Array): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (let cookie = 0n; ; ) {
      const body = await this.#call("READDIRPLUS", (args) => {
        args.opaque(directory).u64(cookie).hyper(0).u32(32_768).u32(65_536);
      });
      readPostAttributes(body);
      body.u64("cookieverf");
      while (body.bool("entry")) {
        body.hyper("fileid");
        const name = body.name("name");
        cookie = body.u64("cookie");
        const attributes = readPostAttributes(body);
        const handle = body.bool("handle") ? body.opaque(64, "handle").slice() : undefined;
        if (name === "." || name === "..") continue;
        if (attributes === undefined || handle === undefined) throw new Error(`${name} is listed without attributes`);
        entries.push({ name, handle, attributes });
      }
      if (body.bool("eof")) return entries;
    }
  }
}

function operand(directory: Uint8Array, name: string): Encode {
  return (args) => args.opaque(directory).name(name as FileName);
}

function withAttributes(operand: Encode): Encode {
  return (args) => {
    operand(args);
    newAttributes(0o755)(args);
  };
}

function handleOf(body: XdrReader): Uint8Array {
  if (!body.bool("handle follows")) throw new Error("a new file came without its handle");
  return body.opaque(64, "handle").slice();
}
