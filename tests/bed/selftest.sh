#!/bin/sh
# Proves the bed without holdfast: KVM in L1, the load on L1's disk, its check from outside, and that the check sees
# one flipped byte; then the guest's own initramfs, in a plain QEMU with virtio disks.
#
# usage: selftest.sh OUT
set -eu
me=bed-selftest
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
[ $# -eq 1 ] || die "one argument expected: a folder for the output"
out=$1
cache=${HOLDFAST_BED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast-bed}
need debugfs e2fsck
mkdir -p "$out"
"$here/../guest/build.sh" "$out/bin"
"${CC:-gcc}" -std=c17 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -static -o "$out/bin/kvm-hlt" "$here/kvm-hlt.c"

"$here/run-bed.sh" --scenario "$here/scenario-selftest.sh" --out "$out/l1" --cache "$cache" --timeout 90 \
	--file "$out/bin/kvm-hlt:kvm-hlt" --file "$out/bin/hfload:hfload" || die "the scenario failed with $?"
"$out/bin/hfverify" "$out/l1/raw.img"
cp "$out/l1/raw.img" "$out/flipped.img"
old=$(od -An -tu1 -j 9000123 -N 1 "$out/flipped.img" | tr -d ' ')
printf "\\$(printf %o $((old ^ 1)))" | dd of="$out/flipped.img" bs=1 seek=9000123 conv=notrunc status=none
if "$out/bin/hfverify" "$out/flipped.img"; then
	die "one flipped bit was not noticed by hfverify"
fi
rm -f "$out/flipped.img"

# The guest's initramfs without holdfast.
guest=$(find "$cache" -maxdepth 1 -name 'guest-*.cpio' | head -n 1)
truncate -s 64M "$out/raw.img"
rm -f "$out/ext4.img"
truncate -s 64M "$out/ext4.img"
mkfs.ext4 -q -F "$out/ext4.img"
mkfifo "$out/in.$$" "$out/done.$$"
trap 'rm -f "$out/in.$$" "$out/done.$$"' EXIT
timeout -k 5 90 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu EPYC -smp 2 -m 512 \
	-nodefaults -display none -serial stdio -no-reboot -kernel "$cache/kernel/vmlinux" -initrd "$guest" \
	-append "console=ttyS0 quiet panic=-1 hf.bus=virtio" -device virtio-scsi-pci \
	-drive "if=none,id=a,file=$out/raw.img,format=raw" -device scsi-hd,drive=a \
	-drive "if=none,id=b,file=$out/ext4.img,format=raw" -device scsi-hd,drive=b \
	<"$out/in.$$" >"$out/guest.log" 2>"$out/guest.err" &
qemu=$!
exec 9>"$out/in.$$"
tries=0
until grep -q -a 'HFGUEST running' "$out/guest.log"; do
	tries=$((tries + 1))
	[ $tries -lt 120 ] && kill -0 $qemu 2>/dev/null || { kill $qemu 2>/dev/null; die "the guest did not start its load; see $out/guest.log"; }
	sleep 0.5
done
sleep 4
echo 'sh echo hello from $(uname -s)' >&9
echo stop >&9
wait $qemu || die "the guest did not power off; see $out/guest.log"
exec 9>&-
grep -a -E 'HFGUEST' "$out/guest.log"
grep -q -a 'HFGUEST done status=ok kernel_errors=0 kernel_warnings=0' "$out/guest.log" || die "the guest ended with errors; see $out/guest.log"
"$out/bin/hfverify" "$out/raw.img"
e2fsck -fn "$out/ext4.img" >"$out/fsck.log" 2>&1 || die "the ext4 file system is damaged; see $out/fsck.log"
debugfs -R "dump /hfload.dat $out/file.dat" "$out/ext4.img" 2>/dev/null
"$out/bin/hfverify" "$out/file.dat"
echo "$me: ok"
