/** Language, time zone and keyboard, where the manifest sets them. */
import type { GeneratedFile } from "../generated-file.ts";
import { type GenerationInput, symlink, textFile } from "./placing.ts";

const REASON = "locale";

export function localeFiles({ manifest }: GenerationInput): GeneratedFile[] {
  const { locale, timezone, keymap } = manifest;
  const files: GeneratedFile[] = [];
  if (locale) {
    files.push(
      textFile("/etc/default/locale", `LANG=${locale}\n`, REASON),
      textFile("/etc/locale.conf", `LANG=${locale}\n`, REASON),
    );
  }
  if (timezone) {
    files.push(
      symlink("/etc/localtime", `/usr/share/zoneinfo/${timezone}`, REASON),
      textFile("/etc/timezone", `${timezone}\n`, REASON),
    );
  }
  if (keymap) {
    const keyboard = [
      'XKBMODEL="pc105"',
      `XKBLAYOUT="${keymap}"`,
      'XKBVARIANT=""',
      'XKBOPTIONS=""',
      'BACKSPACE="guess"',
      "",
    ];
    files.push(
      textFile("/etc/default/keyboard", keyboard.join("\n"), REASON),
      textFile("/etc/vconsole.conf", `KEYMAP=${keymap}\n`, REASON),
    );
  }
  return files;
}

/** Settings that the image cannot fulfil. A locale archive's contents are not looked into. */
export function localeWarnings({ manifest, root }: Pick<GenerationInput, "manifest" | "root">): string[] {
  const { locale, timezone } = manifest;
  const warnings: string[] = [];
  if (timezone && !root.exists(`/usr/share/zoneinfo/${timezone}`)) {
    warnings.push(`The image has no time zone ${timezone}; the node's clock will show UTC`);
  }
  const builtIn = locale === undefined || /^(C|POSIX)\b/.test(locale);
  const folder = locale?.replace(/\.utf-?8$/i, ".utf8");
  if (!builtIn && !root.exists("/usr/lib/locale/locale-archive") && !root.exists(`/usr/lib/locale/${folder}`)) {
    warnings.push(`The image has no locale ${locale}; programs will fall back to C`);
  }
  return warnings;
}
