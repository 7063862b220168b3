#!/bin/sh
# Fetch the stock Debian kernel that linux-image-amd64 stands for, and unpack it (it is never installed).
#
# usage: fetch-kernel.sh DIR
#
# Leaves in DIR:  vmlinuz  the bzImage
#                 vmlinux  the ELF kernel packed in it (saves the guest some seconds of unpacking under emulation)
#                 modules  a link to lib/modules/VERSION
#                 version  one line: what uname -r will say
# Does nothing when all of them are there already.
set -eu

die() { echo "fetch-kernel: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "one argument expected: the folder to fill"
mkdir -p "$1" || die "$1: cannot be made; choose a folder that can be written"
cd "$1"

if [ -s vmlinuz ] && [ -s vmlinux ] && [ -s version ] && [ -d modules/kernel ]; then
	exit 0
fi

for tool in apt-cache apt-get dpkg-deb xz od dd; do
	command -v "$tool" >/dev/null || die "$tool is missing; this script needs Debian and the packages of packages.txt"
done

package=$(apt-cache depends --important linux-image-amd64 2>/dev/null |
	sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || die "apt knows no linux-image-amd64; run apt-get update first"

deb=$(find . -maxdepth 1 -name "${package}_*.deb" | head -n 1)
if [ -z "$deb" ]; then
	# As root, apt drops to the user _apt, which can rarely write here: let it stay root.
	apt-get -q -o APT::Sandbox::User=root download "$package" >download.log 2>&1 ||
		die "$package: apt-get download failed, see $1/download.log; run apt-get update and try again"
	deb=$(find . -maxdepth 1 -name "${package}_*.deb" | head -n 1)
	[ -n "$deb" ] || die "$package: apt-get download left no file"
fi

rm -rf unpacked unpacked.new modules vmlinuz vmlinux version
dpkg-deb -x "$deb" unpacked.new || die "$deb: cannot be unpacked; remove it and try again"
mv unpacked.new unpacked
version=${package#linux-image-}
[ -d "unpacked/lib/modules/$version" ] || die "$deb holds no lib/modules/$version"
ln -s "unpacked/lib/modules/$version" modules
cp "unpacked/boot/vmlinuz-$version" vmlinuz

# The ELF kernel is the payload of the bzImage: an XZ stream and then its size in four bytes.
number() { # OFFSET SIZE: an unsigned little-endian number of the bzImage
	od -An -v -t "u$2" -j "$1" -N "$2" vmlinuz | tr -d ' '
}
sectors=$(number $((0x1f1)) 1)
[ "$sectors" -ne 0 ] || sectors=4
start=$(((sectors + 1) * 512 + $(number $((0x248)) 4)))
length=$(($(number $((0x24c)) 4) - 4))
dd if=vmlinuz bs=64k iflag=skip_bytes,count_bytes skip="$start" count="$length" status=none |
	xz -dc >vmlinux.new || die "vmlinuz: its payload is not XZ; vmlinux cannot be made"
[ "$(od -An -c -N 4 vmlinux.new | tr -d ' ')" = '177ELF' ] || die "vmlinuz: its payload is not an ELF file"
mv vmlinux.new vmlinux
echo "$version" >version
