/** The person who logs in: account, groups, sudo, home directory and public keys. */

import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import { isPublicKey } from "../manifest.ts";
import { type Account, type AccountDatabase, idOf, readAccounts, setAccount } from "./accounts.ts";
import { directory, type GenerationInput, imageText, removed, symlink, textFile, unitPath } from "./placing.ts";

const REASON = "access";
/** Those of them that the image has: what Raspberry Pi OS gives its first user. */
const GROUPS = [
  "adm",
  "dialout",
  "cdrom",
  "audio",
  "plugdev",
  "games",
  "users",
  "video",
  "input",
  "render",
  "netdev",
  "gpio",
  "i2c",
  "spi",
  "lpadmin",
];
const SUDO_GROUP = "sudo";
const SKELETON_DEPTH_MAX = 4;
/** Debian's own id, for an image without that group. */
const SHADOW_GID = 42;

/** The image's accounts with the manifest's user among them. */
export function accountsWithUser({ manifest, root }: GenerationInput): { database: AccountDatabase; account: Account } {
  const { user, passwordHash, sudo } = manifest.access;
  const maySudo = sudo !== "none";
  return setAccount(readAccounts(root), {
    name: user,
    passwordHash,
    groups: user === "root" ? [] : [...GROUPS, ...(maySudo ? [SUDO_GROUP] : [])],
    groupsLeft: maySudo ? [] : [SUDO_GROUP],
    shell: root.exists("/bin/bash") ? "/bin/bash" : "/bin/sh",
  });
}

export function userFiles(input: GenerationInput): GeneratedFile[] {
  const { database, account } = accountsWithUser(input);
  return [
    ...databaseFiles(input, database),
    ...homeFiles(input, account),
    ...sudoFiles(input),
    ...firstUserFiles(input),
  ];
}

function databaseFiles({ manifest }: GenerationInput, database: AccountDatabase): GeneratedFile[] {
  const holdsHash = database.shadow.length === 0 && manifest.access.passwordHash !== undefined;
  const secret = { mode: 0o640, gid: idOf(database.group, "shadow") ?? SHADOW_GID, secret: true };
  const file = (path: string, lines: readonly string[], options = {}) =>
    lines.length === 0 ? [] : [textFile(path, `${lines.join("\n")}\n`, REASON, options)];
  return [
    ...file("/etc/passwd", database.passwd, { secret: holdsHash }),
    ...file("/etc/shadow", database.shadow, secret),
    ...file("/etc/group", database.group),
    ...file("/etc/gshadow", database.gshadow, secret),
  ];
}

function homeFiles(input: GenerationInput, account: Account): GeneratedFile[] {
  const { uid, gid, home } = account;
  const owner = { uid, gid };
  const keys = authorizedKeys(input);
  const keyFiles =
    keys.length === 0
      ? []
      : [
          directory(`${home}/.ssh`, REASON, { mode: 0o700, ...owner }),
          textFile(`${home}/.ssh/authorized_keys`, `${keys.join("\n")}\n`, REASON, { mode: 0o600, ...owner }),
        ];
  if (input.root.isDirectory(home)) return keyFiles;
  return [
    directory(home, REASON, { mode: 0o700, ...owner }),
    ...skeleton(input, "/etc/skel", home, owner),
    ...keyFiles,
  ];
}

function skeleton(
  input: GenerationInput,
  from: string,
  to: string,
  owner: { uid: number; gid: number },
  depth = 0,
): GeneratedFile[] {
  return input.root.list(from).flatMap((name): GeneratedFile[] => {
    const [source, target] = [`${from}/${name}`, `${to}/${name}`];
    if (input.root.isDirectory(source)) {
      if (depth >= SKELETON_DEPTH_MAX) return [];
      return [directory(target, REASON, owner), ...skeleton(input, source, target, owner, depth + 1)];
    }
    const content = input.root.readFile(source);
    if (content === undefined) return [];
    return [{ tree: "root", kind: "file", path: target, content, mode: 0o644, ...owner, reason: REASON }];
  });
}

/** Each entry of the manifest is a key or a file of keys on the manager. */
export function authorizedKeys({ manifest, readSource }: Pick<GenerationInput, "manifest" | "readSource">): string[] {
  const lines = manifest.access.authorizedKeys.flatMap((entry) => {
    const text = isPublicKey(entry) ? entry : Buffer.from(readSource(entry) ?? []).toString("utf8");
    return text.split("\n").map((line) => line.trim());
  });
  return [...new Set(lines.filter((line) => line !== "" && !line.startsWith("#")))];
}

function sudoFiles({ manifest, root }: GenerationInput): GeneratedFile[] {
  const { user, sudo } = manifest.access;
  if (user === "root" || !root.isDirectory("/etc/sudoers.d")) return [];
  if (sudo === "nopasswd") {
    return [
      textFile("/etc/sudoers.d/010_bramble-nopasswd", `${user} ALL=(ALL) NOPASSWD: ALL\n`, REASON, { mode: 0o440 }),
    ];
  }
  // Raspberry Pi OS lets its first user do everything without a password; the manifest says otherwise.
  return root.exists("/etc/sudoers.d/010_pi-nopasswd") ? [removed("/etc/sudoers.d/010_pi-nopasswd", REASON)] : [];
}

/**
 * Raspberry Pi OS asks for a user at its first boot (userconf-pi): on the console, or on the desktop as a user of its
 * own who may do everything. Until then sshd warns that none is set.
 */
const FIRST_USER_LEFTOVERS = [
  "/etc/ssh/sshd_config.d/rename_user.conf",
  "/etc/systemd/system/getty@tty1.service.d/autologin.conf",
  "/etc/sudoers.d/010_wiz-nopasswd",
  "/etc/xdg/autostart/piwiz.desktop",
];
const DISPLAY_MANAGER_CONF = "/etc/lightdm/lightdm.conf";
const WIZARD_LOGIN = /^autologin-user=rpi-first-boot-wizard[ \t]*\n/gm;

function firstUserFiles({ root }: GenerationInput): GeneratedFile[] {
  const leftovers = FIRST_USER_LEFTOVERS.filter((path) => root.exists(path)).map((path) => removed(path, REASON));
  const text = imageText(root, DISPLAY_MANAGER_CONF) ?? "";
  const withoutWizard = text.replace(WIZARD_LOGIN, "");
  return [
    ...leftovers,
    ...consoleLogin(root),
    ...(withoutWizard === text ? [] : [textFile(DISPLAY_MANAGER_CONF, withoutWizard, REASON)]),
  ];
}

/** The dialogue took the place of the console's login, and gives it back when it has a user. */
function consoleLogin(root: ImageFiles): GeneratedFile[] {
  const getty = unitPath(root, "getty@.service");
  const isAsked = root.exists("/etc/systemd/system/multi-user.target.wants/userconfig.service");
  if (!isAsked || getty === undefined) return [];
  return [symlink("/etc/systemd/system/getty.target.wants/getty@tty1.service", getty, REASON)];
}
