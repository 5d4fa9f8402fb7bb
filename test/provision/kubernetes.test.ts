/**
 * The scripts of k3s and kubeadm, run by a real `sh` on nodes that are namespaces, in the order that the plan finds, with stand-ins for
 * the programs of Kubernetes, which record how they were called. It takes minutes: `make e2e-kubernetes`.
 */
import { createHash } from "node:crypto";
import { copyFileSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { K3sManifest, KubeadmManifest, KubernetesManifest } from "../../src/cluster/manifest-kubernetes.ts";
import { kubeconfigFor } from "../../src/provision/kubernetes/kubeconfig.ts";
import { flavourOf, kubernetes } from "../../src/provision/kubernetes/kubernetes.ts";
import { kubernetesRole } from "../../src/provision/kubernetes/role-variables.ts";
import type { ClusterStep, DesiredCluster, DesiredMember } from "../../src/provision/orchestrator.ts";
import { StepError } from "../../src/provision/problems.ts";
import { Rounds, type StepListener } from "../../src/provision/rounds.ts";
import { shellWord } from "../../src/provision/shell-word.ts";
import { leftToSoak, requireRoot, requireTools } from "../lab/required-tools.ts";
import { LocalNodes } from "./local-nodes.ts";

const VERSION = "v1.31.4+k3s1";
const NEWER = "v1.32.1+k3s1";
const TIMEOUT_MS = 400_000;
const COLLECTIONS = resolve(import.meta.dirname, "../../ansible");

const sum = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

const K3S_UNIT = (role: string) =>
  `[Service]\nEnvironmentFile=-/run/bramble/k3s.env\nExecStart=/usr/local/bin/k3s ${role}\n[Install]\nWantedBy=multi-user.target\n`;

describe.skipIf(leftToSoak || requireRoot() || requireTools(["unshare", "nsenter", "openssl"]))(
  "Kubernetes on nodes that are namespaces",
  () => {
    let nodes: LocalNodes;
    let wishes: Record<string, DesiredMember["wish"]> = {};
    let managers: readonly string[] = ["a"];
    let manifest: KubernetesManifest;
    let joinedOnce: Set<string>;

    afterEach(() => {
      nodes.stop();
      wishes = {};
      managers = ["a"];
    });

    /** What role k3s leaves on a node. */
    async function prepareK3s(name: string, version: string, binary: string): Promise<void> {
      const node = nodes.nodes.get(name)!;
      await node.look(`
mkdir -p /usr/local/lib/bramble/k3s/${version} /etc/systemd/system /usr/local/bin /var/lib/rancher
cp ${binary} /usr/local/lib/bramble/k3s/${version}/k3s
cp ${nodes.standIns}/systemctl /usr/local/bin/systemctl
ln -sf systemctl /usr/local/bin/journalctl
printf '${K3S_UNIT("server").replaceAll("\n", "\\n")}' > /etc/systemd/system/k3s.service
printf '${K3S_UNIT("agent").replaceAll("\n", "\\n")}' > /etc/systemd/system/k3s-agent.service
`);
    }

    async function beginK3s(names: readonly string[]): Promise<string> {
      nodes = new LocalNodes(names);
      joinedOnce = new Set();
      await Promise.all([...nodes.nodes.values()].map((node) => node.boot()));
      const binary = nodes.variant("first", VERSION);
      await Promise.all(names.map((name) => prepareK3s(name, VERSION, binary)));
      const models = { "3b": { labels: { disk: "nfs" }, taints: ["small=yes:NoSchedule"] } };
      const settings: K3sManifest = {
        kind: "k3s",
        version: VERSION,
        binary: { source: binary, sha256: sum(binary) },
        flannel: "host-gw",
        disable: ["traefik"],
        models,
      };
      manifest = settings;
      return binary;
    }

    const desired = (): DesiredCluster => ({
      name: "attic",
      members: Array.from(nodes.nodes, ([name, node]) => ({
        name,
        role: managers.includes(name) ? ("manager" as const) : ("worker" as const),
        wish: wishes[name] ?? "in",
        facts: { model: name === "b" ? "3b" : "4" },
        address: node.address,
        isReady: node.isOn,
        wasTried: false,
        hasJoined: joinedOnce.has(name),
      })),
    });

    /** As the manager does: rounds, until nothing is left to do. */
    async function converge(most = 40): Promise<string[]> {
      const done: string[] = [];
      const rounds = new Rounds(kubernetes(flavourOf("attic", manifest, managers.length)), nodes, {
        monotonicMs: () => 0,
      });
      const listener: StepListener = {
        planned: ({ joined }) => {
          for (const name of joined) joinedOnce.add(name);
        },
        begun: () => {},
        failed: () => {},
        done: (step: ClusterStep) => done.push(`${step.kind} ${step.node}`),
      };
      for (let round = 0; round < most; round++) {
        const result = await rounds.run(desired(), listener);
        if (result.problems.length > 0) throw new StepError(result.problems[0]!);
        if (result.done === 0 && result.waiting.length === 0) return done;
        if (result.done === 0) await new Promise((settle) => setTimeout(settle, 500));
      }
      throw new Error(`It does not end: ${done.join(", ")}`);
    }

    const problemOf = async (work: Promise<unknown>) =>
      work.then(
        () => undefined,
        (error: unknown) => (error instanceof StepError ? error.problem : Promise.reject(error)),
      );

    const recorded = async (name: string) =>
      (await nodes.nodes.get(name)!.look("cat /var/log/stand-in.ndjson"))
        .split("\n")
        .map((line) => JSON.parse(line) as { program: string; argv: string[]; token?: boolean; url?: string });

    it("k3s: from nothing to three nodes, and no token rests anywhere or is shown", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b", "c"]);
      const done = await converge();
      expect(done[0]).toBe("init a");
      expect([...done].sort()).toEqual(
        [
          "check a",
          "check b",
          "check c",
          "init a",
          "join-agent b",
          "join-agent c",
          ...done.filter((each) => each === "mark a"),
        ].sort(),
      );

      const [a, b] = [nodes.nodes.get("a")!, nodes.nodes.get("b")!];
      expect(await a.look("cat /etc/rancher/k3s/config.yaml; stat -c %a /etc/rancher/k3s/config.yaml")).toBe(
        '# Written by Bramble.\nnode-name: "a"\nnode-ip: "ADDRESS"\nwrite-kubeconfig-mode: "0600"\nflannel-backend: "host-gw"\ndisable: ["traefik"]\n600'.replace(
          "ADDRESS",
          nodes.nodes.get("a")!.address,
        ),
      );
      expect(await b.look("cat /etc/rancher/k3s/config.yaml.d/*; ls /run/bramble")).toBe(
        '# Written by Bramble.\nserver: "https://ADDRESS:6443"'.replace("ADDRESS", nodes.nodes.get("a")!.address),
      );
      const list = JSON.parse(await a.look("k3s kubectl get --raw /api/v1/nodes")) as {
        items: { metadata: { name: string; labels: Record<string, string> }; spec: object }[];
      };
      const byName = new Map(list.items.map((item) => [item.metadata.name, item]));
      expect(byName.get("b")).toMatchObject({
        metadata: { labels: { "bramble/cluster": "attic", "bramble/model": "3b", disk: "nfs" } },
        spec: { taints: [{ key: "small", value: "yes", effect: "NoSchedule" }] },
      });
      expect(byName.get("c")!.spec).toEqual({ taints: [] });

      // The agent had the token when it joined, in its environment; it is on no command line, and in no file afterwards.
      expect((await recorded("b"))[0]).toMatchObject({ argv: ["agent"], token: true, url: "" });
      expect(
        (await recorded("a"))
          .map(({ argv }) => argv.join(" "))
          .filter((line) => line.includes("token"))
          .sort(),
      ).toEqual(["token create --ttl 15m --description Bramble: b", "token create --ttl 15m --description Bramble: c"]);
      const tokens = new Set(nodes.sent.flatMap(({ script }) => /K3S_TOKEN=(\S+)/.exec(script)?.[1] ?? []));
      expect(tokens.size).toBe(2);
      for (const token of tokens) {
        expect(
          await b.look(
            `grep -rl ${token.split("::")[1]} /etc/rancher /var/lib/rancher /var/log /run 2> /dev/null; true`,
          ),
        ).toBe("");
      }
    });

    it("k3s: a worker that restarts comes back without a token, and one that lost all joins anew under its name", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b", "c"]);
      await converge();
      const [b, c] = [nodes.nodes.get("b")!, nodes.nodes.get("c")!];
      b.cutPower();
      await c.forgetAll();
      await Promise.all([b.boot(), c.boot()]);
      const binary = join(nodes.standIns, "first");
      await prepareK3s("c", VERSION, binary);
      const done = await converge();
      expect(done).toEqual(expect.arrayContaining(["start b", "delete a", "join-agent c", "check b", "check c"]));
      expect(done.filter((step) => step.startsWith("join"))).toEqual(["join-agent c"]);
      expect((await recorded("b")).at(-1)).toMatchObject({ argv: ["agent"], token: false });
    });

    it("k3s: three servers join one at a time with the cluster's own token, which k3s alone keeps", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b", "c", "d"]);
      managers = ["a", "b", "c"];
      const done = await converge();
      expect(done.filter((step) => /init|join/.test(step))).toEqual([
        "init a",
        "join-server b",
        "join-server c",
        "join-agent d",
      ]);
      expect((await recorded("b")).find(({ argv }) => argv[0] === "server")).toMatchObject({
        token: true,
        url: `https://${nodes.nodes.get("a")!.address}:6443`,
      });
      const b = nodes.nodes.get("b")!;
      expect(await b.look("ls /run/bramble /etc/rancher/k3s; stat -c '%a' /var/lib/rancher/k3s/server/token")).toBe(
        "/etc/rancher/k3s:\nconfig.yaml\nk3s.yaml\n\n/run/bramble:\n600",
      );
      // Its database is there, so it needs no other to start.
      b.cutPower();
      await b.boot();
      expect(await converge()).toContain("start b");
      expect((await recorded("b")).filter(({ argv }) => argv[0] === "server").at(-1)).toMatchObject({
        token: false,
        url: "",
      });
    });

    it("k3s: another version goes from node to node, each drained and filled again", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b"]);
      await converge();
      const newer = nodes.variant("second", NEWER);
      manifest = { ...(manifest as K3sManifest), version: NEWER, binary: { source: newer, sha256: sum(newer) } };
      expect(await problemOf(converge())).toMatchObject({
        cause: "missing",
        node: "a",
        message: expect.stringContaining("bramble configure a"),
      });
      await prepareK3s("a", NEWER, newer);
      await prepareK3s("b", NEWER, newer);
      const done = await converge();
      const order = done.filter((step) => !/check|mark/.test(step));
      expect(order).toEqual(["drain a", "upgrade a", "uncordon a", "drain b", "upgrade b", "uncordon b"]);
      expect(await nodes.nodes.get("b")!.look("readlink /usr/local/bin/k3s")).toBe(
        `/usr/local/lib/bramble/k3s/${NEWER}/k3s`,
      );
    });

    it("k3s: a node that is taken out is drained, forgotten and emptied; its air-gap images stay", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b"]);
      await converge();
      const b = nodes.nodes.get("b")!;
      await b.look("mkdir -p /var/lib/rancher/k3s/agent/images && touch /var/lib/rancher/k3s/agent/images/all.tar");
      wishes = { b: "out" };
      expect(await converge()).toEqual(["drain b", "delete a", "reset b"]);
      expect(await b.look("find /etc/rancher /var/lib/rancher -type f; systemctl is-active k3s-agent")).toBe(
        "/var/lib/rancher/k3s/agent/images/all.tar\ninactive",
      );
      wishes = {};
      expect((await converge())[0]).toBe("join-agent b");
    });

    it("k3s: what goes wrong has its name, and what to do", { timeout: TIMEOUT_MS }, async () => {
      await beginK3s(["a", "b"]);
      const right = manifest as K3sManifest;
      manifest = { ...right, binary: { ...right.binary, sha256: "00".repeat(32) } };
      expect(await problemOf(converge())).toMatchObject({ cause: "checksum", node: "a" });
      manifest = right;
      const a = nodes.nodes.get("a")!;
      const b = nodes.nodes.get("b")!;

      // The bytes of a program for another machine: the header alone says so.
      await b.look(
        `head -c 18 /bin/true > /tmp/wrong-$$ && printf '\\050\\000' >> /tmp/wrong-$$ && mv /tmp/wrong-$$ /usr/local/lib/bramble/k3s/${VERSION}/k3s && chmod +x /usr/local/lib/bramble/k3s/${VERSION}/k3s`,
      );
      expect(await problemOf(converge())).toMatchObject({
        cause: "architecture",
        node: "b",
        message: expect.stringMatching(
          /^Cannot run k3s on b: the program is for another architecture \(ELF machine 2800 on x86_64\)/,
        ),
      });
      await prepareK3s("b", VERSION, right.binary.source);

      await a.look("printf 0 > /run/stand-in-token-ttl");
      const expired = await problemOf(converge());
      expect(expired).toMatchObject({ cause: "token-expired", node: "b" });
      expect(expired!.message).not.toMatch(/K10|::/);
      await a.look("rm /run/stand-in-token-ttl");
      await converge();

      await a.look("printf yes > /run/stand-in-drain-fails");
      wishes = { b: "drained" };
      expect(await problemOf(converge())).toMatchObject({
        cause: "drain",
        message: expect.stringContaining("disruption budget"),
      });
      expect(await a.look("k3s kubectl get node b -o jsonpath=x")).toBe("");
      await a.look("rm /run/stand-in-drain-fails");
      expect(await converge()).toEqual(["drain b"]);

      a.cutPower();
      expect(await problemOf(converge())).toMatchObject({ cause: "control-plane-off", node: "a" });
    });

    it("k3s: a manager that is killed in the middle of a join goes on by looking, while the old script still runs", {
      timeout: TIMEOUT_MS,
    }, async () => {
      await beginK3s(["a", "b"]);
      const orchestrator = kubernetes(flavourOf("attic", manifest, 1));
      const [init] = orchestrator.plan(desired(), await orchestrator.observe(desired(), nodes)).steps;
      await orchestrator.run(init!, desired(), nodes);
      const steps = orchestrator.plan(desired(), await orchestrator.observe(desired(), nodes)).steps;
      // Nobody waits for its answer any more.
      const old = orchestrator.run(steps.find(({ kind }) => kind === "join-agent")!, desired(), nodes);
      await new Promise((settle) => setTimeout(settle, 1500));
      const done = await converge();
      expect(done).toEqual(expect.arrayContaining(["check a", "check b"]));
      await old.catch(() => {});
      expect(await nodes.nodes.get("b")!.look("ls /run/bramble; systemctl is-active k3s-agent")).toBe("active");
      expect(await converge()).toEqual([]);
    });

    it("k3s: a kubeconfig has the node's address and the cluster's name", { timeout: TIMEOUT_MS }, async () => {
      await beginK3s(["a"]);
      await converge();
      const text = await nodes.nodes.get("a")!.look(flavourOf("attic", manifest, 1).kubeconfig());
      expect(kubeconfigFor(text, "attic", "192.168.1.11")).toBe(
        "apiVersion: v1\nkind: Config\nclusters:\n  - name: attic\n    cluster:\n      certificate-authority-data: c3RhbmQtaW4=\n      server: https://192.168.1.11:6443\nusers:\n  - name: attic-admin\n    user:\n      client-key-data: c2VjcmV0\ncontexts:\n  - name: attic\n    context:\n      cluster: attic\n      user: attic-admin\ncurrent-context: attic\n",
      );
    });

    it.skipIf(requireTools(["ansible-playbook"]))(
      "k3s: the role leaves what the scripts need, and the second time changes nothing",
      {
        timeout: TIMEOUT_MS,
      },
      async () => {
        await beginK3s(["a"]);
        const a = nodes.nodes.get("a")!;
        await a.look("rm -rf /usr/local/lib/bramble /etc/systemd/system/k3s*");
        const images = nodes.variant("images.tar", "images");
        const settings = { ...(manifest as K3sManifest), airgapImages: { source: images, sha256: sum(images) } };
        const { variables } = kubernetesRole({ orchestrator: settings }, (path) => path)!;
        const play = (more: object = {}) => {
          const extra = { ...variables, k3s_packages: [], base_hostname: hostname(), bramble_hosts: "a", ...more };
          return a.look(
            `export ANSIBLE_COLLECTIONS_PATH=${COLLECTIONS} ANSIBLE_HOME=/run/ansible
ansible-playbook -i a, -c local -e ansible_python_interpreter=/usr/bin/python3 -e ${shellWord(JSON.stringify(extra))} bramble.cluster.k3s 2>&1`,
            TIMEOUT_MS,
          );
        };
        expect(await play({ k3s_binary_sha256: "00".repeat(32) })).toMatch(
          /Cannot place \S+first: it is not there \(a path is absolute\), or its checksum is not 0{64}/,
        );
        // Program, images, modules, units; the folders came with the first try.
        expect(await play()).toMatch(/^a +: ok=\d+ +changed=4 +unreachable=0 +failed=0 /m);
        expect(await play()).toMatch(/^a +: ok=\d+ +changed=0 +unreachable=0 +failed=0 /m);
        expect(await converge()).toEqual(["init a", "mark a", "check a"]);
      },
    );

    describe("kubeadm", () => {
      async function prepareKubeadm(name: string, version: string, paths: Record<string, string>): Promise<void> {
        const folder = `/usr/local/lib/bramble/kubernetes`;
        await nodes.nodes.get(name)!.look(`
mkdir -p ${folder}/${version} /etc/systemd/system /usr/local/bin /var/lib/containerd /var/lib/kubelet
for program in kubeadm kubelet kubectl; do cp ${nodes.standIns}/$program-${version} ${folder}/${version}/$program; done
cp ${paths.cni} ${folder}/cni.yaml
cp ${nodes.standIns}/systemctl /usr/local/bin/systemctl
ln -sf systemctl /usr/local/bin/journalctl
printf '[Service]\\nExecStart=/usr/local/bin/kubelet --config=/var/lib/kubelet/config.yaml\\n[Install]\\nWantedBy=multi-user.target\\n' > /etc/systemd/system/kubelet.service
`);
      }

      function programs(version: string): KubeadmManifest["binaries"] {
        const pinned = (program: string) => {
          const source = nodes.variant(`${program}-${version}`, `${program} ${version}`);
          return { source, sha256: sum(source) };
        };
        return { kubeadm: pinned("kubeadm"), kubelet: pinned("kubelet"), kubectl: pinned("kubectl") };
      }

      async function begin(names: readonly string[]): Promise<Record<string, string>> {
        nodes = new LocalNodes(names);
        joinedOnce = new Set();
        await Promise.all([...nodes.nodes.values()].map((node) => node.boot()));
        const cni = join(nodes.standIns, "net.yaml");
        copyFileSync("/dev/null", cni);
        manifest = {
          kind: "kubeadm",
          version: "v1.31.4",
          binaries: programs("v1.31.4"),
          cni: { source: cni, sha256: sum(cni) },
          cniPlugins: { source: cni, sha256: sum(cni) },
          pauseImage: "registry.k8s.io/pause:3.10",
          podCidr: "10.244.0.0/16",
          models: {},
        };
        await Promise.all(names.map((name) => prepareKubeadm(name, "v1.31.4", { cni })));
        return { cni };
      }

      it("makes a control plane of three and takes a worker, by files that are gone afterwards", {
        timeout: TIMEOUT_MS,
      }, async () => {
        await begin(["a", "b", "c", "d"]);
        managers = ["a", "b", "c"];
        const done = await converge();
        expect(done.filter((step) => /init|join/.test(step))).toEqual([
          "init a",
          "join-server b",
          "join-server c",
          "join-agent d",
        ]);
        expect(
          (await recorded("a")).filter(({ program }) => program === "kubeadm").map(({ argv }) => argv.join(" ")),
        ).toEqual([
          "init --config /run/bramble/kubeadm.yaml --skip-token-print",
          ...["b", "c"].flatMap((name) => [
            `token create --ttl 15m0s --description Bramble: ${name}`,
            "certs certificate-key",
            "init phase upload-certs --upload-certs --skip-certificate-key-print --config /run/bramble/kubeadm.yaml",
          ]),
          "token create --ttl 15m0s --description Bramble: d",
        ]);
        expect(await nodes.nodes.get("b")!.look("ls /run/bramble")).toBe("");
        const sent = nodes.sent.find(
          ({ node, script }) => node === "d" && script.includes("JoinConfiguration"),
        )!.script;
        const [, hash] = /sha256:([0-9a-f]{64})"/.exec(sent)!;
        const own =
          "openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl rsa -pubin -outform der 2> /dev/null | sha256sum";
        expect((await nodes.nodes.get("a")!.look(own)).split(" ")[0]).toBe(hash);
      });

      it("upgrades, and takes a node out", { timeout: TIMEOUT_MS }, async () => {
        const { cni } = await begin(["a", "b"]);
        await converge();
        const version = "v1.32.0";
        manifest = { ...(manifest as KubeadmManifest), version, binaries: programs(version) };
        await prepareKubeadm("a", version, { cni: cni! });
        await prepareKubeadm("b", version, { cni: cni! });
        const done = (await converge()).filter((step) => !/check|mark/.test(step));
        expect(done).toEqual(["drain a", "upgrade a", "uncordon a", "drain b", "upgrade b", "uncordon b"]);
        const upgrades = async (name: string) =>
          (await recorded(name)).map(({ argv }) => argv.join(" ")).filter((line) => line.startsWith("upgrade"));
        expect([await upgrades("a"), await upgrades("b")]).toEqual([["upgrade apply v1.32.0 --yes"], ["upgrade node"]]);
        wishes = { b: "out" };
        expect(await converge()).toEqual(["drain b", "delete a", "reset b"]);
      });

      it("names a token that has expired", { timeout: TIMEOUT_MS }, async () => {
        await begin(["a", "b"]);
        await nodes.nodes.get("a")!.look("printf 0 > /run/stand-in-token-ttl");
        expect(await problemOf(converge())).toMatchObject({ cause: "token-expired", node: "b" });
      });
    });
  },
);
