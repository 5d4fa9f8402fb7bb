/**
 * Takes out of a bug report what nobody else should read: password hashes, private keys, tokens, and the contents of
 * files that the manifest gives to nodes. By what is known to be secret, and by what looks like it.
 * Names, addresses, serial numbers and user names stay: without them a report says nothing.
 */
import { isMap, isScalar, parseDocument, stringify, visit } from "yaml";
import type { BootPlanJson, PlannedFileJson } from "../cluster/plan-json.ts";
import { SECRET_FORMS } from "../provision/secret-forms.ts";

const REDACTED = "[redacted]";

/** Keys of a manifest, or of other settings, whose values are nobody else's business. */
const SECRET_KEY = /pass|secret|token|psk|credential|private|authorizedKeys|^content$/i;
/** Shorter ones would take half of the report with them. */
const SECRET_LENGTH_MIN = 6;
/** A line of a longer text is a secret by itself if it is not one that many files have. */
const SECRET_LINE_LENGTH_MIN = 12;
/** So is a word: the key in a line of authorized_keys, the hash in one of shadow. */
const SECRET_WORD_LENGTH_MIN = 24;

/** What looks like a secret. What stands in the groups stays. */
const PATTERNS: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, REDACTED],
  // crypt(5)
  [/\$(?:[1-7]|2[abxy]|y|gy|md5|sha1)\$[^\s"'`,:;]+/g, REDACTED],
  [/\b((?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+) AAAA[A-Za-z0-9+/=]+/g, `$1 ${REDACTED}`],
  ...SECRET_FORMS.map((form): [RegExp, string] => [form, REDACTED]),
  // user:password@ of a URL, and what is signed into its query
  [/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, `$1${REDACTED}@`],
  [/([?&](?:[a-z0-9_-]*(?:token|signature|sig|key|secret|password|credential))=)[^&\s"']+/gi, `$1${REDACTED}`],
  [
    /(\b[a-z0-9_.-]*(?:password|passwd|passphrase|psk|secret|token)["']?\s*[=:]\s*["']?)(?!\[redacted\])[^\s"',}]+/gi,
    `$1${REDACTED}`,
  ],
];

/** Redacts texts; `secrets` are known ones, of any form and number of lines. */
export function redaction(secrets: Iterable<string>): (text: string) => string {
  const known = [...new Set([...secrets].flatMap(partsOf))].sort((one, other) => other.length - one.length);
  return (text) => {
    const withoutKnown = known.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
    return PATTERNS.reduce((rest, [pattern, replacement]) => rest.replace(pattern, replacement), withoutKnown);
  };
}

/** The whole, its lines and long words, each also as it stands in JSON. */
function partsOf(secret: string): string[] {
  const lines = secret.split("\n").map((line) => line.trim());
  const isOne = lines.filter((line) => line !== "").length === 1;
  const words = secret.split(/\s+/).filter((word) => word.length >= SECRET_WORD_LENGTH_MIN);
  return [secret.trim(), ...lines.filter((line) => isOne || line.length >= SECRET_LINE_LENGTH_MIN), ...words]
    .flatMap((part) => [part, JSON.stringify(part).slice(1, -1)])
    .filter((part) => part.length >= SECRET_LENGTH_MIN);
}

/** Every text in a value, as parsed JSON or YAML has it, that stands under a key of a secret, or all of them. */
export function secretsIn(value: unknown, isSecret = false): string[] {
  if (typeof value === "string") return isSecret ? [value] : [];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => secretsIn(each, isSecret || SECRET_KEY.test(key)));
}

/** Every text in a value redacted, so that the rest of it stays what it was. */
export function redactValue(value: unknown, redact: (text: string) => string): unknown {
  if (typeof value === "string") return redact(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((each) => redactValue(each, redact));
  const entries = Object.entries(value).map(([key, each]) => {
    const isSecret = typeof each === "string" && SECRET_KEY.test(key) && key !== "content";
    return [redact(key), isSecret ? REDACTED : redactValue(each, redact)];
  });
  return Object.fromEntries(entries);
}

export interface RedactedManifest {
  text: string;
  /** What was taken out, to be looked for elsewhere. */
  secrets: string[];
}

/** A manifest without its secrets and comments. `undefined` when it is not YAML: then nobody knows what is in it. */
export function redactManifest(text: string): RedactedManifest | undefined {
  const document = parseDocument(text);
  if (document.errors.length > 0 || !isMap(document.contents)) return undefined;
  const secrets = secretsIn(document.toJS());
  visit(document, {
    Pair(_, pair) {
      const key = isScalar(pair.key) ? String(pair.key.value) : "";
      if (!SECRET_KEY.test(key)) return undefined;
      pair.value = document.createNode(REDACTED);
      return visit.SKIP;
    },
  });
  return { text: stringify(document.toJS()), secrets };
}

/** What the firmware and the kernel are told is worth reading, and made of nothing secret. */
const SHOWN_FILE = /^\/?(config\.txt|cmdline[^/]*\.txt)$/;

/** A plan without the contents of files, but for those of the firmware. */
export function redactPlan(plan: BootPlanJson): BootPlanJson {
  return { ...plan, files: plan.files.map(withoutContent) };
}

function withoutContent(file: PlannedFileJson): PlannedFileJson {
  if (file.tree === "boot" && SHOWN_FILE.test(file.path)) return file;
  const { text, base64, ...rest } = file;
  return text === undefined && base64 === undefined ? rest : { ...rest, text: REDACTED };
}
