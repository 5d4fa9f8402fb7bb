/** An archive of Debian packages for tests: made with dpkg-deb, served by a program of one line. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Of packages that each have a program of their name, which says that it runs, and a folder for logs. Installing one takes
 * `installS` seconds.
 */
export function makeAptArchive(folder: string, packages: readonly string[], installS = 0): void {
  const entries = packages.map((name) => {
    const tree = join(folder, name);
    for (const path of ["DEBIAN", "usr/bin", `var/log/${name}`]) mkdirSync(join(tree, path), { recursive: true });
    const control = `Package: ${name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n`;
    writeFileSync(join(tree, "DEBIAN/control"), control);
    writeFileSync(join(tree, "DEBIAN/postinst"), `#!/bin/sh\nsleep ${installS}\n`, { mode: 0o755 });
    writeFileSync(join(tree, "usr/bin", name), `#!/bin/sh\necho ${name} runs\n`, { mode: 0o755 });
    const file = join(folder, `${name}.deb`);
    execFileSync("dpkg-deb", ["--root-owner-group", "--build", tree, file], { stdio: "ignore" });
    const deb = readFileSync(file);
    const sha256 = createHash("sha256").update(deb).digest("hex");
    return `${control}Filename: ./${name}.deb\nSize: ${deb.length}\nSHA256: ${sha256}\n`;
  });
  writeFileSync(join(folder, "Packages"), entries.join("\n"));
}

export const APT_ARCHIVE_PORT = 8080;

/** For `node -e`, with the archive's folder behind it. */
export const APT_ARCHIVE_SERVER = `require("node:http").createServer((request, response) =>
  require("node:fs").readFile(process.argv[1] + request.url, (error, bytes) =>
    response.writeHead(error ? 404 : 200).end(bytes))).listen(${APT_ARCHIVE_PORT})`;

export function aptSource(host: string): string {
  return `deb [trusted=yes] http://${host}:${APT_ARCHIVE_PORT}/ ./\n`;
}
