import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatProblem, type ManifestSurroundings, manifestJsonSchema, parseManifest } from "./manifest.ts";

const FILES = new Set(["pi.img.xz", "key.pub", "motd"]);
const SURROUNDINGS: ManifestSurroundings = { fileExists: (path) => FILES.has(path), imageNames: ["trixie"] };

const NO_SYSTEM_SETTINGS = { sysctl: {}, modules: [], packages: [], units: { enable: [], mask: [] } };

/** A manifest that is fine, with lines of its own put before the nodes and nodes put at the end. */
function manifest(lines = "", nodes = '  - { name: node1, mac: "dc:a6:32:70:da:b0" }') {
  return `cluster: attic\nimage: pi.img.xz\n${lines}\nnodes:\n${nodes}\n`;
}

function problemsOf(text: string, surroundings = SURROUNDINGS): string[] {
  const result = parseManifest(text, surroundings);
  return result.ok ? [] : result.problems.map((problem) => formatProblem("bramble.yaml", problem));
}

describe("a manifest", () => {
  it("fills in its defaults and brings values into one form", () => {
    const result = parseManifest(
      manifest(
        "access: { authorizedKeys: [key.pub, 'ssh-ed25519 AAAAC3Nza me@home'] }\nfiles: [{ path: /etc/motd, source: motd, mode: 0600 }]\nconfig: |\n  dtparam=i2c_arm=on\n\n  [pi4]\n  arm_boost=1\ncmdline: [loglevel=7]",
        `  - { name: node1, mac: DC-A6-32-70-DA-B0, model: 4 }
  - { name: node2, serial: 10000000, root: ephemeral, files: [{ path: /a, content: b, mode: 0o755, owner: 1000 }] }
  - { name: node3, serial: "10000000b66c4c16", address: 192.168.1.13, image: { source: trixie, sha256: ${"AB".repeat(32)} } }`,
      ),
      SURROUNDINGS,
    );
    expect(result).toMatchObject({ ok: true });
    expect(result.ok && result.manifest).toEqual({
      cluster: "attic",
      image: { source: "pi.img.xz" },
      root: "persistent",
      durability: "sync",
      network: {
        dhcp: "proxy",
        dns: [],
        ports: { dhcp: 67, tftp: 69, nfs: 2049, mount: 20048, portmap: 111, netconsole: 6666 },
      },
      access: { user: "pi", authorizedKeys: ["key.pub", "ssh-ed25519 AAAAC3Nza me@home"], sudo: "nopasswd" },
      files: [{ path: "/etc/motd", source: "motd", mode: 0o600, owner: "root", group: "root" }],
      config: ["dtparam=i2c_arm=on", "[pi4]", "arm_boost=1"],
      cmdline: ["loglevel=7"],
      ...NO_SYSTEM_SETTINGS,
      nodes: [
        {
          name: "node1",
          mac: "dc:a6:32:70:da:b0",
          model: "4",
          files: [],
          config: [],
          cmdline: [],
          ...NO_SYSTEM_SETTINGS,
        },
        {
          name: "node2",
          serial: "10000000",
          root: "ephemeral",
          files: [{ path: "/a", content: "b", mode: 0o755, owner: "1000", group: "root" }],
          config: [],
          cmdline: [],
          ...NO_SYSTEM_SETTINGS,
        },
        {
          name: "node3",
          serial: "b66c4c16",
          address: "192.168.1.13",
          image: { source: "trixie", sha256: "ab".repeat(32) },
          files: [],
          config: [],
          cmdline: [],
          ...NO_SYSTEM_SETTINGS,
        },
      ],
    });
  });

  it("takes a manager that is still to be adopted", () => {
    expect(problemsOf(manifest("adopt: auto\norchestrator: { kind: swarm, managers: [node7] }"))).toEqual([]);
  });

  it.each([
    ["an unknown key", manifest("netwrok: {}"), '3:1: netwrok: Unknown key "netwrok". Did you mean "network"?'],
    [
      "an unknown key of a node",
      manifest("", "  - { name: a, mac: dc:a6:32:70:da:b0, adress: 10.0.0.1 }"),
      '5:40: nodes[0].adress: Unknown key "adress". Did you mean "address"?',
    ],
    [
      "a manager that is no node",
      manifest("orchestrator: { kind: swarm, managers: [node1, node2] }"),
      "3:48: orchestrator.managers[1]: There is no node node2. Name a node of the list nodes, or add it there",
    ],
    [
      "an unknown key without a likeness",
      manifest("network: { vlan: 7 }"),
      '3:12: network.vlan: Unknown key "vlan". Known here: interface, dhcp, subnet, address, range, exclude, reservations, router, mtu, options, dns, domain, search, ntp, leaseTime, others, ports',
    ],
    [
      "an unknown key inside an image",
      manifest("", "  - { name: a, mac: dc:a6:32:70:da:b0, image: { source: pi.img.xz, sha: x } }"),
      '5:68: nodes[0].image.sha: Unknown key "sha". Known here: source, sha256',
    ],
    ["a missing name", "image: pi.img.xz\n", '1:1: cluster: The key "cluster" is missing'],
    ["a wrong type", manifest("locale: [a]"), "3:9: locale: Expected text"],
    ["a wrong type of a map", manifest("network: eth0"), "3:10: network: Expected a map of keys and values"],
    ["a size in other units", manifest("quota: 10GB"), "3:8: quota: Expected a size with its unit, as 10GiB or 500MiB"],
    [
      "a wrong word",
      manifest("root: persistant"),
      '3:7: root: Expected one of persistent, ephemeral, ram. Did you mean "persistent"?',
    ],
    [
      "a bad MAC",
      manifest("", "  - { name: a, mac: dc:a6:32:70:da }"),
      "5:21: nodes[0].mac: Expected an Ethernet address of six pairs of hex digits, as dc:a6:32:70:da:b0",
    ],
    [
      "a bad serial",
      manifest("", "  - { name: a, serial: xyz }"),
      "5:24: nodes[0].serial: Expected the serial number in hex digits, as 91cdf03d (the end of Serial in /proc/cpuinfo)",
    ],
    [
      "a bad name",
      manifest("", "  - { name: Node_1, serial: 91cdf03d }"),
      "5:13: nodes[0].name: Expected a host name of lower-case letters, digits and hyphens, at most 63 of them",
    ],
    [
      "a bad address",
      manifest("", "  - { name: a, serial: 91cdf03d, address: 10.0.0.256 }"),
      "5:43: nodes[0].address: Expected an IPv4 address, as 192.168.1.10",
    ],
    [
      "a model that cannot boot over the network",
      manifest("", "  - { name: a, serial: 91cdf03d, model: zero2w }"),
      "5:41: nodes[0].model: Expected a model that boots over the network: 3b, 3b+, cm3, 4, 400, cm4, 5, 500, cm5 or cm5l",
    ],
    [
      "a node that nothing identifies",
      manifest("", "  - { name: a }"),
      "5:5: nodes[0]: Expected a mac or a serial: it is how the node is recognised",
    ],
    [
      "a password instead of its hash",
      manifest("access: { passwordHash: raspberry }"),
      "3:25: access.passwordHash: Expected a password hash, never the password; make one with: openssl passwd -6",
    ],
    [
      "a port out of range",
      manifest("network: { ports: { nfs: 70000 } }"),
      "3:26: network.ports.nfs: Expected a port from 0 to 65535",
    ],
    [
      "letters that the kernel does not read",
      manifest("cmdline: [é=1]"),
      "3:10: cmdline: Expected ASCII only: the firmware and the kernel read nothing else",
    ],
    [
      "a file with two origins",
      manifest("files: [{ path: /a, content: b, source: motd }]"),
      "3:9: files[0]: Expected either content (the text itself) or source (a path on the manager)",
    ],
    [
      "a path that climbs",
      manifest("files: [{ path: /etc/../a, content: b }]"),
      "3:17: files[0].path: Expected an absolute path without . or .., as /etc/motd",
    ],
    [
      "permissions that are not octal",
      manifest("files: [{ path: /a, content: b, mode: 0889 }]"),
      '3:39: files[0].mode: Expected permissions in octal digits, as "0644"',
    ],
    [
      "a name given twice",
      manifest("", "  - { name: a, serial: 1 }\n  - { name: a, serial: 2 }"),
      "6:13: nodes[1].name: The name a is already that of nodes[0] (line 5). Give each node its own",
    ],
    [
      "a MAC given twice in different spellings",
      manifest("", "  - { name: a, mac: dc:a6:32:70:da:b0 }\n  - { name: b, mac: DCA63270DAB0 }"),
      "6:21: nodes[1].mac: The MAC address DCA63270DAB0 is already that of a (line 5). Give each node its own",
    ],
    [
      "a serial given twice with and without its high half",
      manifest("", "  - { name: a, serial: b66c4c16 }\n  - { name: b, serial: 00000000B66C4C16 }"),
      "6:24: nodes[1].serial: The serial number 00000000B66C4C16 is already that of a (line 5). Give each node its own",
    ],
    [
      "an address given twice",
      manifest("", "  - { name: a, serial: 1, address: 10.0.0.9 }\n  - { name: b, serial: 2, address: 10.0.0.9 }"),
      "6:36: nodes[1].address: The address 10.0.0.9 is already that of a (line 5). Give each node its own",
    ],
    [
      "an address outside the network",
      manifest("network: { subnet: 10.0.0.0/24 }", "  - { name: a, serial: 1, address: 10.0.1.9 }"),
      "5:36: nodes[0].address: The address 10.0.1.9 is outside the network 10.0.0.0/24. Use one from 10.0.0.1 to 10.0.0.254",
    ],
    [
      "the broadcast address",
      manifest("network: { subnet: 10.0.0.0/24, router: 10.0.0.255 }"),
      "3:41: network.router: The address 10.0.0.255 is that of the network 10.0.0.0/24 itself, or its broadcast. Use one from 10.0.0.1 to 10.0.0.254",
    ],
    [
      "a node at the manager's address",
      manifest("network: { subnet: 10.0.0.0/24, address: 10.0.0.1 }", "  - { name: a, serial: 1, address: 10.0.0.1 }"),
      "5:36: nodes[0].address: The address 10.0.0.1 is already that of the manager",
    ],
    [
      "a range that runs backwards",
      manifest("network: { range: { from: 10.0.0.9, to: 10.0.0.1 } }"),
      "3:19: network.range: The range ends at 10.0.0.1, before it starts at 10.0.0.9. Swap from and to",
    ],
    [
      "a server without addresses to give",
      manifest("network: { dhcp: server }"),
      '5:5: nodes[0]: Node node1 would get no address: dhcp is "server", and there is neither an address for it nor a range. Add network.range, or an address to the node',
    ],
    [
      "an image that is not there",
      manifest("", "  - { name: a, serial: 1, image: gone.img }"),
      "5:34: nodes[0].image: The image gone.img is not there. Relative paths start at the manifest's own directory",
    ],
    [
      "a key file that is not there",
      manifest("access: { authorizedKeys: [gone.pub] }"),
      "3:28: access.authorizedKeys[0]: The public key gone.pub is not there. Relative paths start at the manifest's own directory",
    ],
    [
      "no image at all",
      "cluster: attic\nnodes: [{ name: a, serial: 1 }]\n",
      "2:9: nodes[0]: Node a has no image. Add image: to the manifest (a path, a URL, or a name from: bramble image list)",
    ],
    [
      "text that is not YAML",
      "cluster: [a\n",
      "2:1: Not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    ["a key given twice", "cluster: a\ncluster: b\n", "2:1: Not valid YAML: Map keys must be unique"],
    ["something else than a map", "- a\n", "1:1: Expected a map of keys and values"],
    ["nothing", "", '1:1: cluster: The key "cluster" is missing'],
  ])("with %s is refused with its place", (_, text, expected) => {
    expect(problemsOf(text)).toEqual([`bramble.yaml:${expected}`]);
  });

  it("tells all problems at once, in the order of the text", () => {
    const text = manifest(
      "network: { dhpc: proxy, subnet: 10.0.0.0/24 }",
      "  - { name: A, mac: x }\n  - { name: b, serial: 1, address: 10.1.0.1, root: rom }",
    );
    expect(problemsOf(text).map((line) => line.split(": ", 2)[0]!.split(":").slice(1).join(":"))).toEqual([
      "3:12",
      "5:13",
      "5:21",
      "6:36",
      "6:52",
    ]);
  });

  it("checks addresses against the interface's network when it names none", () => {
    const text = manifest("", "  - { name: a, serial: 1, address: 10.0.1.9 }");
    expect(problemsOf(text, { ...SURROUNDINGS, interfaceSubnet: "10.0.0.0/24" })).toHaveLength(1);
    expect(problemsOf(text)).toEqual([]);
  });

  it.each(["https://example.org/pi.img.xz", "trixie", "pi.img.xz"])("takes %s for an image", (image) => {
    expect(problemsOf(`cluster: a\nimage: ${image}\n`)).toEqual([]);
  });

  it("is refused, never crashed on, whatever the text", () => {
    const word = fc.constantFrom(
      "cluster",
      "nodes",
      "network",
      ":",
      "- ",
      "\n",
      "  ",
      "{",
      "}",
      "[",
      "]",
      "&a ",
      "*a",
      "name",
      "1",
      ",",
      '"',
      "mac",
      "!!binary ",
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        const result = parseManifest(words.join(""), SURROUNDINGS);
        if (!result.ok) expect(result.problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it("is described to editors by a JSON Schema that knows its keys", () => {
    expect(manifestJsonSchema()).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      required: ["cluster"],
      additionalProperties: false,
      properties: { network: { properties: { dhcp: { enum: ["proxy", "server", "external"] } } } },
    });
  });
});
