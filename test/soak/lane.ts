/**
 * One of the clients that work while the server is killed. It does one thing after another, but writes several pieces
 * at once, keeps what was not committed as a kernel's client does, and knows what it was promised.
 */
import { bytesOf, committed, cut, mismatch, type Write, written } from "./file-model.ts";
import {
  type Found,
  find,
  type LaneModel,
  laneMismatch,
  linkCount,
  type ModelFile,
  NEW_FILE,
  renamed,
  withFile,
  withLastContents,
  withName,
  withoutName,
} from "./lane-model.ts";
import { ConnectionLost, type NfsClient, Refused } from "./nfs-client.ts";
import { OFFSET_MAX, planWrites } from "./planned-writes.ts";
import type { SeededRandom } from "./seeded-random.ts";

const NAMES_MAX = 14;
const REMOVED_KEPT = 20;

export type Durability = "sync" | "async";

export class Lane {
  readonly name: string;
  readonly #durability: Durability;
  /** With `async`: what was true at some time since something was last promised. The server may have gone back to it. */
  #past: LaneModel[] = [];
  readonly #random: SeededRandom;
  /** Those the lane works in, by the name that paths begin with. */
  readonly #directories: Map<string, Uint8Array>;
  #model: LaneModel;
  /** What an operation that was not answered leads to. */
  #after: LaneModel | undefined;
  /** The write verifier that came with each pending write. */
  readonly #verifiers = new Map<number, bigint>();
  readonly #removed: Uint8Array[] = [];
  #counter = 0;
  #operations = 0;

  constructor(
    name: string,
    random: SeededRandom,
    directories: Map<string, Uint8Array>,
    model: LaneModel,
    durability: Durability,
  ) {
    this.name = name;
    this.#durability = durability;
    this.#random = random;
    this.#directories = directories;
    this.#model = model;
  }

  /** Operations that were answered. */
  get operations(): number {
    return this.#operations;
  }

  /** Works until the connection is lost. */
  async work(client: NfsClient): Promise<void> {
    try {
      for (;;) {
        await this.#operate(client);
        this.#operations += 1;
      }
    } catch (error) {
      if (error instanceof ConnectionLost) return;
      throw new Error(`${this.name}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** What may be found if the server stops now: all that was answered, with or without what was not. */
  get promises(): readonly LaneModel[] {
    const now = this.#after === undefined ? [this.#model] : [this.#model, this.#after];
    return [...now, ...withLastContents(this.#past, this.#model).reverse()];
  }

  #isPromised(): void {
    this.#past = [];
  }

  /** Finds the one of these that the server has. Throws when it has none of them. */
  async compare(client: NfsClient, promises: readonly LaneModel[]): Promise<{ match: LaneModel; found: Found }> {
    const shared = `shared/${this.name}-`;
    const found = await find(
      client,
      this.#directories,
      (path) => !path.startsWith("shared/") || path.startsWith(shared),
    );
    const reasons = promises.map((model) => laneMismatch(model, found));
    const match = promises[reasons.indexOf(undefined)];
    if (match === undefined) throw new Error(`${this.name}: ${reasons.join("; or, with what was not answered: ")}`);
    return { match, found };
  }

  /** Takes what is found for the truth, and sends again what was not promised. */
  async check(client: NfsClient): Promise<void> {
    const { match, found } = await this.compare(client, this.promises);
    this.#after = undefined;
    this.#model = match;
    this.#isPromised();
    for (const [path, number] of match.names) this.#change(number, { handle: found.get(path)!.handle });
    // What was removed may be back.
    if (this.#durability === "async") this.#removed.length = 0;
    for (const handle of this.#removed) await this.#checkStale(client, handle);
    for (const [number, file] of this.#model.files) if (file.kind === "file") await this.#sendAgain(client, number);
  }

  async #checkStale(client: NfsClient, handle: Uint8Array): Promise<void> {
    const status = await client.getattr(handle).then(
      () => "an answer",
      (error: Error) => (error instanceof Refused ? error.status : error.message),
    );
    if (status !== "NFS3ERR_STALE") throw new Error(`${this.name}: the handle of a removed file gives ${status}`);
  }

  async #sendAgain(client: NfsClient, number: number): Promise<void> {
    const { handle, content } = this.#model.files.get(number)!;
    if (content.pending.length === 0) return;
    for (const write of content.pending) {
      this.#verifiers.set(write.number, await client.write(handle!, write.offset, bytesOf(write), false));
    }
    this.#change(number, { mtime: undefined });
    await this.#commit(client, number);
    const now = this.#model.files.get(number)!.content;
    const wrong = mismatch(now, await client.read(handle!));
    if (wrong !== undefined) throw new Error(`${this.name}: after everything was sent again, ${wrong}`);
  }

  async #commit(client: NfsClient, number: number): Promise<void> {
    const { handle, content } = this.#model.files.get(number)!;
    const verifier = await client.commit(handle!);
    if (content.pending.some((write) => this.#verifiers.get(write.number) !== verifier)) {
      throw new Error("the write verifier has changed though the server has not restarted");
    }
    for (const write of content.pending) this.#verifiers.delete(write.number);
    this.#change(number, { content: committed(content) });
    this.#isPromised();
  }

  #change(number: number, changes: Partial<ModelFile>): void {
    this.#model = withFile(this.#model, number, changes);
  }

  /** Does what leads to `after`, which is the truth once it is answered. */
  async #toward(after: LaneModel, operation: () => Promise<void>): Promise<void> {
    this.#after = after;
    await operation();
    if (this.#durability === "async") this.#past.push(this.#model);
    this.#model = after;
    this.#after = undefined;
  }

  #paths(kind?: ModelFile["kind"]): string[] {
    const { names, files } = this.#model;
    return [...names]
      .filter(([, number]) => kind === undefined || files.get(number)!.kind === kind)
      .map(([path]) => path);
  }

  async #operate(client: NfsClient): Promise<void> {
    const files = this.#paths("file");
    if (files.length === 0 || this.#random.chance(0.1)) return this.#make(client);
    if (this.#paths().length > NAMES_MAX) return this.#remove(client);
    const number = this.#model.names.get(this.#random.pick(files))!;
    const choice = this.#random.below(100);
    if (choice < 40) return this.#write(client, number);
    if (choice < 55) return this.#commit(client, number);
    if (choice < 63) return this.#writeStable(client, number);
    if (choice < 70) return this.#setSize(client, number);
    if (choice < 76) return this.#setAttributes(client, number);
    if (choice < 88) return this.#rename(client);
    if (choice < 93) return this.#link(client);
    return this.#remove(client);
  }

  #write(client: NfsClient, number: number): Promise<void> {
    const { content } = this.#model.files.get(number)!;
    return this.#send(
      client,
      number,
      planWrites(this.#random, content, () => ++this.#counter),
    );
  }

  async #send(client: NfsClient, number: number, writes: readonly Write[]): Promise<void> {
    const { handle, content } = this.#model.files.get(number)!;
    this.#change(number, { content: writes.reduce(written, content), mtime: undefined });
    const sent = writes.map(async (write) => {
      this.#verifiers.set(write.number, await client.write(handle!, write.offset, bytesOf(write), false));
    });
    await Promise.all(sent);
    if (!this.#random.chance(0.2)) return;
    // What was answered is seen, committed or not.
    const now = this.#model.files.get(number)!.content;
    const wrong = mismatch({ ...committed(now), pending: [] }, await client.read(handle!));
    if (wrong !== undefined) throw new Error(`file ${number} after a write: ${wrong}`);
  }

  async #writeStable(client: NfsClient, number: number): Promise<void> {
    await this.#commit(client, number);
    const { handle, content } = this.#model.files.get(number)!;
    const write = {
      number: ++this.#counter,
      offset: this.#random.below(OFFSET_MAX),
      sizeBytes: 1 + this.#random.below(9000),
    };
    this.#change(number, { content: written(content, write), mtime: undefined });
    await client.write(handle!, write.offset, bytesOf(write), true);
    this.#isPromised();
    this.#change(number, { content: committed(this.#model.files.get(number)!.content) });
  }

  async #setSize(client: NfsClient, number: number): Promise<void> {
    await this.#commit(client, number);
    const { handle, content } = this.#model.files.get(number)!;
    const sizeBytes = this.#random.chance(0.3) ? 0 : this.#random.below(OFFSET_MAX);
    const after = withFile(this.#model, number, { content: cut(content, sizeBytes), mtime: undefined });
    this.#change(number, { mtime: undefined });
    await this.#toward(after, () => client.setSize(handle!, sizeBytes));
  }

  async #setAttributes(client: NfsClient, number: number): Promise<void> {
    const { handle } = this.#model.files.get(number)!;
    const changes = { mode: 0o600 + this.#random.below(64), mtime: 1_000_000_000 + this.#random.below(1_000_000) };
    const after = withFile(this.#model, number, changes);
    await this.#toward(after, () => client.setModeAndTime(handle!, changes.mode, changes.mtime));
  }

  /** A place for a new name: a directory's path, its handle and a name that is not there. */
  #newPlace() {
    const [path, handle] = this.#random.pick([...this.#directories, ...this.#ownDirectories()]);
    const name = `${this.name}-${++this.#counter}`;
    return { path: `${path}/${name}`, directory: handle, name };
  }

  #ownDirectories(): [string, Uint8Array][] {
    return this.#paths("directory").map((path) => [path, this.#fileAt(path).handle!]);
  }

  #fileAt(path: string): ModelFile {
    return this.#model.files.get(this.#model.names.get(path)!)!;
  }

  #place(path: string) {
    const parent = path.slice(0, path.lastIndexOf("/"));
    const directory = this.#directories.get(parent) ?? this.#fileAt(parent).handle!;
    return { directory, name: path.slice(parent.length + 1) };
  }

  async #make(client: NfsClient): Promise<void> {
    const { path, directory, name } = this.#newPlace();
    const number = ++this.#counter;
    const choice = this.#random.below(10);
    const kind = choice < 7 ? "file" : choice < 9 ? "directory" : "symlink";
    const target = kind === "symlink" ? `../elsewhere/${number}` : "";
    const after = withName(withFile(this.#model, number, { ...NEW_FILE, kind, target }), path, number);
    let handle: Uint8Array | undefined;
    await this.#toward(after, async () => {
      if (kind === "directory") handle = await client.mkdir(directory, name);
      else if (kind === "symlink") handle = await client.symlink(directory, name, target);
      else handle = await client.create(directory, name, this.#random.pick(["guarded", "exclusive"] as const));
    });
    this.#change(number, { handle });
  }

  async #remove(client: NfsClient): Promise<void> {
    const path = this.#random.pick(this.#paths());
    const { directory, name } = this.#place(path);
    const number = this.#model.names.get(path)!;
    const { kind, handle } = this.#model.files.get(number)!;
    if (kind === "directory") {
      if (this.#paths().some((one) => one.startsWith(`${path}/`))) return;
      await this.#toward(withoutName(this.#model, path), () => client.rmdir(directory, name));
    } else {
      await this.#toward(withoutName(this.#model, path), () => client.remove(directory, name));
    }
    if (!this.#model.files.has(number)) this.#forget(handle!);
  }

  #forget(handle: Uint8Array): void {
    this.#removed.push(handle);
    if (this.#removed.length > REMOVED_KEPT) this.#removed.shift();
  }

  async #rename(client: NfsClient): Promise<void> {
    const from = this.#random.pick(this.#paths());
    const number = this.#model.names.get(from)!;
    const { kind } = this.#model.files.get(number)!;
    const files = this.#paths("file").filter((path) => this.#model.names.get(path) !== number);
    const replaces = kind === "file" && files.length > 0 && this.#random.chance(0.5);
    const fresh = this.#newPlace();
    const to = replaces ? this.#random.pick(files) : fresh.path;
    if (to.startsWith(`${from}/`)) return;
    const target = replaces ? this.#place(to) : fresh;
    const source = this.#place(from);
    const replaced = replaces ? this.#model.names.get(to) : undefined;
    const replacedHandle = replaced === undefined ? undefined : this.#model.files.get(replaced)!.handle!;
    await this.#toward(renamed(this.#model, from, to), () => {
      return client.rename(source.directory, source.name, target.directory, target.name);
    });
    if (replaced !== undefined && !this.#model.files.has(replaced)) this.#forget(replacedHandle!);
  }

  async #link(client: NfsClient): Promise<void> {
    const path = this.#random.pick(this.#paths("file"));
    const number = this.#model.names.get(path)!;
    if (linkCount(this.#model, number) > 3) return;
    const { path: to, directory, name } = this.#newPlace();
    const { handle } = this.#model.files.get(number)!;
    await this.#toward(withName(this.#model, to, number), () => client.link(handle!, directory, name));
  }
}
