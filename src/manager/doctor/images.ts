/** The images of a manifest: are they there, and could each node boot from its own? Nothing is unpacked for that. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { type Ipv4, parseIpv4 } from "../../bytes/addresses.ts";
import type { ImageState } from "../../cluster/doctor/facts.ts";
import { imageProblems, readImageFacts } from "../../cluster/image-facts.ts";
import type { ImageReference, Manifest, ManifestNode } from "../../cluster/manifest.ts";
import { type PlanImage, planNode } from "../../cluster/plan.ts";
import { createNodeSecrets } from "../../cluster/ssh-keys.ts";
import { imageFiles } from "../../disk/image-files.ts";
import { type OsImage, openOsImage } from "../../disk/os-image.ts";
import { CONTAINER_MAGIC_BYTES, containerOf } from "../../system/container.ts";
import { openFileSource } from "../../system/file-source.ts";
import { systemRandom } from "../../system/random.ts";
import { fileOrigin, isSameOrigin, type StoredImage } from "../image-metadata.ts";
import { ImageStore } from "../image-store.ts";
import type { LoadedManifest } from "../manifest-file.ts";
import { serviceNetwork } from "../service-networks.ts";

export async function lookAtImages(loaded: LoadedManifest): Promise<ImageState[]> {
  const { manifest } = loaded;
  const bySource = new Map<string, ManifestNode[]>();
  for (const node of manifest.nodes) {
    const reference = node.image ?? manifest.image;
    if (reference) bySource.set(reference.source, [...(bySource.get(reference.source) ?? []), node]);
  }
  if (manifest.image && !bySource.has(manifest.image.source)) bySource.set(manifest.image.source, []);
  const stored = await new ImageStore({ stateDir: loaded.stateFolder }).list();
  return [...bySource].map(([source, nodes]) => lookAtImage(source, nodes, stored, loaded));
}

function lookAtImage(
  source: string,
  nodes: readonly ManifestNode[],
  stored: readonly StoredImage[],
  loaded: LoadedManifest,
): ImageState {
  const state = (some: Partial<ImageState>): ImageState => ({ source, problems: [], isUnread: false, ...some });
  let disk: OsImage | "unread" | undefined;
  try {
    disk = openImage({ source }, stored, loaded);
  } catch (error) {
    return state({ problems: [(error as Error).message] });
  }
  if (disk === undefined) return state({ missing: "there is no such file, and no image of that name was imported" });
  if (disk === "unread") return state({ isUnread: true });
  try {
    return state({ problems: problemsOf(disk, source, nodes, loaded) });
  } catch (error) {
    return state({ problems: [(error as Error).message] });
  } finally {
    disk.close();
  }
}

/** `undefined`: there is none. `unread`: packed, or not downloaded yet. */
function openImage(
  { source }: ImageReference,
  stored: readonly StoredImage[],
  { resolvePath }: LoadedManifest,
): OsImage | "unread" | undefined {
  if (/^https?:\/\//i.test(source)) {
    const known = stored.findLast(({ origins }) => origins.some((one) => one.kind === "url" && one.url === source));
    return known ? openDisk(known.path) : "unread";
  }
  const path = resolvePath(source);
  if (!existsSync(path)) {
    const known = stored.findLast(({ name, contentSha256, containerSha256 }) =>
      [name, contentSha256, containerSha256].includes(source),
    );
    return known && openDisk(known.path);
  }
  const origin = fileOrigin(path, statSync(path));
  const known = stored.findLast(({ origins }) => origins.some((one) => isSameOrigin(one, origin)));
  if (known) return openDisk(known.path);
  return isPacked(path) ? "unread" : openDisk(path);
}

function openDisk(path: string): OsImage {
  const source = openFileSource(path);
  try {
    return openOsImage(source);
  } catch (error) {
    source.close();
    throw error;
  }
}

function isPacked(path: string): boolean {
  const source = openFileSource(path);
  try {
    const first = new Uint8Array(Math.min(CONTAINER_MAGIC_BYTES, source.sizeBytes));
    source.readSync(first, 0);
    return containerOf(first) !== "raw";
  } finally {
    source.close();
  }
}

function problemsOf(
  disk: OsImage,
  name: string,
  nodes: readonly ManifestNode[],
  { manifest, resolvePath }: LoadedManifest,
): string[] {
  const boot = imageFiles(disk.boot);
  const root = imageFiles(disk.root);
  const facts = readImageFacts(boot, root);
  const problems = imageProblems(facts);
  if (problems.length > 0) return problems;
  const image: PlanImage = { name, facts, boot, root };
  const context = {
    serverAddress: serverAddressOf(manifest),
    ports: manifest.network.ports,
    secrets: createNodeSecrets(systemRandom),
    readSource(path: string) {
      const found = resolvePath(path);
      return existsSync(found) ? readFileSync(found) : undefined;
    },
  };
  // Nodes that differ in name and address only have the same problems.
  const kinds = new Map(nodes.map((node) => [kindOf(node), node]));
  return [...kinds.values()].flatMap((node) =>
    planNode(manifest, node, image, context).problems.map((problem) => `${node.name}: ${problem}`),
  );
}

/** An interface that is missing is not the image's fault: any address will do then (RFC 5737). */
function serverAddressOf(manifest: Manifest): Ipv4 {
  try {
    return serviceNetwork(manifest).address;
  } catch {
    return parseIpv4("192.0.2.1");
  }
}

function kindOf(node: ManifestNode): string {
  return JSON.stringify({ ...node, name: "", mac: "", serial: "", address: "" });
}
