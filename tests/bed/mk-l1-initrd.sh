#!/bin/sh
# Make the initramfs of VTL2's Linux (L1): busybox, KVM, the disks' drivers, two builds of holdfast in /a and /b, the
# guest's kernel and initramfs in /guest, the scenario.
#
# usage: mk-l1-initrd.sh --kernel KERNELDIR --guest-initrd FILE --scenario FILE --out FILE
#                        [--build-a DIR] [--build-b DIR] [--env NAME=VALUE]... [--file SOURCE:NAME]...
#
# A build folder holds the executables `holdfast` and `holdfast-partition` (others beside them named holdfast-* are
# taken too). --file puts a program or file into L1 as NAME. The scenario sees each --env, and runs as /scenario.sh.
set -eu
me=mk-l1-initrd
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

kernel='' guest='' scenario='' out='' a='' b='' files='' env=''
while [ $# -gt 0 ]; do
	[ $# -gt 1 ] || die "$1: its value is missing"
	case $1 in
	--kernel) kernel=$2 ;;
	--guest-initrd) guest=$2 ;;
	--scenario) scenario=$2 ;;
	--out) out=$2 ;;
	--build-a) a=$2 ;;
	--build-b) b=$2 ;;
	--file) files="$files $2" ;;
	--env) env="$env${2%%=*}='$(printf %s "${2#*=}" | sed "s/'/'\\\\''/g")'
" ;;
	*) die "$1: unknown option" ;;
	esac
	shift 2
done
[ -s "$kernel/version" ] || die "--kernel: no kernel there; run fetch-kernel.sh on it"
[ -s "$guest" ] || die "--guest-initrd: no such file; run mk-guest-initrd.sh"
[ -s "$scenario" ] || die "--scenario '$scenario': no such file"
[ -n "$out" ] || die "--out is missing"
need cpio ldd

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

libraries_of() { # PROGRAM...: copy the shared libraries they need to the same paths
	for program in "$@"; do
		ldd "$program" 2>/dev/null || true
	done | awk '/=> not found/ { print "missing " $1; next } { for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }' | sort -u >"$root.libs"
	if grep -q '^missing ' "$root.libs"; then
		die "$(sed -n 's/^missing //p' "$root.libs" | head -n 1): a shared library that a program needs is not installed"
	fi
	while read -r lib; do
		mkdir -p "$root$(dirname "$lib")"
		[ -e "$root$lib" ] || cp -L "$lib" "$root$lib"
	done <"$root.libs"
	rm -f "$root.libs"
}

build_into() { # DIR NAME
	for program in holdfast holdfast-partition; do
		[ -x "$1/$program" ] || die "$1: no executable $program; build first (meson compile)"
	done
	mkdir -p "$root/$2"
	for program in "$1"/holdfast "$1"/holdfast-*; do
		if [ -f "$program" ] && [ -x "$program" ]; then
			cp "$program" "$root/$2/"
			# Debug information would only fill L1's memory.
			strip --strip-debug "$root/$2/${program##*/}" 2>/dev/null || true
			libraries_of "$program"
		fi
	done
}

mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/etc" "$root/guest"
cp "$(busybox_static)" "$root/bin/busybox"
cp "$here/l1-init" "$root/init"
cp "$scenario" "$root/scenario.sh"
chmod 755 "$root/init" "$root/scenario.sh"
cp "$here/scenario-lib.sh" "$root/etc/scenario-lib.sh"
printf %s "$env" >"$root/etc/bed.env"
add_modules "$kernel" "$root" base irqbypass kvm kvm-amd virtio_pci virtio_blk crc32c_generic ext4
[ -z "$a" ] || build_into "$a" a
[ -z "$b" ] || build_into "$b" b
for file in $files; do
	mkdir -p "$root$(dirname "/${file#*:}")"
	cp "${file%%:*}" "$root/${file#*:}" || die "--file ${file%%:*}: cannot be copied"
	libraries_of "${file%%:*}"
done
cp "$guest" "$root/guest/initrd"
cp "$kernel/vmlinux" "$root/guest/vmlinux"

pack "$root" "$out"
