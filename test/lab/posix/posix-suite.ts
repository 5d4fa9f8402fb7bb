/**
 * The POSIX cases: what they say, what came of them on two file systems, and in what these differ. A case is lines of
 * system calls (cases/*.cases, run by posix-cases.c); a line may end in ` -> ` and what ext4 must answer, and without
 * it must not fail there.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = import.meta.dirname;

export interface PosixCase {
  name: string;
  /** As the program counts them, from 1. */
  number: number;
  lines: readonly string[];
  isPrepared: boolean;
}

/** How the cases are run: on an empty folder, or on files that were there before the file system was mounted. */
export type Ground = "new files" | "files of an image";

/** Results by `case.line`. */
export type Results = ReadonlyMap<string, string>;

export interface Difference {
  case: string;
  line: string;
  ext4: string;
  nfs: string;
}

export function casesFiles(): string[] {
  const folder = join(FOLDER, "cases");
  return readdirSync(folder)
    .filter((name) => name.endsWith(".cases"))
    .sort()
    .map((name) => join(folder, name));
}

export function readCases(): PosixCase[] {
  const texts = casesFiles().map((path) => readFileSync(path, "utf8"));
  return texts
    .flatMap((text) => text.split(/^# /m).slice(1))
    .map((text, index) => {
      const [name = "", ...rest] = text.split("\n");
      const lines = rest.filter((line) => line !== "" && !line.startsWith("#"));
      return { name, number: index + 1, lines, isPrepared: lines.includes("---") };
    });
}

/** Builds the program that runs the cases, without libraries, into `folder`. */
export function buildProgram(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const program = join(folder, "posix-cases");
  const sources = ["posix-cases.c", "operands.c", "operations.c", "listings.c"].map((name) => join(FOLDER, name));
  execFileSync("gcc", ["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, ...sources]);
  return program;
}

export function readResults(text: string): Results {
  const lines = text.split("\n").filter((line) => line.includes("\t"));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf("\t")), line.slice(line.indexOf("\t") + 1)]));
}

/** Cases as they are run on a ground, each line with its key in the results. */
function linesOf(cases: readonly PosixCase[], ground: Ground) {
  return cases
    .filter(({ isPrepared }) => isPrepared || ground === "new files")
    .flatMap((test) => {
      const from = ground === "new files" ? 0 : test.lines.indexOf("---") + 1;
      const keyed = test.lines.map((line, index) => ({ test, line, key: `${test.number}.${index + 1}` }));
      return keyed.slice(from).filter(({ line }) => line !== "---");
    });
}

/** What ext4 answered otherwise than the cases say: then the cases are wrong. */
export function mistakes(cases: readonly PosixCase[], ground: Ground, ext4: Results): string[] {
  const found = linesOf(cases, ground).flatMap(({ test, line, key }) => {
    const [call, expected] = line.split(" -> ");
    const seen = ext4.get(key) ?? "nothing";
    const isRight = expected === undefined ? !/^(E[A-Z0-9]+|nothing)$/.test(seen) : seen === expected;
    return isRight ? [] : [`${test.name}: ${call} gave ${seen}`];
  });
  return [...found, ...endings(cases, ext4)];
}

function endings(cases: readonly PosixCase[], results: Results): string[] {
  return cases.flatMap(({ name, number }) => {
    const ending = results.get(`${number}.0`);
    return ending === undefined ? [] : [`${name}: ${ending}`];
  });
}

export function differences(cases: readonly PosixCase[], ground: Ground, ext4: Results, nfs: Results): Difference[] {
  const lines = linesOf(cases, ground).flatMap(({ test, line, key }) => {
    const [call = ""] = line.split(" -> ");
    const difference = { case: test.name, line: call, ext4: ext4.get(key) ?? "", nfs: nfs.get(key) ?? "nothing" };
    return difference.ext4 === difference.nfs ? [] : [difference];
  });
  return lines;
}

/** The differences that docs/POSIX.md tells of: rows of a table of case, call, ext4's answer and NFS's. */
export function documentedDifferences(document: string): Difference[] {
  const cells = (row: string) => row.split("|").map((cell) => cell.trim().replace(/^`|`$/g, ""));
  return document
    .split("\n")
    .filter((row) => /^\| .* \| `.*` \| `.*` \| `.*` \|/.test(row))
    .map((row) => {
      const [, name = "", line = "", ext4 = "", nfs = ""] = cells(row);
      return { case: name, line, ext4, nfs };
    });
}
