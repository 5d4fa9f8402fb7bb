/**
 * Every way the program touches the world, as types. `system/` makes them real on Linux; tests make them
 * out of memory. Nothing here has behaviour.
 */
import type { Ipv4, Mac } from "./bytes/addresses.ts";

/** A value now, or a promise of it: lets hot paths answer without a turn of the event loop. */
export type Awaitable<T> = T | Promise<T>;

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since 1970 UTC. May jump. For showing and storing. */
  unixMs(): number;
  /** Milliseconds from an arbitrary start. Never goes back. For measuring and deadlines. */
  monotonicMs(): number;
  /** Nanoseconds since 1970 UTC, for file times. */
  unixNs(): bigint;
  after(delayMs: number, run: () => void): Timer;
}

export interface Random {
  bytes(countBytes: number): Uint8Array;
}

/** Bytes that can be read at any offset: an image file, a partition, a file in memory. Read-only. */
export interface ByteSource {
  readonly sizeBytes: number;
  /**
   * Fills the whole of `target` from `offset`. Throws `DecodeError` when the range reaches past the end
   * (a truncated image), and the operating system's error when the disk fails.
   */
  readSync(target: Uint8Array, offset: number): void;
  /** Fills `target` if that needs no wait for a disk. False otherwise, with `target` filled with anything. */
  readNow(target: Uint8Array, offset: number): boolean;
  /**
   * Where a range lies in a file, if all of it is in memory: for `TcpConnection.writeFile`, which copies nothing. Absent, or
   * `undefined`: it has to be read.
   */
  rangeNow?(offset: number, lengthBytes: number): FileRange | undefined;
  /** The same as `readSync` without blocking the event loop. */
  read(target: Uint8Array, offset: number): Promise<void>;
  close(): void;
}

/** Bytes of an open file that nobody changes. */
export interface FileRange {
  /** Its descriptor, of this process, is `undefined` once the file is closed. */
  readonly file: Pick<ByteSource, "readNow" | "readSync"> & { readonly descriptor: number | undefined };
  readonly offset: number;
  readonly lengthBytes: number;
}

export interface UdpPeer {
  address: Ipv4;
  port: number;
}

export interface ReceivedDatagram {
  bytes: Uint8Array;
  from: UdpPeer;
  /** The address of ours that it was sent to, and the interface it came in by, where the socket can tell. */
  localAddress?: Ipv4;
  interfaceName?: string;
}

export interface SendOptions {
  /**
   * Send as an Ethernet frame to this address without asking ARP: the peer has no address yet. A socket that cannot
   * broadcasts instead.
   */
  hardwareAddress?: Mac;
  /** Source address; the socket's own when absent. */
  localAddress?: Ipv4;
}

export interface EthernetFrame {
  hardwareAddress: Mac;
  etherType: number;
  payload: Uint8Array;
  /** Tells the interface where the socket is bound to none. */
  localAddress?: Ipv4;
}

export interface UdpSocket {
  readonly localPort: number;
  send(bytes: Uint8Array, to: UdpPeer, options?: SendOptions): void;
  /** Sends an Ethernet frame that is no datagram. False when it cannot; absent where it never can. */
  sendFrame?(frame: EthernetFrame): boolean;
  onDatagram(handler: (datagram: ReceivedDatagram) => void): void;
  /** Absent where the system has no such calls. */
  readonly bulk?: UdpBulk;
  close(): void;
}

/** A socket of many small questions and large answers, each of which the peer waits for: without copies and without pauses. */
export interface UdpBulk {
  /** Instead of the socket's `onDatagram`. `bytes` are only valid during the call. */
  onDatagram(handler: (bytes: Uint8Array, from: UdpPeer) => void): void;
  /**
   * Sends `head` and `body` as one datagram. `body` is not copied: it must stay as it is until `flush`, or until this turn of
   * the event loop is over.
   */
  send(head: Uint8Array, body: Uint8Array, to: UdpPeer, localAddress?: Ipv4): void;
  /** Sends what still waits for company. */
  flush(): void;
  /** The kernel takes no more for now: what is sent all the same may be lost. */
  isFull(): boolean;
  /** Called each time that it takes more again. */
  onRoom(handler: () => void): void;
  /** Bytes that have not left this machine yet, as the kernel counts them. */
  queuedBytes(): number;
}

export interface UdpBinding {
  /** `0.0.0.0` for all addresses. */
  address: Ipv4;
  /** 0 for any free port. */
  port: number;
  /** Only this interface (SO_BINDTODEVICE). */
  interfaceName?: string;
  broadcast?: boolean;
  /** Others may have the port too, if they say so as well (SO_REUSEADDR): for what is heard by all of them. */
  shared?: boolean;
}

export interface UdpSockets {
  /** Rejects with the operating system's error (`EADDRINUSE`, `EACCES`, `ENODEV`). */
  bind(binding: UdpBinding): Promise<UdpSocket>;
}

/** Finds out who uses an address of the network that an interface is on. */
export interface AddressProbe {
  /** Who answers for the address; `undefined` when nobody does in time. Does not reject. */
  holderOf(address: Ipv4): Promise<Mac | undefined>;
  close(): void;
}

/** One accepted TCP connection, as bytes in and bytes out. */
export interface TcpConnection {
  readonly remote: UdpPeer;
  readonly localAddress: Ipv4;
  /** Returns false when the send buffer is above its mark; `onDrain` tells when to go on. */
  write(bytes: Uint8Array): boolean;
  /**
   * As `write` of `head` and of the range, which should be in memory, for what the kernel does not take at once is read. Ends the
   * connection if that fails: its peer was told of bytes that there are not.
   */
  writeFile(head: Uint8Array, range: FileRange): boolean;
  /** Of what was written, what the kernel has not taken yet. Only when it is 0 may buffers given to `write` be used again. */
  readonly pendingBytes: number;
  onData(handler: (bytes: Uint8Array) => void): void;
  onDrain(handler: () => void): void;
  onClose(handler: () => void): void;
  /** Stops and restarts reading, so that a peer that does not read its answers cannot fill our memory. */
  pause(): void;
  resume(): void;
  /** What is to be there before it is worth reading, 1 at first. What comes may still be less. Saves being woken by each packet. */
  setReadMinimum(countBytes: number): void;
  close(): void;
}

export interface TcpListener {
  readonly localPort: number;
  close(): Promise<void>;
}

export interface TcpListeners {
  listen(
    binding: { address: Ipv4; port: number },
    onConnection: (connection: TcpConnection) => void,
  ): Promise<TcpListener>;
}

export type Mutation =
  | { put: Uint8Array; value: Uint8Array }
  | { remove: Uint8Array }
  /** Removes every key with `from <= key < to`. */
  | { removeRange: { from: Uint8Array; to: Uint8Array } };

export interface WriteTiming {
  /** How long the commit may wait before it begins. */
  withinMs: number;
}

/** An ordered map of bytes to bytes (keys compare bytewise). */
export interface KeyValueStore {
  get(key: Uint8Array): Uint8Array | undefined;
  /** Entries with `from <= key < to`, in key order. */
  range(from: Uint8Array, to: Uint8Array): Iterable<{ key: Uint8Array; value: Uint8Array }>;
  /**
   * Applies all mutations in order, or none. `get` and `range` show them at once; the promise resolves when
   * they survive a power cut (calls in flight together share one fsync), and rejects with everything of this
   * and later unfinished writes undone. Writes become durable in their order; one that need not be at once may wait
   * for others, and goes with the next that may not.
   */
  write(mutations: readonly Mutation[], timing?: WriteTiming): Promise<void>;
  /** Resolves when other processes can see all that was written until now, once they catch up. */
  flush(): Promise<void>;
  /** From now on shows all that other processes have flushed. Without it, that may be some milliseconds late. */
  catchUp(): void;
  close(): Promise<void>;
}

/**
 * Contents of files too large for the key-value store, by name. Names are `[0-9a-f/]+`. Whatever may wait for the disk
 * is a promise; the buffers it is given stay untouched until then.
 */
export interface DataFiles {
  /** Opens for reading and writing. Rejects with ENOENT when the file is not there and not to be made. */
  open(name: string, how: { make: boolean }): Promise<DataFile>;
  /** Fills `target` from `offset` of a file that need not be open; how many bytes there were. For small reads. */
  readSync(name: string, target: Uint8Array, offset: number): number;
  /** One that is not there is removed already. */
  remove(name: string): Promise<void>;
  removeFolder(name: string): void;
  /** Names in a folder, `""` for the topmost; none when it is not there. */
  list(folder: string): string[];
  /** Of the disk they lie on; `freeBytes` is what this program may still use. */
  space(): { totalBytes: number; freeBytes: number };
}

export interface DataFile {
  /** The file was made by opening it: it is empty. */
  readonly isNew: boolean;
  /** Fills `target` from `offset`; how many bytes there were, fewer only at the end. */
  read(target: Uint8Array, offset: number): Promise<number>;
  readSync(target: Uint8Array, offset: number): number;
  /** Writes `parts` one after another, the first at `offset`. What is written when it rejects is unknown. */
  write(parts: readonly Uint8Array[], offset: number): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  /**
   * Resolves when the contents survive a power cut (fdatasync). When it rejects, everything written since the last
   * `sync` may be lost, and another `sync` would not tell.
   */
  sync(): Promise<void>;
  /** At once, or when what is under way has ended. */
  close(): void;
}

/** A network card that we are: whole Ethernet frames, from the destination address to the end of the payload. */
export interface EthernetPort {
  send(frame: Uint8Array): void;
  /** One handler; the bytes are its own to keep. */
  onFrame(handler: (frame: Uint8Array) => void): void;
  /** When it is done, another program can have the card. */
  close(): Awaitable<void>;
}

/** What an emulated computer starts with: what a boot loader leaves in its memory. */
export interface MachineSettings {
  name: string;
  mac: Mac;
  /** The TAP interface its network card is plugged into; nobody else has it open. */
  tapName: string;
  kernel: Uint8Array;
  initramfs?: Uint8Array;
  commandLine: string;
  /** Of a Raspberry Pi 3B: the machine is one. Absent: a machine that is no Pi, with a device tree of its own. */
  deviceTree?: Uint8Array;
  /** A Raspberry Pi 3B has 1,024 whatever stands here. */
  memoryMiB: number;
}

/** Why an emulated computer is no longer running. `failed`: the emulator stopped by itself, with its words. */
export type MachineEnd =
  | { kind: "reboot" }
  | { kind: "power-off" }
  | { kind: "stopped" }
  | { kind: "failed"; reason: string };

export interface Machine {
  /** What the machine writes to its serial console, as it comes. */
  onConsole(handler: (bytes: Uint8Array) => void): void;
  typeOnConsole(text: string): void;
  /** Takes the power away. `ended` then tells `stopped`. */
  stop(): void;
  readonly ended: Promise<MachineEnd>;
}

export interface Machines {
  /** Rejects when the emulator is not installed or does not start. */
  start(settings: MachineSettings): Promise<Machine>;
}

/** What became of a script. */
export type ShellOutcome =
  | { kind: "ended"; exitCode: number; stdout: string; stderr: string }
  /** No connection, or it was lost: then nobody knows how far the script came. */
  | { kind: "unreachable"; reason: string }
  /** There was a connection, but no shell of root's. */
  | { kind: "refused"; reason: string }
  | { kind: "timed-out" };

/** A shell of root's on each node. */
export interface RemoteShell {
  /**
   * Runs a script of POSIX sh, which may hold secrets: it goes over standard input, and is in nobody's list of processes. The script
   * itself has no standard input. Output beyond a limit is cut off.
   */
  run(node: string, script: string, timeoutMs: number): Promise<ShellOutcome>;
}
