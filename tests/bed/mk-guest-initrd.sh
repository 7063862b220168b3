#!/bin/sh
# Make the initramfs of the VTL0 guest: busybox, the kernel's own drivers, hfload, tests/guest/init.
#
# usage: mk-guest-initrd.sh KERNELDIR OUT      (KERNELDIR as fetch-kernel.sh leaves it)
set -eu
me=mk-guest-initrd
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

[ $# -eq 2 ] || die "two arguments expected: KERNELDIR OUT"
[ -s "$1/version" ] || die "$1: no kernel there; run fetch-kernel.sh on it"
need cpio "${CC:-gcc}"
kernel=$(cd "$1" && pwd)
out=$2
mkdir -p "$(dirname "$out")"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys"
cp "$(busybox_static)" "$root/bin/busybox"
"$here/../guest/build.sh" "$root/build"
mv "$root/build/hfload" "$root/build/hfverify" "$root/build/hfkexec" "$root/build/hfspin" "$root/bin/"
rm -r "$root/build"
cp "$here/../guest/init" "$root/init"
# What the kernel runs when the host asks the guest to shut down.
mkdir "$root/sbin"
printf '#!/bin/sh\nkill -TERM 1\n' >"$root/sbin/poweroff"
chmod 755 "$root/init" "$root/sbin/poweroff"

# sd_mod and ext4 look up checksums by name when they start: those modules come first.
add_modules "$kernel" "$root" base crct10dif_common crct10dif_generic crc64_rocksoft_generic sd_mod sr_mod crc32c_generic ext4
add_modules "$kernel" "$root" vmbus hv_vmbus hv_storvsc
add_modules "$kernel" "$root" virtio virtio_pci virtio_scsi
# Shutdown, heartbeat, time: loaded with vmbus, after the disks' driver.
add_modules "$kernel" "$root" hv_utils hv_utils
# For hf.mods=
add_modules "$kernel" "$root" hv_netvsc hv_netvsc

pack "$root" "$out"
