import { describe, expect, it } from "vitest";
import { type Mac, parseMac } from "../bytes/addresses.ts";
import { findSeenPi, nextName, nodeOf, type SeenPi } from "./adoption.ts";
import { parseManifest } from "./manifest.ts";

const never = () => false;

describe("the name of an adopted node", () => {
  it.each([
    ["node%d", [], "node1"],
    ["node%d", ["node1", "node2"], "node3"],
    ["node%d", ["node7", "node2"], "node8"],
    ["node%d", ["node", "node2b", "anode9", "node-4", "node03"], "node4"],
    ["rack1-%02d", ["rack1-01", "rack2-77"], "rack1-02"],
    ["rack1-%02d", ["rack1-99"], "rack1-100"],
    ["pi%dx", ["pi3x", "pi9"], "pi4x"],
    ["%d-pi", ["4-pi"], "5-pi"],
  ])("by %s beside %j is %s", (pattern, names, expected) => {
    expect(nextName(pattern, names, never)).toBe(expected);
  });

  it("is none of a node that was taken out and whose files are kept", () => {
    expect(nextName("node%d", ["node1"], (name) => ["node2", "node3"].includes(name))).toBe("node4");
  });
});

describe("an adopted node", () => {
  const mac = parseMac("dc:a6:32:00:00:01");

  it.each<[SeenPi, string | undefined, object]>([
    [{ mac, serial: "91cdf03d", model: "4" }, undefined, { name: "n", serial: "91cdf03d", model: "4" }],
    [{ mac, serial: "91cdf03d", model: "4" }, "5", { name: "n", serial: "91cdf03d", model: "5" }],
    [{ mac }, undefined, { name: "n", mac }],
  ])("%j, as model %s, is %j in the manifest", (pi, model, entry) => {
    expect(nodeOf(pi, "n", model)).toEqual(entry);
  });
});

describe("a Pi that somebody names", () => {
  const pis: SeenPi[] = [
    { mac: parseMac("dc:a6:32:00:00:01"), serial: "91cdf03d" },
    { mac: parseMac("b8:27:eb:6c:4c:16") },
    { mac: parseMac("e4:5f:01:00:00:01"), serial: "0000001f" },
  ];
  it.each([
    ["91cdf03d", { mac: "dc:a6:32:00:00:01", serial: "91cdf03d" }],
    ["0x91CDF03D", { mac: "dc:a6:32:00:00:01", serial: "91cdf03d" }],
    ["1000000091cdf03d", { mac: "dc:a6:32:00:00:01", serial: "91cdf03d" }],
    ["1f", { mac: "e4:5f:01:00:00:01", serial: "0000001f" }],
    ["DC-A6-32-00-00-01", { mac: "dc:a6:32:00:00:01", serial: "91cdf03d" }],
    // Its ROM has told no serial, but its MAC ends as this one does.
    ["b66c4c16", { mac: "b8:27:eb:6c:4c:16", serial: "b66c4c16" }],
    ["dc:a6:32:00:00:02", undefined],
    ["91cdf03e", undefined],
    ["node1", undefined],
    ["", undefined],
  ])("as %s is %j", (text, expected) => {
    expect(findSeenPi(pis, text)).toEqual(expected);
  });
});

describe("adopt: in a manifest", () => {
  const read = (adopt: string) =>
    parseManifest(`cluster: attic\nimage: os.img\nadopt: ${adopt}\n`, { fileExists: () => true });

  it.each([
    ["auto", { mode: "auto", name: "node%d", max: 64 }],
    ["ask", { mode: "ask", name: "node%d", max: 64 }],
    ["{ mode: auto, name: rack1-%02d, max: 8 }", { mode: "auto", name: "rack1-%02d", max: 8 }],
    ["{}", { mode: "ask", name: "node%d", max: 64 }],
  ])("%s is %j", (text, adopt) => {
    expect(read(text)).toMatchObject({ ok: true, manifest: { adopt } });
  });

  it.each([
    ["always", "Expected ask, auto, or a map of mode, name and max"],
    ["{ mode: always }", "Expected one of ask, auto"],
    ["{ name: node }", "Expected a host name with %d where its number goes"],
    ["{ name: node%d%d }", "Expected a host name with %d"],
    ["{ name: Node%d }", "Expected a host name with %d"],
    ["{ name: -%d }", "Expected a host name with %d"],
    ["{ name: node%s }", "Expected a host name with %d"],
    ["{ max: 0 }", "Expected at least 1"],
    ["{ model: 4 }", 'Unknown key "model"'],
  ])("%s is refused", (text, message) => {
    const result = read(text);
    expect(result.ok ? [] : result.problems.map((problem) => problem.message)).toEqual([
      expect.stringContaining(message),
    ]);
  });

  it.each([
    [
      "network: { dhcp: server }\nimage: os.img",
      'Adopted nodes would get no address: dhcp is "server", and there is no range',
    ],
    ["network: { dhcp: proxy }", "Adopted nodes would have no image"],
    [
      "network: { dhcp: server, subnet: 10.0.0.0/24, range: { from: 10.0.0.5, to: 10.0.0.9 } }\nimage: os.img",
      undefined,
    ],
    ["image: os.img", undefined],
  ])("auto with %j is told at once if nobody could be adopted", (rest, problem) => {
    for (const adopt of ["auto", "{ mode: auto }"]) {
      const result = parseManifest(`cluster: attic\n${rest}\nadopt: ${adopt}\n`, { fileExists: () => true });
      const messages = result.ok ? [] : result.problems.map(({ message }) => message);
      expect(messages).toEqual(problem === undefined ? [] : [problem]);
    }
    const asked = parseManifest(`cluster: attic\n${rest}\nadopt: ask\n`, { fileExists: () => true });
    expect(asked.ok).toBe(true);
  });

  it("gives names that are host names, however many there are", () => {
    for (const pattern of ["node%d", "%d-pi", "a%09d", `${"a".repeat(50)}%d`]) {
      const result = read(`{ name: ${JSON.stringify(pattern)} }`);
      expect(result).toMatchObject({ ok: true });
      const name = nextName(pattern, [pattern.replace(/%(0\d)?d/, "999999999")], never);
      const mac = "02:00:00:00:00:01" as Mac;
      const text = `cluster: attic\nimage: os.img\nnodes: [${JSON.stringify({ name, mac })}]\n`;
      expect(parseManifest(text, { fileExists: () => true })).toMatchObject({ ok: true });
    }
  });
});
