/** What Ansible says when something does not work, in one line, with what to do where that is known. */

import { withoutSecrets } from "../secret-forms.ts";

/** What is worth showing of a message that a module printed. */
const MESSAGE_CHARACTERS_MAX = 500;

const KNOWN: readonly { shows: RegExp; message: string }[] = [
  {
    shows: /No python interpreters found|python[\d.]*: (not found|No such file|command not found)/i,
    message: "the node has no Python 3, which Ansible's modules need; use an image with python3",
  },
  {
    shows: /Missing sudo password|sudo: a password is required|a terminal is required to read the password/,
    message:
      "the user of the node may not become root without a password; use access.sudo: nopasswd, and restart the node",
  },
  {
    shows: /sudo: not found|sudo: command not found/,
    message: "the node has no sudo; use an image with sudo, or access.user: root",
  },
  {
    shows: /Host key verification failed/,
    message: "another host key than the manager made answers at its address; who has that address?",
  },
  {
    shows: /Permission denied \(publickey/,
    message: "the node does not take the manager's key; was its authorized_keys changed?",
  },
];

export function explainFailure(said: string): string {
  return KNOWN.find(({ shows }) => shows.test(said))?.message ?? oneLine(said);
}

/** From Ansible's "ERROR!" on, if there is one; colours, blank lines and warnings go. */
function oneLine(said: string): string {
  const lines = said
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the terminal's own escape codes
    .replace(/\u001b\[[\d;]*m/g, "")
    .replace(/^[\s\S]*?ERROR! /, "")
    .replace(PLACE_OF_ERROR, "(in $1, line $2)")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !/^\[(WARNING|DEPRECATION WARNING)\]/.test(line));
  const text = withoutSecrets(lines.join(" "));
  return text.length <= MESSAGE_CHARACTERS_MAX ? text : `${text.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…`;
}

/** Up to ansible-core 2.18, with the lines around it. */
const PLACE_OF_ERROR = /The error appears to be in '([^']+)': line (\d+)[\s\S]*/;

/** The version that `ansible-playbook --version` tells; `undefined` when it tells none. */
export function parseAnsibleVersion(said: string): string | undefined {
  return /^ansible-playbook (?:\[core )?(\d+\.\d+[\w.]*)/m.exec(said)?.[1];
}

export const ANSIBLE_VERSION_MIN = "2.14";

export function isAnsibleNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10));
  return major > 2 || (major === 2 && minor >= 14);
}
