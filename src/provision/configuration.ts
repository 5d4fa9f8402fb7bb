/**
 * Which nodes Ansible has to configure, and when: from the manifest and what is known of the nodes. Pure, so that a manager that
 * was restarted goes on by looking.
 */
import { createHash } from "node:crypto";
import { isUp } from "../cluster/event.ts";
import type { Manifest, ManifestNode } from "../cluster/manifest.ts";
import { COLLECTION, type Configure } from "../cluster/manifest-configure.ts";
import { managersOf } from "../cluster/orchestrator-managers.ts";
import { type NodeStatus, silentNode } from "../cluster/status.ts";
import { kubernetesRole } from "./kubernetes/role-variables.ts";

/** Nodes that come up within this time are configured together. */
const SETTLE_MS = 5000;
const RETRY_FIRST_MS = 60_000;
const RETRY_MAX_MS = 3_600_000;

/**
 * What Ansible is to do on nodes; `undefined`: nothing. `resolvePath` makes the manifest's paths absolute. What the orchestrator needs on
 * them comes last of the roles, and needs no `configure:`.
 */
export function configurationOf(manifest: Manifest, resolvePath = (path: string) => path): Configure | undefined {
  const needed = kubernetesRole(manifest, resolvePath);
  const { configure = needed && NOTHING_ELSE } = manifest;
  if (configure === undefined) return undefined;
  const role = needed && `${COLLECTION}.${needed.role}`;
  return {
    ...configure,
    roles: role === undefined || configure.roles.includes(role) ? configure.roles : [...configure.roles, role],
    variables: { ...needed?.variables, ...configure.variables },
    before: configure.before.map(resolvePath),
    after: configure.after.map(resolvePath),
  };
}

const NOTHING_ELSE: Configure = { roles: [], variables: {}, before: [], after: [], auto: true };

/**
 * Of all that the manifest says about a node's configuration, as 12 hex digits. What playbooks contain is not in it: they may use
 * any files.
 */
export function configurationFingerprint(manifest: Manifest, node: ManifestNode): string {
  let known = fingerprints.get(manifest);
  if (known === undefined) {
    known = fingerprintsOf(manifest);
    fingerprints.set(manifest, known);
  }
  return known.get(node.name) ?? "";
}

/** Asked for at each look at the status: made once for a manifest, which nobody changes. */
const fingerprints = new WeakMap<Manifest, ReadonlyMap<string, string>>();

function fingerprintsOf(manifest: Manifest): ReadonlyMap<string, string> {
  const { roles, variables, before, after } = configurationOf(manifest) ?? {};
  const managers = new Set(managersOf(manifest));
  const forAll = [roles, variables, before, after, manifest.access.user, manifest.orchestrator?.kind ?? null];
  const ofNode = (node: ManifestNode) => {
    const image = (node.image ?? manifest.image)?.source ?? null;
    const settings = JSON.stringify([...forAll, image, node.role ?? null, managers.has(node.name)]);
    return createHash("sha256").update(settings).digest("hex").slice(0, 12);
  };
  return new Map(manifest.nodes.map((node) => [node.name, ofNode(node)]));
}

/** It was configured with the present settings, and what was done is still there. */
export function isConfigured(manifest: Manifest, node: ManifestNode, status: NodeStatus | undefined): boolean {
  const { configured, boot } = status ?? {};
  if (configured?.fingerprint !== configurationFingerprint(manifest, node)) return false;
  return (node.root ?? manifest.root) === "persistent" || configured.bootId === boot?.bootId;
}

/** Whether its configuration lets it join the cluster: it is configured, or the manifest does not ask the manager for that. */
export function mayJoin(manifest: Manifest, node: ManifestNode, status: NodeStatus | undefined): boolean {
  return !configurationOf(manifest)?.auto || isConfigured(manifest, node, status);
}

/** When the manager is to configure the node, as Unix time; `undefined`: not as things are. */
export function configurationDueMs(
  manifest: Manifest,
  node: ManifestNode,
  status: NodeStatus | undefined,
  nowMs: number,
): number | undefined {
  const known = status ?? silentNode(node.name, nowMs);
  if (!configurationOf(manifest)?.auto || !isUp(known.stage) || isConfigured(manifest, node, known)) return undefined;
  const { configureFailed: failed, boot, stageSinceMs } = known;
  const isOfNow = failed?.fingerprint === configurationFingerprint(manifest, node) && failed.bootId === boot?.bootId;
  const fromMs = isOfNow ? failed.unixMs : stageSinceMs;
  // The clock was put back.
  if (fromMs > nowMs) return nowMs;
  return fromMs + (isOfNow ? configurationRetryMs(failed.attempts) : SETTLE_MS);
}

/** After so many failures in a row: a minute, two, four, … an hour. */
export function configurationRetryMs(attempts: number): number {
  return Math.min(RETRY_FIRST_MS * 2 ** Math.min(attempts - 1, 16), RETRY_MAX_MS);
}

/** How a node's configuration stands, as it is shown. `off`: nobody has asked for it in this boot. */
export interface ConfigurationView {
  state: "waiting" | "running" | "done" | "failed" | "off";
  /** What Ansible does now. */
  task?: string;
  message?: string;
}

/** `task` is what Ansible does on the node now; nothing is shown of nodes that are not up, or without `configure`. */
export function configurationView(
  manifest: Manifest,
  node: ManifestNode,
  status: NodeStatus | undefined,
  task: string | undefined,
): ConfigurationView | undefined {
  const configure = configurationOf(manifest);
  if (configure === undefined || status === undefined || !isUp(status.stage)) return undefined;
  if (task !== undefined) return { state: "running", ...(task !== "" && { task }) };
  const { configureFailed: failed, boot } = status;
  if (failed !== undefined && failed.bootId === boot?.bootId) return { state: "failed", message: failed.message };
  if (isConfigured(manifest, node, status)) return { state: "done" };
  return { state: configure.auto ? "waiting" : "off" };
}
