/**
 * Plain text tables: columns padded to their widest cell, two spaces between. Colour codes do not count as width. Columns
 * of `numbers` stand at the right.
 */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  numbers: readonly number[] = [],
): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => visibleLength(row[column] ?? ""))));
  return all
    .map((row) =>
      row
        .map((cell, column) => {
          const padding = " ".repeat((widths[column] ?? 0) - visibleLength(cell));
          return numbers.includes(column) ? padding + cell : cell + padding;
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** `[######------]` for a fraction from 0 to 1. */
export function progressBar(fraction: number, width = 12): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width);
  return `${"█".repeat(filled)}${"░".repeat(width - filled)}`;
}

const COLOURS = { red: 31, green: 32, yellow: 33, blue: 34, cyan: 36, dim: 2, bold: 1 } as const;

/** Colours text when a person is looking (a terminal, and NO_COLOR is not set). */
export function coloured(text: string, colour: keyof typeof COLOURS): string {
  const wanted = process.stdout.isTTY && !process.env.NO_COLOR;
  return wanted ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the terminal's own escape codes
const ESCAPE_CODES = /\u001b\[\d+m/g;

export function withoutColours(text: string): string {
  return text.replace(ESCAPE_CODES, "");
}

function visibleLength(text: string): number {
  return [...text.replace(ESCAPE_CODES, "")].length;
}

/** `1 node`, `2 nodes`. */
export function formatCount(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)} ms`;
  const seconds = durationMs / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
