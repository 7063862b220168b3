#!/bin/sh
# Run a scenario in the nested bed: QEMU (software emulation, with SVM) boots VTL2's Linux, in which /dev/kvm is real,
# and that runs the scenario.
#
# usage: run-bed.sh --scenario FILE --out DIR [--build-a DIR] [--build-b DIR] [--timeout SECONDS] [--vps N]
#                   [--cpus N] [--cache DIR] [--env NAME=VALUE]... [--file SOURCE:NAME]... [--append WORDS] [--raw-mb N] [--ext4-mb N]
#                   [--result-mb N] [--keep-disks]
#
# DIR gets console.log (all that L1 said), silent.log (the CPU's registers, three times, of a machine that fell silent), and
# the disks as the run left them: raw.img (L1's /dev/vda) and ext4.img (/dev/vdb, with a fresh ext4 unless --keep-disks).
# WORDS go to L1's kernel. --result-mb: /dev/vdc of that size, on which a scenario may leave an archive of tar; it is
# unpacked in DIR/result. Lines that start with HF are shown as they come.
# Exit status: the scenario's; 124 if the time was up; 125 if L1 ended without a word; 1 if it could not be started.
set -eu
me=run-bed
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

scenario='' out='' timeout=240 attempts=3 vps=2 cpus=1 raw_mb=64 ext4_mb=64 result_mb=0 keep=no append='' cache=${HOLDFAST_BED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast-bed}
n=0
while [ $# -gt 0 ]; do
	if [ "$1" = --keep-disks ]; then
		keep=yes
		shift
		continue
	fi
	[ $# -gt 1 ] || die "$1: its value is missing"
	case $1 in
	--scenario) scenario=$2 ;;
	--out) out=$2 ;;
	--timeout) timeout=$2 ;;
	--attempts) attempts=$2 ;;
	--vps) vps=$2 ;;
	--cpus) cpus=$2 ;;
	--append) append=$2 ;;
	--cache) cache=$2 ;;
	--raw-mb) raw_mb=$2 ;;
	--ext4-mb) ext4_mb=$2 ;;
	--result-mb) result_mb=$2 ;;
	--build-a | --build-b | --env | --file)
		n=$((n + 1))
		eval "pass_$n=\$1 pass_value_$n=\$2"
		;;
	*) die "$1: unknown option" ;;
	esac
	shift 2
done
[ -n "$scenario" ] || die "--scenario is missing"
[ -n "$out" ] || die "--out is missing"
need qemu-system-x86_64 mkfs.ext4 truncate timeout cpio xz sha256sum
mkdir -p "$out" "$cache"

"$here/fetch-kernel.sh" "$cache/kernel"
"$here/fetch-qemu.sh" "$cache/qemu"
echo "HFBED emulator: $(cat "$cache/qemu/from")"
export LC_ALL=C

# The guest's initramfs is kept by what it is made of.
key=$(cat "$cache/kernel/version" "$here/../guest/"* "$here/mk-guest-initrd.sh" "$here/lib.sh" | sha256sum | cut -c 1-16)
guest=$cache/guest-$key.cpio
if [ ! -s "$guest" ]; then
	rm -f "$cache"/guest-*.cpio
	"$here/mk-guest-initrd.sh" "$cache/kernel" "$guest"
fi

set -- --kernel "$cache/kernel" --guest-initrd "$guest" --scenario "$scenario" --out "$out/l1.cpio" --env "HF_VPS=$vps"
i=0
while [ $i -lt $n ]; do
	i=$((i + 1))
	eval "set -- \"\$@\" \"\$pass_$i\" \"\$pass_value_$i\""
done
"$here/mk-l1-initrd.sh" "$@"

make_disks() {
	if [ $keep = no ]; then
		rm -f "$out/raw.img" "$out/ext4.img"
		truncate -s "${raw_mb}M" "$out/raw.img"
		truncate -s "${ext4_mb}M" "$out/ext4.img"
		mkfs.ext4 -q -F -m 0 "$out/ext4.img"
	fi
	rm -rf "$out/result" "$out/result.img"
	[ "$result_mb" = 0 ] || truncate -s "${result_mb}M" "$out/result.img"
	for disk in raw ext4; do
		[ -s "$out/$disk.img" ] || die "$out/$disk.img is missing; run once without --keep-disks"
	done
}

# One line of the console is of interest to people if it starts with HF (a kernel message may precede it) or tells
# that the kernel is in trouble. HFGAP and HFLOAD are for programs, and long.
show='HF[A-Z]+ |Kernel panic|BUG:|Oops|WARNING: CPU|qemu-system'

# unpack: what the scenario left on its third disk.
unpack() {
	[ "$result_mb" != 0 ] || return 0
	mkdir -p "$out/result"
	tar -C "$out/result" -xf "$out/result.img" 2>"$out/result.err" || echo "$me: no archive was left on /dev/vdc, see $out/result.err" >&2
	rm -f "$out/result.img"
}

threads=$([ "$cpus" = 1 ] && echo single || echo multi)
result=''
[ "$result_mb" = 0 ] || result="-drive if=none,id=result,file=$out/result.img,format=raw,cache=writeback -device virtio-blk-pci,drive=result"
console=$out/console.log
trap 'rm -f "$out/l1.cpio" "$out/qemu.status" "$out/monitor"' EXIT

# One run of the emulated machine; the status that it told, 124 (time is up), 125 (it died), or 1.
machine() {
	: >"$console"
	rm -f "$out/qemu.pid"
	# L1 speaks after 3 to 8 s, and no wait of a scenario is longer than 150 s: one that is silent for longer is dead.
	(
		silent=0 before=0
		while [ $silent -lt 160 ]; do
			sleep 1
			silent=$((silent + 1))
			now=$(wc -c <"$console")
			[ "$now" = "$before" ] || silent=0
			[ "$now" -gt 0 ] || [ $silent -lt 60 ] || break
			before=$now
		done
		for _ in 1 2 3; do
			"$here/ask-qemu.py" "$out/monitor" "info registers" "info lapic" || true
		done >"$out/silent.log" 2>&1
		kill "$(cat "$out/qemu.pid")"
	) >/dev/null 2>&1 &
	watchdog=$!
	{
		status=0
		# One CPU and one thread, tsc=reliable: README.md, what the emulator does to machines.
		# Without tsc=reliable KVM holds the emulated TSC for unstable and gives each VP a time of its own.
		# -xsave: TCG does not intercept XSETBV, so a nested guest would read stale sizes of the XSAVE area and warn.
		# cache=writeback: L1 may use O_DIRECT, and its flushes reach the host's disk.
		timeout -k 5 "$timeout" "$cache/qemu/run" -machine q35 -accel "tcg,thread=$threads" -cpu EPYC,+svm,+npt,-xsave -smp "$cpus" -m 1536 \
			-nodefaults -display none -serial stdio -no-reboot -pidfile "$out/qemu.pid" \
			-monitor "unix:$out/monitor,server=on,wait=off" \
			-kernel "$cache/kernel/vmlinux" -initrd "$out/l1.cpio" \
			-append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off cryptomgr.notests tsc=reliable nokaslr $append" \
			-drive "if=none,id=raw,file=$out/raw.img,format=raw,cache=writeback" -device virtio-blk-pci,drive=raw \
			-drive "if=none,id=ext4,file=$out/ext4.img,format=raw,cache=writeback" -device virtio-blk-pci,drive=ext4 $result \
			</dev/null 2>"$out/qemu.err" || status=$?
		echo "$status" >"$out/qemu.status"
	} | sed -u 's/\r//g' | tee "$console" | { grep --line-buffered -a -E "$show" || true; } | cut -c 1-240

	kill $watchdog 2>/dev/null || true
	qemu=$(cat "$out/qemu.status" 2>/dev/null || echo 1)
	told=$(sed -n 's/^.*HFBED exit=\([0-9][0-9]*\)$/\1/p' "$console" | tail -n 1)
	last=$(grep -a -v '^[[:space:]]*$' "$console" | tail -n 1 | cut -c 1-200)
	if [ -n "$told" ]; then
		return "$told"
	elif [ "$qemu" = 124 ] || [ "$qemu" = 137 ]; then
		echo "$me: time is up ($timeout s); the last line was: ${last:-none}; all of it is in $console" >&2
		return 124
	elif [ "$qemu" != 0 ] && grep -a -q 'HFBED l1' "$console"; then
		grep -v 'TCG doesn.t support' "$out/qemu.err" >&2 || true
		die "QEMU ended with status $qemu"
	fi
	[ -s "$out/qemu.pid" ] || grep -v 'TCG doesn.t support' "$out/qemu.err" >&2 || true
	echo "$me: L1 ended without telling a status; the last line was: ${last:-none}; all of it is in $console" >&2
	return 125
}

# A machine can still be lost in the emulator (README.md: what it does to machines). A scenario bounds all its waits and
# always tells a status, so a run without one (124, 125) lost L1; 75 is a guest that never came up. Such a run says nothing
# about what is tested and is made again. What a scenario calls a failure is never tried again.
lost() {
	case $1 in
	75 | 124 | 125) true ;;
	*) false ;;
	esac
}

attempt=1
while :; do
	make_disks
	status=0
	machine || status=$?
	if ! lost $status || [ $attempt -ge "$attempts" ]; then
		unpack
		exit $status
	fi
	echo "$me: the emulated machine was lost (status $status); attempt $((attempt + 1)) of $attempts" >&2
	cp "$console" "$out/console.lost.$attempt.log"
	attempt=$((attempt + 1))
done
