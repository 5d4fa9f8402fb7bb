#!/bin/sh
# Shows FAT volumes as the Linux vfat driver sees them. Run by vfat-kernel.ts, as root or as init of a user-mode kernel.
#
#   vfat-kernel.sh FOLDER
#
# FOLDER/*/volume: a FAT volume; FOLDER/*/place: its offset and size in that file; FOLDER/*/script: shell commands to run
# inside it first, if there. Writes FOLDER/*/listing: type, mode, links, size, 512-byte blocks, mtime, atime, path of each
# entry, and FOLDER/*/hashes: what sha256sum says. The last thing written is FOLDER/done.
set -u
folder=$1
if [ $$ = 1 ]; then
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin
  mount -t proc proc /proc
  mount -t tmpfs tmpfs /mnt
  for module in loop fat vfat nls_cp437 nls_iso8859-1 nls_utf8; do
    find "/usr/lib/uml/modules/$(uname -r)" -name "$module.ko" -exec insmod {} \;
  done
  mknod /mnt/loop b 7 0
  device=/mnt/loop
else
  device=$(losetup --find)
fi
mountPoint=$(mktemp -d /mnt/vfat-XXXXXX)
options=uid=0,gid=0,umask=0022,utf8=1,tz=UTC

with_mount() {
  read -r offset size <"$case/place"
  losetup -o "$offset" --sizelimit "$size" "$device" "$case/volume" &&
    mount -t vfat -o "$options,$1" "$device" "$mountPoint" || exit 1
  (cd "$mountPoint" && $2) 2>>"$case/errors"
  umount "$mountPoint" && losetup -d "$device"
}
prepare() { sh -e "$case/script"; }
list() {
  find . -printf '%y %m %n %s %b %T@ %A@ %p\0' >"$case/listing"
  find . -type f -exec sha256sum -z {} + >"$case/hashes"
  stat -f -c '%b %f %S' . >"$case/space"
}

for case in "$folder"/*/; do
  case=${case%/}
  [ -e "$case/script" ] && with_mount rw prepare
  with_mount ro list
done
rmdir "$mountPoint"
sync
: >"$folder/done"
if [ $$ = 1 ]; then
  umount /mnt
  poweroff -f 2>/dev/null || echo o >/proc/sysrq-trigger
  sleep 10
fi
