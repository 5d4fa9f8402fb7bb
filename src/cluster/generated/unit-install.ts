/**
 * The [Install] section of a systemd unit, systemd.unit(5): which links `systemctl enable` makes. Left out: drop-in files,
 * and specifiers that only the running node can fill in.
 */

export interface UnitInstall {
  /** Below /etc/systemd/system: `multi-user.target.wants/ssh.service`, or another name of the unit. */
  links: string[];
  /** Units to be enabled with it. */
  also: string[];
  /** The first word that holds a specifier which is left out. */
  unknownWord?: string;
}

const KNOWN_SPECIFIERS = /%[nNpji%]/g;
const LINK_FOLDERS = { WantedBy: "wants", RequiredBy: "requires", UpheldBy: "upholds" } as const;

/** `text` is that of the template where `unit` is an instance of one (`getty@tty2.service`). */
export function readInstall(text: string, unit: string): UnitInstall {
  const section = installSection(text);
  const name = withInstance(unit, section.get("DefaultInstance")?.at(-1));
  const words = (key: string) => (section.get(key) ?? []).map((word) => expand(word, name));
  const unknownWord = [...section.values()].flat().find((word) => word.replace(KNOWN_SPECIFIERS, "").includes("%"));
  const wanted = Object.entries(LINK_FOLDERS).flatMap(([key, folder]) =>
    words(key).map((other) => `${other}.${folder}/${name}`),
  );
  const aliases = words("Alias").map((alias) => withInstance(alias, instanceOf(name)));
  const also = words("Also");
  return { links: [...wanted, ...aliases], also, ...(unknownWord && { unknownWord }) };
}

/** `getty@.service` of `getty@tty2.service`. */
export function templateOf(unit: string): string | undefined {
  return /^[^@]+@.+\.\w+$/.test(unit) ? unit.replace(/@.*(?=\.\w+$)/, "@") : undefined;
}

export function isTemplate(unit: string): boolean {
  return /@\.\w+$/.test(unit);
}

function instanceOf(unit: string): string | undefined {
  return /@(.+)\.\w+$/.exec(unit)?.[1];
}

function withInstance(unit: string, instance: string | undefined): string {
  return instance === undefined ? unit : unit.replace(/@(?=\.\w+$)/, `@${instance}`);
}

/** Words of each key. An assignment of nothing forgets those before it. */
function installSection(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  let section = "";
  for (const line of text.replace(/\\\n/g, " ").split("\n")) {
    const header = /^\s*\[(.*)\]\s*$/.exec(line);
    const assignment = /^\s*(\w+)\s*=\s*(.*?)\s*$/.exec(line);
    if (header) section = header[1]!;
    else if (assignment && section === "Install") {
      const [, key, value] = assignment;
      const words = value!.split(/\s+/).filter(Boolean);
      values.set(key!, words.length === 0 ? [] : [...(values.get(key!) ?? []), ...words]);
    }
  }
  return values;
}

function expand(word: string, unit: string): string {
  const prefix = unit.replace(/(@.*)?\.\w+$/, "");
  const known: Record<string, string> = {
    n: unit,
    N: unit.replace(/\.\w+$/, ""),
    p: prefix,
    j: prefix.slice(prefix.lastIndexOf("-") + 1),
    i: instanceOf(unit) ?? "",
    "%": "%",
  };
  return word.replace(KNOWN_SPECIFIERS, (specifier) => known[specifier[1]!]!);
}
