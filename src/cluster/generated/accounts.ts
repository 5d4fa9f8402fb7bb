/**
 * The account database as text: passwd(5), shadow(5), group(5), gshadow(5). Lines that are not ours stay as the image
 * has them.
 */
import type { ImageFiles } from "../generated-file.ts";
import { imageLines } from "./placing.ts";

export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
  /** False when the image already had the account. */
  isNew: boolean;
}

export interface AccountDatabase {
  passwd: string[];
  shadow: string[];
  group: string[];
  gshadow: string[];
}

/** Ids of people, as login.defs of Debian has them. */
const FIRST_ID = 1000;
const LAST_ID = 59999;
/**
 * No password fits, yet the account is not locked: sshd refuses locked ones (`!`) even with a key where PAM is off.
 */
const NO_PASSWORD = "*";
const ROOT_LINE = "root:x:0:0:root:/root:/bin/sh";

export function readAccounts(root: ImageFiles): AccountDatabase {
  const passwd = imageLines(root, "/etc/passwd");
  return {
    passwd: passwd.length > 0 ? passwd : [ROOT_LINE],
    shadow: imageLines(root, "/etc/shadow"),
    group: imageLines(root, "/etc/group"),
    gshadow: imageLines(root, "/etc/gshadow"),
  };
}

/** `root` and `1000` alike. `undefined` for a name that is not in the list. */
export function idOf(lines: readonly string[], nameOrId: string): number | undefined {
  if (/^\d+$/.test(nameOrId)) return Number(nameOrId);
  const id = fieldsOf(lines, nameOrId)?.[2];
  return id === undefined ? undefined : Number(id);
}

/**
 * Adds or changes the account of the manifest's user, with a group of its own name and those of `groups` that exist. It
 * stays in the groups where the image has it, but for `groupsLeft`.
 */
export function setAccount(
  database: AccountDatabase,
  user: {
    name: string;
    passwordHash: string | undefined;
    groups: readonly string[];
    groupsLeft: readonly string[];
    shell: string;
  },
): { database: AccountDatabase; account: Account } {
  const { name, groups, groupsLeft } = user;
  const known = fieldsOf(database.passwd, name);
  const account = known ? existingAccount(known) : newAccount(database, name);
  const hash = user.passwordHash ?? NO_PASSWORD;
  const hasShadow = database.shadow.length > 0;
  const passwdLine = known
    ? passwdWithHash(known, hasShadow ? "x" : hash, user.shell)
    : [name, hasShadow ? "x" : hash, account.uid, account.gid, "", account.home, user.shell].join(":");
  const ownGroup = known || fieldsOf(database.group, name) ? [] : [`${name}:x:${account.gid}:`];
  const ownShadowGroup = ownGroup.length > 0 && database.gshadow.length > 0 ? [`${name}:!::`] : [];
  return {
    account,
    database: {
      passwd: withLine(database.passwd, name, passwdLine),
      // An empty date of last change: the password does not age.
      shadow: hasShadow ? withLine(database.shadow, name, `${name}:${hash}::0:99999:7:::`) : [],
      group: withoutMember(withMember([...database.group, ...ownGroup], name, groups), name, groupsLeft),
      gshadow: withoutMember(withMember([...database.gshadow, ...ownShadowGroup], name, groups), name, groupsLeft),
    },
  };
}

function fieldsOf(lines: readonly string[], name: string): string[] | undefined {
  return lines.find((line) => line.startsWith(`${name}:`))?.split(":");
}

function existingAccount(fields: readonly string[]): Account {
  return { name: fields[0]!, uid: Number(fields[2]), gid: Number(fields[3]), home: fields[5] || "/", isNew: false };
}

function newAccount(database: AccountDatabase, name: string): Account {
  const uids = new Set(database.passwd.map((line) => Number(line.split(":")[2])));
  const gids = new Set(database.group.map((line) => Number(line.split(":")[2])));
  const sameNamedGroup = idOf(database.group, name);
  for (let id = FIRST_ID; id <= LAST_ID; id++) {
    if (uids.has(id) || (sameNamedGroup === undefined && gids.has(id))) continue;
    return { name, uid: id, gid: sameNamedGroup ?? id, home: `/home/${name}`, isNew: true };
  }
  throw new Error(`Cannot add the user ${name}: the image has no free user id from ${FIRST_ID} to ${LAST_ID}`);
}

/** Keeps the account's own shell unless it forbids to log in. */
function passwdWithHash(fields: readonly string[], password: string, shell: string): string {
  const own = fields[6] ?? "";
  const usable = own !== "" && !/\/(nologin|false)$/.test(own);
  return [fields[0], password, ...fields.slice(2, 6), usable ? own : shell].join(":");
}

function withLine(lines: readonly string[], name: string, line: string): string[] {
  const index = lines.findIndex((candidate) => candidate.startsWith(`${name}:`));
  return index < 0 ? [...lines, line] : lines.with(index, line);
}

function withMember(lines: readonly string[], name: string, groups: readonly string[]): string[] {
  return changeMembers(lines, groups, (members) => (members.includes(name) ? members : [...members, name]));
}

function withoutMember(lines: readonly string[], name: string, groups: readonly string[]): string[] {
  return changeMembers(lines, groups, (members) => members.filter((member) => member !== name));
}

/** In both files the members are the last field. */
function changeMembers(
  lines: readonly string[],
  groups: readonly string[],
  change: (members: string[]) => string[],
): string[] {
  return lines.map((line) => {
    const fields = line.split(":");
    if (!groups.includes(fields[0]!) || fields.length < 4) return line;
    const members = change(fields.at(-1)!.split(",").filter(Boolean));
    return [...fields.slice(0, -1), members.join(",")].join(":");
  });
}
