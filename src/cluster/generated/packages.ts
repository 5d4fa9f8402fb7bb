/**
 * `packages:` on the node: a service that installs what is missing with apt, beside the boot and not before it. It tries
 * again until it could: a node may be up before its way to the archive is.
 */
import type { GeneratedFile } from "../generated-file.ts";
import { enableUnit, type GenerationInput, textFile } from "./placing.ts";
import { SETTING_REPORT_FOLDER, UP_SCRIPT_PATH } from "./up-report.ts";

const REASON = "packages";
const SCRIPT_PATH = "/usr/lib/bramble/packages";
const UNIT = "bramble-packages.service";
const APT_PATHS = ["/usr/bin/apt-get", "/bin/apt-get"];
/** Another apt may be at work: unattended-upgrades takes minutes on a Pi. */
const LOCK_TIMEOUT_S = 600;
const RETRY_S = 120;

/** Those for all, then the node's own. */
export function packagesOf({ manifest, node }: Pick<GenerationInput, "manifest" | "node">): string[] {
  return [...new Set([...manifest.packages, ...node.packages])];
}

export function packageFiles(input: GenerationInput): GeneratedFile[] {
  const packages = packagesOf(input);
  if (packages.length === 0 || !canInstall(input)) return [];
  const unitPath = `/etc/systemd/system/${UNIT}`;
  return [
    textFile(SCRIPT_PATH, script(packages), REASON, { mode: 0o755 }),
    textFile(unitPath, UNIT_TEXT, REASON),
    enableUnit(UNIT, unitPath, REASON),
  ];
}

function canInstall({ facts, root }: GenerationInput): boolean {
  return facts.init === "systemd" && APT_PATHS.some((path) => root.exists(path));
}

export function packageWarnings(input: GenerationInput): string[] {
  const { node, rootMode } = input;
  if (packagesOf(input).length === 0) return [];
  if (!canInstall(input)) {
    return [`The image of ${node.name} has no systemd or no apt-get: packages: installs nothing there`];
  }
  if (rootMode === "persistent") return [];
  return [
    `Packages of ${node.name} are installed again at each boot, as its root does not outlive one (root: ${rootMode})`,
  ];
}

/** Not a oneshot: multi-user.target would wait for it. */
const UNIT_TEXT = `[Unit]
Description=Install the packages of the manifest
StartLimitIntervalSec=0

[Service]
ExecStart=${SCRIPT_PATH}
Restart=on-failure
RestartSec=${RETRY_S}
# A package must not be left half installed.
TimeoutStopSec=600
KillMode=process

[Install]
WantedBy=multi-user.target
`;

const script = (packages: readonly string[]) => `#!/bin/sh
# Installs what is missing of the packages of the manifest, and reports how that went. Ends well when there is no more to try.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND
packages="${packages.join(" ")}"
report=${SETTING_REPORT_FOLDER}/packages
said=/run/bramble/packages.said

# Once the manager knows that the node is up, it hears of each change.
tell() {
  before=
  [ ! -e "$report" ] || read -r before < "$report"
  echo "$1" > "$report.new" && mv "$report.new" "$report"
  [ "$1" = "$before" ] || ${UP_SCRIPT_PATH} settings
}

missing() {
  for package in $packages; do
    [ "$(dpkg-query -W -f '\${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || echo "$package"
  done
}

apt() {
  apt-get -q -y -o DPkg::Lock::Timeout=${LOCK_TIMEOUT_S} -o Acquire::Retries=2 -o APT::Keep-Downloaded-Packages=false \\
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" 2>&1
}

mkdir -p "\${report%/*}"
wanted=$(missing)
[ -n "$wanted" ] || { tell ready; exit 0; }
[ -e "$report" ] || tell installing
echo "Missing:" $wanted
# What a power cut left half done would be in the way.
dpkg --configure -a
updated=yes
apt -o APT::Update::Error-Mode=any update || updated=no
apt install $wanted > "$said"
status=$?
cat "$said"
[ "$status" != 0 ] || [ -n "$(missing)" ] || { tell ready; exit 0; }
if grep -qi "No space left\\|not have enough free space\\|quota exceeded" "$said"; then
  tell no-space
elif [ "$updated" = no ]; then
  tell no-archive
elif grep -q "Unable to locate package\\|has no installation candidate" "$said"; then
  # Trying again would ask the archive every few minutes for ever.
  tell unknown
  exit 0
else
  tell failed
fi
exit 1
`;
