/** Kubernetes as an `Orchestrator`: k3s and kubeadm, which differ in their scripts only. */
import type { KubernetesManifest } from "../../cluster/manifest-kubernetes.ts";
import type { RemoteShell } from "../../ports.ts";
import type { DesiredCluster, DesiredMember, Orchestrator } from "../orchestrator.ts";
import { StepError } from "../problems.ts";
import { expectKubernetes } from "./expect.ts";
import type { Flavour, JoinSecrets } from "./flavour.ts";
import { k3sFlavour } from "./k3s-scripts.ts";
import { kubeadmFlavour } from "./kubeadm-scripts.ts";
import {
  checkScript,
  deleteScript,
  drainScript,
  markScript,
  uncordonScript,
  waitReadyScript,
} from "./kubectl-scripts.ts";
import { observeKubernetes } from "./observe.ts";
import type { ObservedKubernetes } from "./observed.ts";
import { planKubernetes } from "./plan.ts";
import { type KubernetesCause, kubernetesProblem } from "./problems.ts";
import { runScript, saidValues } from "./script.ts";
import type { KubernetesStep } from "./steps.ts";

/** Images are pulled over a home's line by then, and a control plane starts on a Pi 3. */
const LONG_MS = 900_000;
const SHORT_MS = 120_000;
const READY_LIMIT_S = 300;

export type KubernetesOrchestrator = Orchestrator<ObservedKubernetes, KubernetesStep>;

/** `managerCount`: of the manifest, or of its default. */
export function flavourOf(cluster: string, manifest: KubernetesManifest, managerCount: number): Flavour {
  return manifest.kind === "k3s"
    ? k3sFlavour(cluster, manifest, managerCount)
    : kubeadmFlavour(cluster, manifest, managerCount);
}

export function kubernetes(flavour: Flavour): KubernetesOrchestrator {
  const { settings } = flavour;
  return {
    observe: (desired, shell) => observeKubernetes(flavour, desired, shell),
    plan: (desired, observed) => planKubernetes(settings, desired, observed),
    expect: (observed, step) => expectKubernetes(settings, observed, step),
    run: (step, desired, shell) => runStep(flavour, step, desired, shell),
  };
}

async function runStep(
  flavour: Flavour,
  step: KubernetesStep,
  desired: DesiredCluster,
  shell: RemoteShell,
): Promise<void> {
  const { access, settings } = flavour;
  const node = step.node;
  const on = (
    where: string,
    text: string,
    otherwise: KubernetesCause,
    timeoutMs = LONG_MS,
    secrets?: readonly string[],
  ) =>
    runScript(shell, text, {
      on: where,
      about: node,
      task: `Cannot ${step.title}`,
      what: settings.what,
      otherwise,
      timeoutMs,
      ...(secrets && { secrets }),
    });
  const becomesReady = (through: string) => on(through, waitReadyScript(access, node, READY_LIMIT_S), "not-ready");
  switch (step.kind) {
    case "init":
      await on(node, flavour.init(memberOf(desired, node), desired), "not-started");
      await becomesReady(node);
      return;
    case "join-server":
    case "join-agent": {
      const secrets = secretsOf(await on(step.through, flavour.joinSecrets(node, step.kind), "api", SHORT_MS));
      const address = addressOf(desired, step.through);
      const text = flavour.join(memberOf(desired, node), step.kind, address, secrets);
      await on(node, text, "refused", LONG_MS, secrets.values);
      await becomesReady(step.through);
      return;
    }
    case "start": {
      const address = step.through === undefined ? undefined : addressOf(desired, step.through);
      await on(node, flavour.start(memberOf(desired, node), step.version, address), "not-started");
      if (step.through !== undefined) await becomesReady(step.through);
      return;
    }
    case "upgrade": {
      const address = addressOf(desired, step.through);
      await on(node, flavour.upgrade(memberOf(desired, node), step.version, step.isFirst, address), "not-started");
      await becomesReady(step.through);
      return;
    }
    case "reset":
      await on(node, flavour.reset(), "reset");
      return;
    case "delete":
      await on(node, deleteScript(access, step.targets), "api");
      return;
    case "drain":
      await on(step.through, drainScript(access, node, step.reason), "drain");
      return;
    case "uncordon":
      await on(step.through, uncordonScript(access, node), "api", SHORT_MS);
      return;
    case "mark":
      await on(node, markScript(access, step.marks), "api", SHORT_MS);
      return;
    case "check":
      await on(step.through, checkScript(access, node, step.bootId), "check");
      return;
  }
}

function memberOf(desired: DesiredCluster, name: string): DesiredMember {
  return desired.members.find((member) => member.name === name)!;
}

function addressOf(desired: DesiredCluster, name: string): string {
  const { address } = memberOf(desired, name);
  if (address === undefined)
    throw new StepError(kubernetesProblem("api", name, "Kubernetes", "its address is not known"));
  return address;
}

function secretsOf(text: string): JoinSecrets {
  const byName = new Map(Array.from(saidValues(text), ([name, values]) => [name, values.at(-1)!]));
  return { byName, values: [...byName.values()].filter((value) => value !== "") };
}
