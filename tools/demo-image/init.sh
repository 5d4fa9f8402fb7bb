#!/bin/busybox sh
# The first program of the demo image's initramfs: network up, root over NFS, on to the real init.
# Reads root=/dev/nfs nfsroot=SERVER:/PATH[,OPTIONS] from the kernel's command line, as the kernel's own nfsroot does.
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /root
/bin/busybox --install -s /bin
export PATH=/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

say() { echo "initramfs: $*" > /dev/kmsg; }

give_up() {
  say "$*; restarting in 10 seconds"
  sleep 10
  reboot -f
}

nfsroot= init=/sbin/init access=ro
for word in $(cat /proc/cmdline); do
  case $word in
    nfsroot=*) nfsroot=${word#nfsroot=} ;;
    init=*) init=${word#init=} ;;
    rw | ro) access=$word ;;
  esac
done
[ -n "$nfsroot" ] || give_up "the kernel command line has no nfsroot="

while read -r module; do
  insmod "/lib/modules/$module.ko" || say "cannot load module $module"
done < /lib/modules/order

for attempt in 1 2 3 4 5 6 7 8 9 10; do
  [ -e /sys/class/net/eth0 ] && break
  sleep 1
done
[ -e /sys/class/net/eth0 ] || give_up "there is no eth0"
ip link set lo up
ip link set eth0 up
udhcpc -q -n -t 10 -T 2 -i eth0 -s /etc/udhcpc.sh > /dev/null || give_up "nobody answers DHCP"

source=${nfsroot%%,*}
server=${source%%:*}
options=addr=$server
case $nfsroot in *,*) options=$options,${nfsroot#*,} ;; esac
for attempt in 1 2 3 4 5 6; do
  say "mounting $source"
  # -i: by mount(2) with text options, which the kernel takes as they are.
  mount -i -t nfs -o "$access,$options" "$source" /root && break
  sleep 2
done
[ -x "/root$init" ] || [ -L "/root$init" ] || give_up "cannot mount $source, or it has no $init"

say "root is $source, starting $init"
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root "$init"
