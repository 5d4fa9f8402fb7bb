/**
 * `swap:` on the node: a unit that swaps to compressed memory by the kernel's zram, without packages; and whatever makes
 * swap in the image switched off. Swap files never work here (`first-boot.ts`).
 */
import type { GeneratedFile, ImageFiles } from "../generated-file.ts";
import type { SwapSize, SwapWish } from "../manifest-swap.ts";
import { enableUnit, type GenerationInput, hasUnit, maskUnit, textFile } from "./placing.ts";
import { SETTING_REPORT_FOLDER } from "./up-report.ts";

const REASON = "swap";
const SCRIPT_PATH = "/usr/lib/bramble/swap";
const UNIT_PATH = "/etc/systemd/system/bramble-swap.service";
/** Of zram-tools. */
const OTHER_UNITS = ["zramswap.service"];
/** Of systemd-zram-generator: an empty file means no devices. */
const ZRAM_GENERATOR_CONF = "systemd/zram-generator.conf";
const RPI_SWAP_PLACES = ["/etc/rpi/swap.conf", "/usr/lib/systemd/system-generators/rpi-swap-generator"];

export function swapOf({ manifest, node }: Pick<GenerationInput, "manifest" | "node">): SwapWish | undefined {
  return node.swap ?? manifest.swap;
}

export function swapFiles(input: GenerationInput): GeneratedFile[] {
  const { facts, root } = input;
  const wish = swapOf(input);
  const raspberryPi = raspberryPiSwap(root, wish === undefined ? "zram" : "none");
  if (wish === undefined || facts.init !== "systemd") return raspberryPi;
  const generator = ["/etc", "/usr/lib"].some((folder) => root.exists(`${folder}/${ZRAM_GENERATOR_CONF}`));
  return [
    ...raspberryPi,
    ...OTHER_UNITS.filter((unit) => hasUnit(root, unit)).map((unit) => maskUnit(unit, REASON)),
    ...(generator ? [textFile(`/etc/${ZRAM_GENERATOR_CONF}`, "", REASON)] : []),
    ...(wish.kind === "zram" ? zramFiles(wish.size) : []),
  ];
}

/** Raspberry Pi OS trixie makes zram and a file by default; without a word of the manifest, zram alone. */
function raspberryPiSwap(root: ImageFiles, mechanism: "zram" | "none"): GeneratedFile[] {
  if (!RPI_SWAP_PLACES.some((path) => root.exists(path))) return [];
  return [textFile("/etc/rpi/swap.conf.d/90-bramble.conf", `[Main]\nMechanism=${mechanism}\n`, REASON)];
}

function zramFiles(size: SwapSize): GeneratedFile[] {
  return [
    textFile(SCRIPT_PATH, script(size), REASON, { mode: 0o755 }),
    textFile(UNIT_PATH, UNIT_TEXT, REASON),
    enableUnit("bramble-swap.service", UNIT_PATH, REASON, "swap.target"),
  ];
}

export function swapWarnings(input: GenerationInput): string[] {
  const { node, facts } = input;
  if (swapOf(input) === undefined || facts.init === "systemd") return [];
  return [`The image of ${node.name} has no systemd: swap: does nothing there`];
}

const UNIT_TEXT = `[Unit]
Description=Swap to compressed memory
DefaultDependencies=no
Conflicts=shutdown.target
After=systemd-remount-fs.service systemd-modules-load.service
Before=swap.target shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=60
ExecStart=${SCRIPT_PATH}

[Install]
WantedBy=swap.target
`;

const script = (size: SwapSize) => `#!/bin/sh
# Swaps to a part of the memory where pages are compressed (swap: in the manifest), and reports how that went.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
report=${SETTING_REPORT_FOLDER}/swap

say() {
  mkdir -p "\${report%/*}"
  echo "$1" > "$report.new" && mv "$report.new" "$report"
}

# A word for the manager, and what a program said for the journal.
fail() {
  echo "Swap failed ($1): $2" >&2
  say "$1"
  exit 1
}

${"bytes" in size ? `size_kib=${Math.floor(size.bytes / 1024)}` : MEMORY_PART(size.percent)}

while read -r place rest; do
  case $place in /dev/zram*) say ready; exit 0 ;; esac
done < /proc/swaps

modprobe -q zram
[ -e /sys/class/zram-control/hot_add ] || fail no-zram
read -r number < /sys/class/zram-control/hot_add || fail failed "the kernel gives no device"
said=$({ echo "\${size_kib}K" > "/sys/block/zram$number/disksize" && mkswap "/dev/zram$number" &&
  swapon -p 100 "/dev/zram$number"; } 2>&1) || fail failed "$said"
say ready
`;

const MEMORY_PART = (percent: number) => `while read -r key value unit; do
  [ "$key" = MemTotal: ] && size_kib=$((value / 100 * ${percent}))
done < /proc/meminfo`;
