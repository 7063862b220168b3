#!/bin/sh
# sg3_utils against Holdfast's disk, in the bed, and against a reference: the same commands of the same stock kernel to
# QEMU's scsi-hd, in the same QEMU on one level. The table of differences is written; each must have its reason in
# sg-differences.txt, and each reason its difference.
#
# usage: sg.sh BUILD-A OUT      (OUT/differences.txt is the table; OUT/holdfast.txt, OUT/reference.txt: all that was said)
set -eu
me=sg
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
[ $# -eq 2 ] || die "two arguments expected: a build, and a folder for the output"
out=$2
cache=${HOLDFAST_BED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast-bed}
need cpio ldd python3 sg_inq
mkdir -p "$out"
rm -f "$out/holdfast.txt" "$out/reference.txt" "$out/differences.txt"

# What comes on top of the guest's initramfs: the tools that the list names, their libraries, the list.
overlay() {
	root=$(mktemp -d)
	mkdir -p "$root/bin"
	cp "$here/sg-run.sh" "$here/sg-commands.txt" "$root/"
	for tool in $(grep -v '^#' "$here/sg-commands.txt" "$here/sg-run.sh" -h | grep -o -w 'sg_[a-z_0-9]*' | sort -u); do
		path=$(command -v "$tool") || die "$tool is missing; install the packages of packages.txt"
		cp "$path" "$root/bin/"
		ldd "$path" | tr ' \t' '\n\n' | grep '^/'
	done | sort -u >"$out/libraries"
	while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done <"$out/libraries"
	pack "$root" "$1"
	rm -rf "$root" "$out/libraries"
}

# The one that run-bed.sh made; it is asked first, so that there is one.
guest_initrd() { find "$cache" -maxdepth 1 -name 'guest-*.cpio' | head -n 1; }

# said RAW TEXT: what sg-run.sh put on the disk.
said() {
	tr -d '\0' <"$1" | sed '/^over$/q' >"$2"
	tail -n 1 "$2" | grep -q '^over$' || die "$1: not everything was asked; $2 ends early"
}

reference() {
	cat "$(guest_initrd)" "$out/sg.cpio" >"$out/initrd"
	rm -f "$out/sg.img" "$out/reference.img" "$out/in"
	truncate -s 48M "$out/sg.img"
	truncate -s 64M "$out/reference.img"
	mkfifo "$out/in"
	# What scsi-hd can be told about itself is told as Holdfast's disk has it; the rest is what is compared.
	serial=$(sed -n 's/^| *Unit serial number: *//p' "$out/holdfast.txt" | head -n 1)
	same="lun=0,vendor=Holdfast,product=Virtual Disk,ver=0001,serial=$serial,device_id=$serial,scsi_version=6,wwn=0x5000000000000001"
	same="$same,physical_block_size=4096,rotation_rate=1,dpofua=on,min_io_size=4096,opt_io_size=524288,max_io_size=524288"
	timeout -k 5 120 "$cache/qemu/run" -machine q35 -accel tcg,thread=single -cpu EPYC -smp 1 -m 512 \
		-nodefaults -display none -serial stdio -no-reboot -kernel "$cache/kernel/vmlinux" -initrd "$out/initrd" \
		-append "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off hf.bus=virtio hf.load=no" \
		-device virtio-scsi-pci,id=asked -drive "if=none,id=sg,file=$out/sg.img,format=raw,discard=unmap" \
		-device "scsi-hd,bus=asked.0,drive=sg,$same" \
		-device virtio-scsi-pci,id=other -drive "if=none,id=out,file=$out/reference.img,format=raw" \
		-device scsi-hd,bus=other.0,drive=out \
		<"$out/in" >"$out/reference.log" 2>"$out/reference.err" &
	qemu=$!
	exec 9>"$out/in"
	await 'HFGUEST ready' 60
	echo 'sh cd /sys/block; by() { grep -l "^$1$" sd*/size | cut -d / -f 1; }; sh /sg-run.sh /dev/$(by 98304) /dev/$(by 131072)' >&9
	await 'HFGUEST sh rc=0' 90
	echo stop >&9
	wait $qemu || die "QEMU did not end well; see $out/reference.log"
	exec 9>&-
	said "$out/reference.img" "$out/reference.txt"
	rm -f "$out/in" "$out/initrd" "$out/sg.img" "$out/reference.img"
}

await() { # PATTERN SECONDS
	tries=0
	until grep -q -a "$1" "$out/reference.log"; do
		tries=$((tries + 1))
		if [ $tries -gt $(($2 * 5)) ] || ! kill -0 $qemu 2>/dev/null; then
			kill $qemu 2>/dev/null || true
			die "the reference's guest does not say '$1'; see $out/reference.log"
		fi
		sleep 0.2
	done
}

overlay "$out/sg.cpio"
status=0
"$here/run-bed.sh" --scenario "$here/scenario-sg.sh" --out "$out/bed" --cache "$cache" --timeout 240 --attempts 2 --vps 1 --ext4-mb 32 \
	--build-a "$1" --file "$out/sg.cpio:sg.cpio" || status=$?
case $status in
0) ;;
75 | 124 | 125) exit 77 ;; # the emulator lost every machine
*)
	tail -n 40 "$out/bed/console.log"
	exit $status
	;;
esac
said "$out/bed/raw.img" "$out/holdfast.txt"
reference
rm -f "$out/sg.cpio"
python3 -B "$here/sg-compare.py" "$out/holdfast.txt" "$out/reference.txt" "$here/sg-differences.txt" "$out/differences.txt"
