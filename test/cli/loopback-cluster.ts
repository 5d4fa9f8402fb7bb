/** A manager that an ordinary user runs on loopback, at ports that were free, with a small image and a manifest. */
import { freePorts } from "../free-ports.ts";
import { type Outcome, type RunningCommand, Workplace } from "./command-line.ts";
import { makeSmallImage, SMALL_IMAGE_COMMANDS, type SmallImageContents } from "./small-image.ts";

/** What `start` needs. */
export const CLUSTER_TOOLS = [...SMALL_IMAGE_COMMANDS, "setpriv"];

const SERVICES = ["dhcp", "tftp", "nfs", "mount", "portmap", "netconsole"] as const;

const asNobody = { asNobody: true };

/** Lines that the manifest has beside the usual ones. */
export interface MoreLines {
  /** Under `network`. */
  network?: readonly string[];
  cluster?: readonly string[];
}

export class LoopbackCluster {
  readonly work = new Workplace();
  readonly #nodes: readonly string[];
  #ports: Record<string, number> = {};
  manager!: RunningCommand;

  /** Nodes as the manifest has them, each in one line. */
  constructor(nodes: readonly string[]) {
    this.#nodes = nodes;
  }

  port(service: (typeof SERVICES)[number]): number {
    return this.#ports[service]!;
  }

  /** Resolves when it serves. */
  async start(more: MoreLines = {}, image: SmallImageContents = {}): Promise<void> {
    const ports = await freePorts(SERVICES.length);
    this.#ports = Object.fromEntries(SERVICES.map((service, index) => [service, ports[index]!]));
    makeSmallImage(this.work.path("os.img"), image);
    this.writeManifest(more);
    await this.startManager();
  }

  writeManifest({ network = [], cluster = [] }: MoreLines = {}): void {
    this.work.write(
      "bramble.yaml",
      `cluster: attic
network:
  address: 127.0.0.1
  ports: ${JSON.stringify(this.#ports)}
${network.map((line) => `  ${line}\n`).join("")}image: os.img
stateDir: state
${cluster.map((line) => `${line}\n`).join("")}nodes:
${this.#nodes.map((node) => `  - ${node}\n`).join("")}`,
    );
  }

  async startManager(environment: NodeJS.ProcessEnv = {}): Promise<void> {
    this.manager = this.work.start(["up"], { ...asNobody, environment });
    await this.manager.waitFor(/serving/);
  }

  async restartManager(environment?: NodeJS.ProcessEnv): Promise<void> {
    await this.manager.stop();
    await this.startManager(environment);
  }

  /** Runs a command to its end. */
  ask(...words: string[]): Promise<Outcome> {
    return this.work.bramble(words, asNobody);
  }

  /** Starts one that goes on until it is stopped. */
  run(...words: string[]): RunningCommand {
    return this.work.start(words, asNobody);
  }

  /** A file of a node's root tree, as the clients of libnfs name it. */
  url(node: string, path = ""): string {
    return `nfs://127.0.0.1/bramble/${node}/root${path}?nfsport=${this.port("nfs")}&mountport=${this.port("mount")}`;
  }

  /** Stops what runs. */
  remove(): Promise<void> {
    return this.work.remove();
  }
}
