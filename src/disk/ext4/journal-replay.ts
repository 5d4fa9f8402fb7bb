/**
 * Replay of the jbd2 journal, as fs/jbd2/recovery.c does it but in memory: the answer is where the newest committed
 * copy of each block lies in the log. Left out: fast commits, which are refused when there is one to replay.
 */
import { DecodeError } from "../../bytes/decode-error.ts";
import { crc32BigEndian, crc32c, crc32cU32, crc32cZeros } from "./checksums.ts";
import {
  BLOCK_TYPES,
  isBlockTailRight,
  JOURNAL_COMPATIBLE,
  JOURNAL_INCOMPATIBLE,
  JOURNAL_MAGIC,
  type JournalSuperblock,
  readJournalSuperblock,
  readRevokedBlocks,
  readTags,
  type Tag,
} from "./journal-format.ts";

const COMMIT_CHECKSUM_AT = 0x10;
const COMMIT_SECONDS_AT = 0x30;
const CHECKSUM_TYPE_CRC32 = 1;
const FAST_COMMIT_HEAD_TAG = 9;

/** The file that holds the journal, in blocks of the file system's size. */
export interface JournalFile {
  blocksCount: number;
  read(block: number): Uint8Array;
}

/** A block to be taken from the log instead of from its place. */
export interface ReplayedBlock {
  journalBlock: number;
  isEscaped: boolean;
}

interface LoggedWrite extends Tag {
  journalBlock: number;
  sequence: number;
}

interface Transaction {
  writes: LoggedWrite[];
  revokedBlocks: number[];
}

/** Replayed blocks by their number in the file system. Throws `DecodeError` when the log is damaged. */
export function replayJournal(file: JournalFile, blocksCount: number): Map<number, ReplayedBlock> {
  const journal = readJournalSuperblock(file.read(0), file.blocksCount);
  const replayed = new Map<number, ReplayedBlock>();
  if (journal.startBlock === 0) return replayed;
  const { transactions, endSequence } = scan(file, journal);
  refuseFastCommits(file, journal, endSequence);

  const revokedAt = new Map<number, number>();
  transactions.forEach(({ revokedBlocks }, index) => {
    for (const block of revokedBlocks) revokedAt.set(block, index);
  });
  transactions.forEach(({ writes }, index) => {
    for (const write of writes) {
      // A revoked block was freed: it may since hold data, which does not pass through the log.
      if ((revokedAt.get(write.block) ?? -1) >= index) continue;
      verifyWrite(file, journal, write, blocksCount);
      replayed.set(write.block, { journalBlock: write.journalBlock, isEscaped: write.isEscaped });
    }
  });
  return replayed;
}

/** Walks the log from its start to the last transaction that was committed whole. */
function scan(file: JournalFile, journal: JournalSuperblock): { transactions: Transaction[]; endSequence: number } {
  const { firstBlock, endBlock, compatible } = journal;
  const transactions: Transaction[] = [];
  let pending: Transaction = { writes: [], revokedBlocks: [] };
  let sequence = journal.startSequence;
  let lastCommitSeconds = 0n;
  /** A block of this transaction has a wrong sum: either left over from an older log, or damaged. */
  let isSuspect = false;
  /** Over descriptors and data, for checksums v1. */
  let sum = 0xffffffff;
  let at = journal.startBlock;
  const following = (block: number): number => (block + 1 < endBlock ? block + 1 : firstBlock);
  const hasRunningSum = (compatible & JOURNAL_COMPATIBLE.checksum) !== 0;

  for (let visited = 0; visited < endBlock - firstBlock; visited++) {
    const bytes = file.read(at);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint32(0) !== JOURNAL_MAGIC || view.getUint32(8) !== sequence) break;
    const type = view.getUint32(4);
    at = following(at);
    if (type === BLOCK_TYPES.descriptor) {
      isSuspect ||= !isBlockTailRight(bytes, journal);
      if (hasRunningSum) sum = crc32BigEndian(sum, bytes);
      for (const tag of readTags(bytes, journal)) {
        pending.writes.push({ ...tag, journalBlock: at, sequence });
        if (hasRunningSum) sum = crc32BigEndian(sum, file.read(at));
        at = following(at);
        visited++;
      }
    } else if (type === BLOCK_TYPES.revoke) {
      isSuspect ||= !isBlockTailRight(bytes, journal);
      if (!isSuspect) pending.revokedBlocks.push(...readRevokedBlocks(bytes, journal));
    } else if (type === BLOCK_TYPES.commit) {
      const seconds = view.getBigUint64(COMMIT_SECONDS_AT);
      if (isSuspect && seconds >= lastCommitSeconds) {
        throw new DecodeError("ext4 journal", `transaction ${sequence}`, "its checksum is wrong; the image is damaged");
      }
      if (isSuspect || !isCommitRight(bytes, view, journal, sum)) break;
      transactions.push(pending);
      pending = { writes: [], revokedBlocks: [] };
      lastCommitSeconds = seconds;
      sum = 0xffffffff;
      sequence = (sequence + 1) >>> 0;
    } else break;
  }
  return { transactions, endSequence: sequence };
}

function isCommitRight(bytes: Uint8Array, view: DataView, journal: JournalSuperblock, sum: number): boolean {
  const stored = view.getUint32(COMMIT_CHECKSUM_AT);
  if (journal.hasChecksums) {
    const computed = crc32cZeros(crc32c(journal.checksumSeed, bytes, 0, COMMIT_CHECKSUM_AT), 4);
    return stored === crc32c(computed, bytes, COMMIT_CHECKSUM_AT + 4);
  }
  if ((journal.compatible & JOURNAL_COMPATIBLE.checksum) === 0) return true;
  const [type, sumBytes] = [view.getUint8(0xc), view.getUint8(0xd)];
  const isUnused = type === 0 && sumBytes === 0 && stored === 0;
  return isUnused || (type === CHECKSUM_TYPE_CRC32 && sumBytes === 4 && stored === sum);
}

function verifyWrite(file: JournalFile, journal: JournalSuperblock, write: LoggedWrite, blocksCount: number): void {
  const where = `journal block ${write.journalBlock}`;
  if (write.block >= blocksCount) {
    throw new DecodeError("ext4 journal", where, `it belongs to block ${write.block} of only ${blocksCount}`);
  }
  if (!journal.hasChecksums) return;
  const seed = crc32cU32(journal.checksumSeed, byteSwapped(write.sequence));
  const sum = crc32c(seed, file.read(write.journalBlock));
  const isV3 = (journal.incompatible & JOURNAL_INCOMPATIBLE.checksumV3) !== 0;
  if ((isV3 ? sum : sum & 0xffff) !== write.checksum) {
    throw new DecodeError("ext4 journal", where, `the copy of block ${write.block} is damaged: its checksum is wrong`);
  }
}

function byteSwapped(value: number): number {
  return ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24);
}

/**
 * The area behind the log starts with a head that names the transaction it adds to, if there is anything in it.
 * One block between the two is never used (`j_fc_first = j_last + 1` in fs/jbd2/journal.c).
 */
function refuseFastCommits(file: JournalFile, journal: JournalSuperblock, endSequence: number): void {
  const areaBlock = journal.endBlock + 1;
  if ((journal.incompatible & JOURNAL_INCOMPATIBLE.fastCommit) === 0 || areaBlock >= file.blocksCount) return;
  const bytes = file.read(areaBlock);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) === FAST_COMMIT_HEAD_TAG && view.getUint32(8, true) === endSequence) {
    throw new DecodeError(
      "ext4 journal",
      `fast-commit area (journal block ${areaBlock})`,
      "the feature fast_commit has changes to replay; mount the image once on Linux, or run e2fsck -p on it",
    );
  }
}
