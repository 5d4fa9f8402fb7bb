// Debian packages for arm64, downloaded with this machine's own apt and mirror, and nothing else of it touched: apt
// gets a private configuration with its own lists, cache and (empty) database of installed packages.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

const COMPONENTS = "main non-free-firmware";
const DEFAULT_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** `VERSION_CODENAME` of the machine; the demo takes its packages from the same release. */
function releaseOfThisMachine() {
  const osRelease = readFileSync("/etc/os-release", "utf8");
  const id = /^ID=(.*)$/m.exec(osRelease)?.[1];
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(osRelease)?.[1];
  if (id !== "debian" || !codename) {
    throw new Error(
      `Cannot find Debian's packages: this machine runs ${id ?? "an unknown system"}; run the demo on Debian 12 or later, or give it an image with IMAGE=path`,
    );
  }
  return codename;
}

/** Entries of one-line sources (`deb [options] URI suite components`) and of deb822 `.sources` files. */
export function parseSources(text, isDeb822) {
  if (!isDeb822) {
    return text.split("\n").flatMap((line) => {
      const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
      if (!match) return [];
      const signedBy = /signed-by=(\S+)/.exec(match[1] ?? "")?.[1];
      return [{ uris: [match[2]], suites: [match[3]], components: match[4].trim().split(/\s+/), signedBy }];
    });
  }
  return text.split(/\n\s*\n/).flatMap((paragraph) => {
    const unfolded = paragraph
      .replace(/^#.*\n?/gm, "")
      .replace(/\n[ \t]+\.?/g, (fold) => (fold.includes(".") ? "\n\n" : " "));
    const field = (name) => new RegExp(`^${name}:[ \\t]*(.*)$`, "im").exec(unfolded)?.[1].trim();
    if (!field("Types")?.split(/\s+/).includes("deb") || /^(no|false|0)$/i.test(field("Enabled") ?? "yes")) return [];
    const words = (name) => field(name)?.split(/\s+/) ?? [];
    return [
      { uris: words("URIs"), suites: words("Suites"), components: words("Components"), signedBy: field("Signed-By") },
    ];
  });
}

function sourcesOfThisMachine() {
  const parts = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : []),
  ];
  return files
    .filter((path) => existsSync(path) && /\.(list|sources)$/.test(path))
    .flatMap((path) => parseSources(readFileSync(path, "utf8"), path.endsWith(".sources")));
}

/**
 * The machine's Debian mirrors as a deb822 file, with the component that holds the Pi's firmware. For another release
 * than the machine's own, the suites are renamed.
 */
function sourcesFile(release) {
  const own = releaseOfThisMachine();
  const suites = new Map(["", "-updates", "-security"].map((suffix) => [own + suffix, release + suffix]));
  const entries = sourcesOfThisMachine()
    .filter((entry) => entry.components.includes("main"))
    .map((entry) => ({ ...entry, suites: entry.suites.map((suite) => suites.get(suite)).filter(Boolean) }))
    .filter((entry) => entry.suites.length > 0);
  if (!entries.some((entry) => entry.suites.includes(release))) {
    throw new Error(`Cannot find a Debian mirror: no source in /etc/apt has suite "${own}" and component "main"`);
  }
  const paragraph = ({ uris, suites, signedBy }) =>
    [
      "Types: deb",
      `URIs: ${uris.join(" ")}`,
      `Suites: ${suites.join(" ")}`,
      `Components: ${COMPONENTS}`,
      ...(signedBy || existsSync(DEFAULT_KEYRING) ? [`Signed-By: ${signedBy || DEFAULT_KEYRING}`] : []),
    ].join("\n");
  return `${entries.map(paragraph).join("\n\n")}\n`;
}

/** apt's private world below `folder`. Proxies and certificates of the machine's apt.conf stay in force. */
function writePrivateApt(folder, release, installed = "") {
  for (const sub of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(folder, sub), { recursive: true });
  writeFileSync(join(folder, "status"), installed);
  writeFileSync(join(folder, "bramble.sources"), sourcesFile(release));
  const configuration = join(folder, "apt.conf");
  writeFileSync(
    configuration,
    `#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Retries "3";
Acquire::Languages "none";
Dir::State "${folder}/state";
Dir::State::status "${folder}/status";
Dir::Cache "${folder}/cache";
Dir::Etc::sourcelist "${folder}/bramble.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
`,
  );
  return configuration;
}

/** Runs apt's programs in their private world; the packages that `installed` lists, in dpkg's form, need no download. */
function privateApt(home, release, installed) {
  const environment = { ...process.env, APT_CONFIG: writePrivateApt(home, release, installed), LC_ALL: "C" };
  return (program, ...words) => {
    try {
      return execFileSync(program, words, {
        env: environment,
        cwd: home,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    } catch (error) {
      const why = error.code === "ENOENT" ? "it is not installed" : String(error.stderr ?? error.message).trim();
      throw new Error(`Cannot download Debian packages: ${program} ${words.join(" ")}: ${why}`, { cause: error });
    }
  };
}

/**
 * Downloads `names` and what they need into `folder`, but for what is in `statusPath`: dpkg's list of a system's packages.
 * Returns the paths of the `.deb` files.
 */
export function downloadMissingPackages(folder, names, { release, statusPath }) {
  const home = join(folder, release);
  mkdirSync(home, { recursive: true });
  const apt = privateApt(home, release, readFileSync(statusPath, "utf8"));
  apt("apt-get", "-qq", "update");
  const archives = join(home, "cache/archives");
  const of = () => readdirSync(archives).filter((name) => name.endsWith(".deb"));
  for (const name of of()) rmSync(join(archives, name));
  apt("apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "install", ...names);
  return of().map((name) => join(archives, name));
}

/**
 * Downloads `names` (a meta package that only depends on a versioned one is followed to it) into `folder`.
 * Returns name → path of the `.deb`. What was downloaded before is used again without asking the mirror.
 */
export function downloadPackages(
  folder,
  names,
  { release = releaseOfThisMachine(), refresh = false, log = () => {} } = {},
) {
  const home = join(folder, release);
  const listPath = join(home, "packages.json");
  if (!refresh && existsSync(listPath)) {
    const known = JSON.parse(readFileSync(listPath, "utf8"));
    if (names.every((name) => known[name] && existsSync(known[name]))) return known;
  }
  mkdirSync(home, { recursive: true });
  const apt = privateApt(home, release);
  log(`asking the mirror for Debian ${release} arm64`);
  apt("apt-get", "-qq", "update");
  const packages = {};
  for (const name of names) {
    const real = /^\s*Depends: (linux-image-\d\S*)$/m.exec(apt("apt-cache", "depends", name))?.[1] ?? name;
    const file = /'?(\S+)'? (\S+_\S+\.deb) \d+/.exec(apt("apt-get", "-qq", "download", "--print-uris", real))?.[2];
    if (!file) throw new Error(`Cannot download ${real}: the mirror does not say where it is`);
    log(`downloading ${basename(file)}`);
    apt("apt-get", "-qq", "download", real);
    packages[name] = join(home, file);
  }
  writeFileSync(listPath, JSON.stringify(packages));
  return packages;
}
