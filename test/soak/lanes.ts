/** All lanes together: how they begin, and what they share. */
import { EXPORT_PATH } from "./crash-server.ts";
import { type Durability, Lane } from "./lane.ts";
import { find, type LaneModel, type ModelFile, NEW_FILE } from "./lane-model.ts";
import type { NfsClient } from "./nfs-client.ts";
import { SeededRandom } from "./seeded-random.ts";

/** Which files there are before anything is written: those of the image. */
async function imageModel(client: NfsClient, image: Uint8Array): Promise<LaneModel> {
  const names = new Map<string, number>();
  const files = new Map<number, ModelFile>();
  for (const [path, { handle, attributes, content }] of await find(client, new Map([["image", image]]), () => true)) {
    names.set(path, -attributes.id);
    files.set(-attributes.id, { ...NEW_FILE, handle, content: { committed: content!, pending: [] } });
  }
  return { names, files };
}

/** Lanes for an empty tree of the soak image. The first one also works on the files of the image. */
export async function makeLanes(
  client: NfsClient,
  count: number,
  seed: number,
  durability: Durability,
): Promise<Lane[]> {
  const root = await client.mount(EXPORT_PATH);
  const shared = await client.lookup(root, "shared");
  const image = await client.lookup(root, "image");
  const lanes: Lane[] = [];
  for (let index = 0; index < count; index += 1) {
    const name = `lane${index}`;
    const directories = new Map([
      ["shared", shared],
      [name, await client.mkdir(root, name)],
    ]);
    let model: LaneModel = { names: new Map(), files: new Map() };
    if (index === 0) {
      directories.set("image", image);
      model = await imageModel(client, image);
    }
    lanes.push(new Lane(name, new SeededRandom(seed * 1000 + index), directories, model, durability));
  }
  return lanes;
}

/** Names and links of the directory in which all lanes work. */
export async function checkShared(client: NfsClient): Promise<void> {
  const shared = await client.lookup(await client.mount(EXPORT_PATH), "shared");
  const entries = await client.list(shared);
  const directories = entries.filter(({ attributes }) => attributes.type === 2).length;
  const { linkCount } = await client.getattr(shared);
  if (linkCount !== 2 + directories) throw new Error(`shared has ${linkCount} links and ${directories} directories`);
  if (new Set(entries.map(({ name }) => name)).size !== entries.length) throw new Error("shared lists a name twice");
}
