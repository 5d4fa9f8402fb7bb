/**
 * One TCP connection of an RPC client: records in, replies out. Many calls may be in flight; replies leave in the
 * order they become ready, those of one data event in one write.
 *
 * Memory is bounded from both ends: no record is taken up while the peer does not read its replies, or while
 * the calls that wait for their volume are too many or too large. `ConnectionTable` ends those that do not go on.
 */
import type { Ipv4 } from "../bytes/addresses.ts";
import { DecodeError } from "../bytes/decode-error.ts";
import {
  NFS_BYTES_HELD_MAX,
  NFS_BYTES_IN_FLIGHT_MAX,
  NFS_CALLS_IN_FLIGHT_MAX,
  NFS_REPLY_BATCH_BYTES,
} from "../limits.ts";
import type { TcpConnection } from "../ports.ts";
import type { ConnectionTable, TableEntry } from "./connection-table.ts";
import type { AnswerRecord, PendingAnswer } from "./program.ts";
import { LAST_FRAGMENT, RECORD_MARK_BYTES, RecordAssembler, reuseRecord } from "./record-marking.ts";
import { type Encode, XdrWriter } from "./xdr.ts";

const REPLY_BYTES_USUAL = 4096;

/** What a chunk from the socket holds at most. */
const READ_MINIMUM_BYTES_MAX = 64 * 1024;
/** For less the system call that asks for it costs as much as what it saves. */
const READ_MINIMUM_BYTES_MIN = 16 * 1024;

/** What the kernel has taken all of: new memory for each batch of replies would cost more than what is written to it. */
let spare: XdrWriter | undefined;

export interface RpcConnectionOptions {
  answer: AnswerRecord;
  table: ConnectionTable;
  /** Whether the client may send more than strangers do. */
  isKnown(): boolean;
  /** Hears why a connection was given up: its bytes were no RPC calls. */
  onBadStream(reason: string): void;
  /** Hears why a connection that was right so far was ended. */
  onEnded(reason: string): void;
}

export function serveRpcConnection(connection: TcpConnection, options: RpcConnectionOptions): void {
  const served = new ServedConnection(connection, options);
  options.table.add(served);
  connection.onData((bytes) => served.receive(bytes));
  connection.onDrain(() => served.drained());
  connection.onClose(() => served.closed());
}

class ServedConnection implements TableEntry {
  lastHeard: number;
  readonly #connection: TcpConnection;
  readonly #options: RpcConnectionOptions;
  readonly #records: RecordAssembler;
  /** Replies that were not yet handed to the socket. */
  #replies: XdrWriter | undefined;
  #flushIsScheduled = false;
  #callsInFlight = 0;
  #bytesInFlight = 0;
  #peerIsSlow = false;
  /** Replies that the peer has not read, as far as the table counts them. */
  #unreadBytes = 0;
  #isPaused = false;
  #readMinimumBytes = 1;
  #isClosed = false;
  #hasCalled = false;
  /** A record became whole, or replies were read, since the table last asked. */
  #hasGoneOn = false;

  constructor(connection: TcpConnection, options: RpcConnectionOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#records = new RecordAssembler(options.isKnown);
    this.lastHeard = options.table.nextHeard();
  }

  get client(): Ipv4 {
    return this.#connection.remote.address;
  }

  receive(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    this.lastHeard = this.#options.table.nextHeard();
    this.#records.push(bytes);
    this.#answerRecords();
  }

  drained(): void {
    this.#peerIsSlow = false;
    this.#hasGoneOn = true;
    this.#countUnread(0);
    this.#answerRecords();
  }

  closed(): void {
    this.#isClosed = true;
    this.#replies = undefined;
    this.#countUnread(0);
    this.#options.table.remove(this);
  }

  #countUnread(bytes: number): void {
    this.#options.table.heldBytes += bytes - this.#unreadBytes;
    this.#unreadBytes = bytes;
  }

  isStalled(): boolean {
    const unreadBytes = this.#peerIsSlow ? this.#connection.pendingBytes : 0;
    if (unreadBytes < this.#unreadBytes) this.#hasGoneOn = true;
    this.#countUnread(unreadBytes);
    const isPeersTurn = this.#peerIsSlow || this.#callsInFlight === 0;
    const isUnfinished = this.#peerIsSlow || this.#records.isWithinRecord || !this.#hasCalled;
    const isStalled = isPeersTurn && isUnfinished && !this.#hasGoneOn;
    this.#hasGoneOn = false;
    return isStalled;
  }

  end(reason: string): void {
    if (this.#isClosed) return;
    this.#options.onEnded(reason);
    this.#close();
  }

  #close(): void {
    this.closed();
    this.#connection.close();
  }

  get #isFull(): boolean {
    return (
      this.#peerIsSlow ||
      this.#callsInFlight >= NFS_CALLS_IN_FLIGHT_MAX ||
      this.#bytesInFlight >= NFS_BYTES_IN_FLIGHT_MAX ||
      // One call goes on, and looks here again when it is answered: so nobody has to be woken.
      (this.#callsInFlight > 0 && this.#options.table.heldBytes >= NFS_BYTES_HELD_MAX)
    );
  }

  #answerRecords(): void {
    try {
      while (!this.#isClosed && !this.#isFull) {
        const record = this.#records.next();
        if (record === undefined) break;
        this.#hasCalled = true;
        this.#hasGoneOn = true;
        const answer = this.#options.answer(record, this.client);
        if (typeof answer === "function") this.#reply(answer, record);
        else this.#await(answer, record);
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      // The stream cannot be trusted any more; whatever was answered before still goes out.
      this.#flush();
      this.#options.onBadStream(error.message);
      this.#close();
      return;
    }
    this.#flush();
    this.#awaitRecord();
    this.#throttle();
  }

  /** Within a large record the kernel need not wake us for each packet. */
  #awaitRecord(): void {
    const missingBytes = Math.max(1, Math.min(this.#records.missingBytes, READ_MINIMUM_BYTES_MAX));
    const isSmall = missingBytes < READ_MINIMUM_BYTES_MIN && this.#readMinimumBytes === 1;
    const minimumBytes = isSmall ? 1 : missingBytes;
    if (this.#isClosed || minimumBytes === this.#readMinimumBytes) return;
    this.#readMinimumBytes = minimumBytes;
    this.#connection.setReadMinimum(minimumBytes);
  }

  #throttle(): void {
    if (this.#isClosed || this.#isFull === this.#isPaused) return;
    this.#isPaused = this.#isFull;
    if (this.#isPaused) this.#connection.pause();
    else this.#connection.resume();
  }

  #await(pending: PendingAnswer, record: Uint8Array): void {
    const bytes = record.length + pending.replyBytesMax;
    this.#callsInFlight++;
    this.#bytesInFlight += bytes;
    this.#options.table.heldBytes += bytes;
    void pending.encode.then((encode) => {
      this.#callsInFlight--;
      this.#bytesInFlight -= bytes;
      this.#options.table.heldBytes -= bytes;
      this.#reply(encode, record);
      this.#scheduleFlush();
    });
  }

  /** Answers that become ready together leave together. */
  #scheduleFlush(): void {
    if (this.#flushIsScheduled) return;
    this.#flushIsScheduled = true;
    queueMicrotask(() => {
      this.#flushIsScheduled = false;
      this.#answerRecords();
    });
  }

  /** Its call is over: `record` is not looked at again. */
  #reply(encode: Encode, record: Uint8Array): void {
    if (!this.#isClosed) this.#write(encode);
    reuseRecord(record);
  }

  #write(encode: Encode): void {
    const replies = this.#replies ?? spare ?? new XdrWriter(REPLY_BYTES_USUAL);
    if (replies === spare) spare = undefined;
    this.#replies = replies;
    const start = replies.lengthBytes;
    const fileBytesBefore = replies.fileBytes;
    replies.zeros(RECORD_MARK_BYTES);
    encode(replies);
    const fileBytes = replies.fileBytes - fileBytesBefore;
    replies.patchU32(start, LAST_FRAGMENT + replies.lengthBytes - start - RECORD_MARK_BYTES + fileBytes);
    if (replies.lengthBytes + replies.fileBytes >= NFS_REPLY_BATCH_BYTES) this.#flush();
  }

  #flush(): void {
    const replies = this.#replies;
    if (replies === undefined || replies.lengthBytes === 0 || this.#isClosed) return;
    this.#replies = undefined;
    if (!this.#send(replies)) {
      this.#peerIsSlow = true;
      this.#countUnread(this.#connection.pendingBytes);
    }
    if (this.#connection.pendingBytes > 0) return;
    replies.truncate(0);
    spare = replies;
  }

  #send(replies: XdrWriter): boolean {
    const bytes = replies.finish();
    let [done, mayGoOn] = [0, true];
    for (const { at, range } of replies.files) {
      mayGoOn = this.#connection.writeFile(bytes.subarray(done, at), range) && mayGoOn;
      done = at;
    }
    return done === bytes.length ? mayGoOn : this.#connection.write(bytes.subarray(done)) && mayGoOn;
  }
}
