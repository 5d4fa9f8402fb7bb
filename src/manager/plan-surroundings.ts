import { existsSync, readFileSync } from "node:fs";
import type { ImageReference, Manifest } from "../cluster/manifest.ts";
import type { Images, OpenedImage } from "./images.ts";

/** What the nodes of a manifest share while it is applied; images and files are read once for all of them. */
export interface PlanSurroundings {
  manifest: Manifest;
  /** The manifest without its nodes, as JSON. */
  sharedInputs: string;
  openImage(reference: ImageReference): Promise<OpenedImage>;
  readSource(path: string): Uint8Array | undefined;
}

export function planSurroundings(
  manifest: Manifest,
  resolvePath: (path: string) => string,
  images: Pick<Images, "open">,
): PlanSurroundings {
  return {
    manifest,
    sharedInputs: JSON.stringify({ ...manifest, nodes: [] }),
    openImage: remember(
      (reference) => images.open(reference, resolvePath, () => {}),
      (reference) => JSON.stringify(reference),
    ),
    readSource: remember(
      (path) => readIfPresent(resolvePath(path)),
      (path) => path,
    ),
  };
}

function remember<Key, Value>(read: (key: Key) => Value, nameOf: (key: Key) => string): (key: Key) => Value {
  const known = new Map<string, Value>();
  return (key) => {
    const name = nameOf(key);
    if (!known.has(name)) known.set(name, read(key));
    return known.get(name)!;
  };
}

export function isSame(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one === undefined || other === undefined ? one === other : Buffer.compare(one, other) === 0;
}

/** `bramble ssh` logs in with the manager's key, whatever other keys the manifest names. */
export function withManagerKey(manifest: Manifest, publicKey: string): Manifest {
  return {
    ...manifest,
    access: { ...manifest.access, authorizedKeys: [...manifest.access.authorizedKeys, publicKey] },
  };
}

function readIfPresent(path: string): Uint8Array | undefined {
  return existsSync(path) ? readFileSync(path) : undefined;
}
