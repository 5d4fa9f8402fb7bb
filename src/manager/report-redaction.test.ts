import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { redaction, redactManifest, redactValue, secretsIn } from "./report-redaction.ts";

const KEY = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACBQ9mF8m0uK5q3PpZ0mO0a9xw
-----END OPENSSH PRIVATE KEY-----
`;

describe("redaction by what looks like a secret", () => {
  const redact = redaction([]);
  it.each([
    ["a password hash", "pi:$6$abc.def$Zx/1234567890:19000:0", "pi:[redacted]:19000:0"],
    ["a yescrypt hash", 'passwordHash: "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o"', 'passwordHash: "[redacted]"'],
    ["a private key", `before ${KEY}after`, "before [redacted]\nafter"],
    ["a private key cut short", KEY.slice(0, 80), "[redacted]"],
    ["the body of a public key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@home", "ssh-ed25519 [redacted] me@home"],
    [
      "a Swarm token",
      "join with SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx",
      "join with [redacted]",
    ],
    ["a k3s token", "K10a1b2c3d4e5f60718293a4b5c6d7e8f9::server:0123456789abcdef", "[redacted]"],
    [
      "a password in a URL",
      "Cannot import https://me:hunter22@example.org/a.img",
      "Cannot import https://[redacted]@example.org/a.img",
    ],
    [
      "a signed URL",
      "https://example.org/a.img?X-Amz-Signature=abc123&x=1",
      "https://example.org/a.img?X-Amz-Signature=[redacted]&x=1",
    ],
    ["a wireless network's key", "[  3.1] brcmfmac psk=correcthorse up", "[  3.1] brcmfmac psk=[redacted] up"],
    ["a token in JSON", '{"joinToken":"abcdef123456"}', '{"joinToken":"[redacted]"}'],
    ["nothing in an ordinary line", "tftp  start4.elf  2.2 MiB in 300 ms", "tftp  start4.elf  2.2 MiB in 300 ms"],
  ])("takes out %s", (_, text, expected) => {
    expect(redact(text)).toBe(expected);
  });
});

describe("redaction of what is known to be secret", () => {
  it("takes it out wherever it stands, also line by line and in JSON", () => {
    const redact = redaction(['first "line" of it\nsecond line of it\n']);
    expect(redact('a second line of it b, {"x":"first \\"line\\" of it"}')).toBe('a [redacted] b, {"x":"[redacted]"}');
  });

  it("takes out a long word of it by itself", () => {
    const redact = redaction(["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcW me@home"]);
    expect(redact("key AAAAC3NzaC1lZDI1NTE5AAAAIJcW of me@home")).toBe("key [redacted] of me@home");
  });

  it("leaves alone what is too short to tell", () => {
    expect(redaction(["pi", ""])("pi.img of pi")).toBe("pi.img of pi");
  });

  it("takes the longest first", () => {
    expect(redaction(["abcdef", "abcdefgh"])("abcdefgh")).toBe("[redacted]");
  });
});

describe("redaction of data", () => {
  it("leaves everything but texts what it was", () => {
    const value = {
      secret: true,
      count: 3,
      none: null,
      list: ["psk=hunter22", 1],
      joinToken: "abc",
      inner: { text: "ok" },
    };
    expect(redactValue(value, redaction([]))).toEqual({
      ...value,
      list: ["psk=[redacted]", 1],
      joinToken: "[redacted]",
    });
  });
});

describe("a manifest without its secrets", () => {
  const text = `cluster: attic   # wifi password is swordfish
image: https://me:hunter22@example.org/pi.img.xz
access: { user: pi, passwordHash: "$6$salt$hash0123456789", authorizedKeys: ["ssh-ed25519 AAAAC3Nza me@home"] }
files:
  - { path: /etc/wpa.conf, content: "psk of the attic" }
  - { path: /etc/motd, source: motd }
nodes:
  - { name: node1, serial: 10000001, files: [{ path: /etc/token, content: node1-token }] }
`;

  it("keeps its shape, and tells what was taken out", () => {
    const redacted = redactManifest(text)!;
    expect(parse(redacted.text)).toEqual({
      cluster: "attic",
      image: "https://me:hunter22@example.org/pi.img.xz",
      access: { user: "pi", passwordHash: "[redacted]", authorizedKeys: "[redacted]" },
      files: [
        { path: "/etc/wpa.conf", content: "[redacted]" },
        { path: "/etc/motd", source: "motd" },
      ],
      nodes: [{ name: "node1", serial: 10000001, files: [{ path: "/etc/token", content: "[redacted]" }] }],
    });
    expect(redacted.text).not.toContain("swordfish");
    expect(redacted.secrets).toEqual([
      "$6$salt$hash0123456789",
      "ssh-ed25519 AAAAC3Nza me@home",
      "psk of the attic",
      "node1-token",
    ]);
  });

  it("is nothing when nobody knows what is in it", () => {
    expect(redactManifest("a: [")).toBeUndefined();
    expect(redactManifest("- just a list of hunter22")).toBeUndefined();
  });

  it("counts every text below the key of a secret", () => {
    expect(secretsIn({ a: "x", tokens: { one: ["y", { z: "w" }] }, n: 1 })).toEqual(["y", "w"]);
  });
});
