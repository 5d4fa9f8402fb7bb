/**
 * A Swarm that may lose a manager: four virtual Pis with the real Docker of Debian, three of them managers, and a worker that forgets
 * at each boot. In `make e2e-swarm`. The tests go on from each other.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClusterView } from "../../src/manager/cluster-control.ts";
import { dockerImage, missingImages } from "../lab/images.ts";
import { leftToEndToEnd, requireRoot, requireTools } from "../lab/required-tools.ts";
import { Simulation } from "../lab/simulation.ts";
import { storyOf } from "./story.ts";
import { memberLine, type SwarmMember, swarmMembers } from "./swarm-members.ts";

const MINUTE_MS = 60_000;
/** Of four that boot at once on two processors. */
const JOINED_WITHIN_MS = 30 * MINUTE_MS;
const NODES = ["node1", "node2", "node3", "node4"];

const manifest = (image: string) => `cluster: attic
network: { interface: eth0, dhcp: server, subnet: 10.77.0.0/24, range: { from: 10.77.0.100, to: 10.77.0.120 } }
image: ${JSON.stringify(image)}
storage: { kind: loop, size: 2GiB }
orchestrator: { kind: swarm }
nodes:
  - { name: node1, mac: "dc:a6:32:00:00:01", serial: "10000001", model: 4, address: 10.77.0.11 }
  - { name: node2, mac: "dc:a6:32:00:00:02", serial: "10000002", model: 4, address: 10.77.0.12 }
  - { name: node3, mac: "dc:a6:32:00:00:03", serial: "10000003", model: 4, address: 10.77.0.13 }
  - { name: node4, mac: "dc:a6:32:00:00:04", serial: "10000004", model: 4, address: 10.77.0.14, root: ephemeral }
`;

const skipped = leftToEndToEnd || requireTools(["losetup", "dpkg-deb", "qemu-system-aarch64"]) || requireRoot();

describe.skipIf(skipped || missingImages())("a Swarm of three managers and a worker that forgets", () => {
  let cluster: Simulation;

  beforeAll(() => {
    cluster = new Simulation({ manifest: manifest(dockerImage()) });
  }, 10 * MINUTE_MS);

  afterAll(async () => {
    if (cluster === undefined) return;
    console.log(storyOf(cluster.events).join("\n"));
    await cluster.stop();
  }, MINUTE_MS);

  const waitJoined = (node: string) =>
    cluster.wait(`${node} is joined`, (event) => event.kind === "joined" && event.node === node, JOINED_WITHIN_MS);
  const view = () => JSON.parse(cluster.bramble("--json", "cluster", "status")) as ClusterView;
  const untilSettled = () =>
    expect
      .poll(
        () => {
          const { isSettled, problems, waiting } = view();
          return { isSettled, problems, waiting };
        },
        { timeout: 10 * MINUTE_MS, interval: 5000 },
      )
      .toEqual({ isSettled: true, problems: [], waiting: [] });
  const saidQuorumLost = () =>
    cluster.events.some(
      (event) => event.kind === "cluster-problems" && event.problems.some(({ cause }) => cause === "quorum-lost"),
    );
  const identities = (members: SwarmMember[]) =>
    members.map(({ Hostname, ID, Status, Availability }) => `${Hostname} ${ID} ${Status} ${Availability}`);
  const isLeader = ({ ManagerStatus }: SwarmMember) => ManagerStatus === "Leader";
  const idOf = (members: SwarmMember[], node: string) => members.find(({ Hostname }) => Hostname === node)?.ID;

  it(
    "comes from a manifest that names no manager",
    async () => {
      await Promise.all(NODES.map(waitJoined));
      const members = swarmMembers(cluster, "node3");
      // Who leads is Docker's to choose, again and again where processors are slow.
      expect(members.filter(isLeader)).toHaveLength(1);
      expect(members.map((member) => memberLine(member).replace("Leader", "Reachable"))).toEqual([
        "node1 Ready Reachable",
        "node2 Ready Reachable",
        "node3 Ready Reachable",
        "node4 Ready",
      ]);
    },
    JOINED_WITHIN_MS + MINUTE_MS,
  );

  it(
    "goes on under another leader while its leader is gone, and takes it back as the same member",
    async () => {
      const leaderAsSeenBy = (node: string) => swarmMembers(cluster, node).find(isLeader)?.Hostname;
      const leader = leaderAsSeenBy("node1")!;
      const [other] = ["node1", "node2", "node3"].filter((node) => node !== leader);
      const before = identities(swarmMembers(cluster, other!));
      const back = waitJoined(leader);
      cluster.powerCycle(leader);
      await expect
        .poll(() => leaderAsSeenBy(other!), { timeout: 3 * MINUTE_MS, interval: 5000 })
        .toSatisfy((next) => next !== undefined && next !== leader);
      await back;
      await untilSettled();
      expect(identities(swarmMembers(cluster, leader))).toEqual(before);
      expect(saidQuorumLost()).toBe(false);
    },
    JOINED_WITHIN_MS + 15 * MINUTE_MS,
  );

  it(
    "has the worker that forgets join again by itself, and forgets what it was",
    async () => {
      const before = swarmMembers(cluster, "node1");
      const back = waitJoined("node4");
      cluster.powerCycle("node4");
      await back;
      await untilSettled();
      const after = swarmMembers(cluster, "node1");
      expect(after.map(({ Hostname, Status }) => `${Hostname} ${Status}`)).toEqual(
        NODES.map((name) => `${name} Ready`),
      );
      expect(idOf(after, "node4")).not.toBe(idOf(before, "node4"));
      for (const node of ["node1", "node2", "node3"]) expect(idOf(after, node)).toBe(idOf(before, node));
    },
    JOINED_WITHIN_MS + 15 * MINUTE_MS,
  );

  it(
    "has a manager that lost its files join as a manager again",
    async () => {
      const before = swarmMembers(cluster, "node1");
      const back = waitJoined("node3");
      cluster.bramble("nodes", "reset", "node3");
      cluster.powerCycle("node3");
      await back;
      await untilSettled();
      const after = swarmMembers(cluster, "node1");
      expect(after.map(({ Hostname, Status }) => `${Hostname} ${Status}`)).toEqual(
        NODES.map((name) => `${name} Ready`),
      );
      expect(after.filter((member) => isLeader(member) || member.ManagerStatus === "Reachable")).toHaveLength(3);
      expect(idOf(after, "node3")).not.toBe(idOf(before, "node3"));
      expect(saidQuorumLost()).toBe(false);
    },
    JOINED_WITHIN_MS + 15 * MINUTE_MS,
  );

  it(
    "is left alone while most managers are gone, which is said, and is well when they are back",
    async () => {
      const before = identities(swarmMembers(cluster, "node1"));
      const stepsDone = () => cluster.events.filter(({ kind }) => kind === "step-begun").length;
      const done = stepsDone();
      const resume = [cluster.suspend("node2"), cluster.suspend("node3")];
      await expect
        .poll(() => view().problems.map(({ cause }) => cause), { timeout: 10 * MINUTE_MS, interval: 5000 })
        .toContain("quorum-lost");
      expect(stepsDone()).toBe(done);
      for (const back of resume) back();
      await untilSettled();
      expect(identities(swarmMembers(cluster, "node1"))).toEqual(before);
    },
    25 * MINUTE_MS,
  );
});
