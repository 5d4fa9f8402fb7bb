/**
 * What container programs do to a file system, in a virtual machine with a Linux NFS client: on ext4 in a file of its
 * root and a loop device, as nodes have it; on the same with direct I/O; on ext4 on a network block device of qemu-nbd;
 * on a tmpfs. All ext4 are made alike, and on the same disk of the host.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { applicationsImage } from "../../test/lab/nfs-applications-image.ts";
import { runMission } from "../../test/lab/nfs-virtual-machine.ts";
import { startQemuNbd } from "./nbd-server.ts";
import type { NfsServer } from "./nfs-servers.ts";

export const STORAGES = ["loop", "direct", "nbd", "memory"] as const;
export type Storage = (typeof STORAGES)[number];

/** `fsync`: 4 KiB in random order, each synced. `read`: the same, read, with nothing in memory. `write`: 1 MiB blocks. */
export const FIGURES = {
  fsync: "op/s",
  read: "op/s",
  write: "KiB/s",
  pull: "s",
  run: "s",
  remove: "s",
} as const;
export type Figure = keyof typeof FIGURES;
export type Figures = Record<Figure, number>;

const DEVICE_BYTES = 2 * 1024 ** 3;
const LAYERS = 3;
const FILES_PER_LAYER = 1000;
const FIO_S = 3;
const ROUNDS = 3;
const TIMEOUT_MS = 590_000;

/** In the Debian: /mnt is its NFS root, /srv has the archives of the layers. All are there at once, so that a slow minute of the machine is one of each. */
const workScript = (nbdPort: number) => `
set -e
make() { mkfs.ext4 -q -F -b 4096 -m 1 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 $1; }
options=noatime,noinit_itable
for storage in ${STORAGES.join(" ")}; do
  mkdir -p /media/$storage
  image=/mnt/$storage.ext4
  case $storage in
    loop) truncate -s ${DEVICE_BYTES} $image && make $image && mount -o loop,$options $image /media/loop ;;
    direct)
      truncate -s ${DEVICE_BYTES} $image && make $image
      device=$(losetup --find --show --direct-io=on $image)
      test $(losetup -n -O DIO $device) = 1
      mount -o $options $device /media/direct ;;
    nbd) /tmp/nbd-attach 10.0.2.2 ${nbdPort} && sleep 1 && make /dev/nbd0 && mount -o $options /dev/nbd0 /media/nbd ;;
    memory) mount -t tmpfs -o size=400m containers /media/memory ;;
  esac
done

fio_field() { name=$1 field=$2; shift 2; fio --name="$name" --output-format=terse --terse-version=3 --ioengine=psync "$@" | cut -d';' -f"$field"; }
seconds() { awk "BEGIN { print $EPOCHREALTIME - $1 }"; }
settled() { sync; echo 3 > /proc/sys/vm/drop_caches; }

synced_writes() {
  [ -e small ] || dd if=/dev/zero of=small bs=1M count=64 conv=fsync status=none
  settled
  echo "figure $1 fsync $(fio_field fsync 49 --filename=small --size=64M --rw=randwrite --bs=4k --fsync=1 --time_based --runtime=${FIO_S})"
}

large_file() {
  rm -f large
  settled
  echo "figure $1 write $(fio_field write 48 --filename=large --size=128M --rw=write --bs=1M --end_fsync=1)"
  settled
  echo "figure $1 read $(fio_field read 8 --filename=large --size=128M --rw=randread --bs=4k --time_based --runtime=${FIO_S})"
}

pull() {
  settled
  start=$EPOCHREALTIME
  for layer in $(seq ${LAYERS}); do
    mkdir -p layers/$layer
    tar -xf /srv/$layer.tar -C layers/$layer
    sync -f layers/$layer
  done
  echo "figure $1 pull $(seconds $start)"
}

run() {
  start=$EPOCHREALTIME
  for container in 1 2 3; do
    mkdir -p c$container/upper c$container/work c$container/merged
    mount -t overlay -o lowerdir=layers/3:layers/2:layers/1,upperdir=c$container/upper,workdir=c$container/work overlay c$container/merged
    cd c$container/merged
    mkdir new
    for number in $(seq 100); do echo $number > new/$number; done
    for number in $(seq 0 10 190); do echo changed >> 1/$number; done
    for number in $(seq 1 10 191); do mv 1/$number new/moved$number; done
    rm -r 1/*2
    sync -f .
    cd ../..
    umount c$container/merged
  done
  echo "figure $1 run $(seconds $start)"
}

remove() {
  start=$EPOCHREALTIME
  rm -r c1 c2 c3 layers
  sync -f .
  echo "figure $1 remove $(seconds $start)"
}

for round in $(seq ${ROUNDS}); do
  for piece in synced_writes large_file pull run remove; do
    for storage in ${STORAGES.join(" ")}; do
      cd /media/$storage
      $piece $storage
    done
  done
done
`;

const prepare = (nbdPort: number) => `
mkdir /debian && mount -t ext4 -o ro,noload /dev/vda /debian
for folder in dev proc sys mnt; do mount -o bind /$folder /debian/$folder; done
mount -t tmpfs tmp /debian/tmp && mount -t tmpfs media /debian/media && mount -t tmpfs -o size=300m layers /debian/srv && tar -xf /big -C /debian/srv
cat > /debian/tmp/work << 'END'
${workScript(nbdPort)}
END
cp /bin/nbd-attach /debian/tmp/
`;

/** One boot of the machine; of each figure the middle one of its rounds. */
export async function containerWork(
  server: NfsServer,
  folder: string,
  attach: string,
): Promise<Record<Storage, Figures>> {
  const work = mkdtempSync(join(folder, "machine-"));
  const nbd = await startQemuNbd(work, DEVICE_BYTES);
  try {
    const console = await runMission(join(work, "boot"), {
      port: server.nfsPort,
      mountPort: server.mountPort,
      path: server.path,
      disks: [applicationsImage()],
      modules: ["virtio_blk", "loop", "nbd", "overlay"],
      programs: { "nbd-attach": attach },
      big: archives(work),
      memoryMiB: 2048,
      timeoutMs: TIMEOUT_MS,
      onLine: (line) => line.startsWith("figure ") && process.stderr.write(`${line}\n`),
      prepare: prepare(nbd.port),
      checks: [
        { name: "work", command: "chroot /debian /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin bash /tmp/work" },
      ],
    });
    return figuresOf(console);
  } finally {
    await nbd.stop();
    rmSync(work, { recursive: true, force: true });
  }
}

function figuresOf(console: string): Record<Storage, Figures> {
  const middle = (storage: Storage, figure: Figure) => {
    const lines = [...console.matchAll(new RegExp(`^figure ${storage} ${figure} ([\\d.]+)\\s*$`, "gm"))];
    if (lines.length !== ROUNDS) throw new Error(`Cannot measure ${figure} on ${storage}:\n${console}`);
    return lines.map((line) => Number(line[1])).sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
  };
  const figures = Object.keys(FIGURES) as Figure[];
  const each = (storage: Storage) => figures.map((figure) => [figure, middle(storage, figure)]);
  return Object.fromEntries(STORAGES.map((storage) => [storage, Object.fromEntries(each(storage))])) as Record<
    Storage,
    Figures
  >;
}

/** An archive of the archives of the layers of an image: most files small, a few of some hundred KB, 40 MB in all. */
function archives(work: string): Uint8Array {
  const outer = join(work, "layers");
  mkdirSync(outer);
  for (let layer = 1; layer <= LAYERS; layer += 1) {
    const files = join(work, `layer${layer}`);
    for (let index = 0; index < FILES_PER_LAYER; index += 1) {
      const parent = join(files, `${layer}${index < 200 ? "" : `/folder${Math.floor(index / 100)}`}`);
      mkdirSync(parent, { recursive: true });
      writeFileSync(join(parent, `${index}`), Buffer.alloc(sizeOf(index), `${layer} ${index} `));
    }
    execFileSync("tar", ["-cf", join(outer, `${layer}.tar`), "-C", files, "."]);
  }
  execFileSync("tar", ["-cf", join(work, "layers.tar"), "-C", outer, "."]);
  return readFileSync(join(work, "layers.tar"));
}

function sizeOf(index: number): number {
  if (index % 20 === 0) return (index * 977) % 288_000;
  return index % 4 === 1 ? (index * 977) % 32_000 : (index * 37) % 4000;
}
