/** What the TFTP server asks the rest of the program: which bytes stand behind a path, for this client. */
import type { Ipv4 } from "../bytes/addresses.ts";
import type { Awaitable, UdpPeer } from "../ports.ts";
import type { TransferFailure } from "./observation.ts";
import { ERROR_CODE, type TftpOptions, type TftpPacket } from "./packet.ts";
import type { TransferSource } from "./read-ahead.ts";

export interface TftpRequest {
  /** Normalised: no leading slash, no empty parts, no `..`. */
  path: string;
  client: UdpPeer;
  /** The address of ours that was asked, where the socket can tell. */
  localAddress?: Ipv4;
}

/** A request with all that was in its packet. Plain data, so that another process can answer it. */
export interface TftpReadRequest extends TftpRequest {
  options: TftpOptions;
  /** The packet: by it a repeated request is told from a new one. */
  bytes: Uint8Array;
}

/** Why there is no file to send. */
export interface TftpRefusal {
  kind: "missing" | "refused" | "failed";
  reason: string;
  cause?: TransferFailure;
}

/** A file is closed by the server after the transfer, also when it fails. */
export type TftpAnswer = ({ kind: "file" } & TransferSource) | TftpRefusal;

export interface TftpHandler {
  open(request: TftpRequest): Awaitable<TftpAnswer>;
}

/** What a client is told. */
export function refusalPacket({ kind, reason }: TftpRefusal): TftpPacket {
  switch (kind) {
    case "missing":
      return { kind: "error", code: ERROR_CODE.fileNotFound, message: "File not found" };
    case "refused":
      return { kind: "error", code: ERROR_CODE.accessViolation, message: reason };
    case "failed":
      return { kind: "error", code: ERROR_CODE.notDefined, message: reason };
  }
}

/** Goes on at once when the answer is there at once. */
export function settle<T>(
  run: () => Awaitable<T>,
  onValue: (value: T) => void,
  onReason: (reason: string) => void,
): void {
  const onError = (error: unknown) => onReason(error instanceof Error ? error.message : String(error));
  let result: Awaitable<T>;
  try {
    result = run();
  } catch (error) {
    onError(error);
    return;
  }
  if (result instanceof Promise) result.then(onValue, onError);
  else onValue(result);
}
