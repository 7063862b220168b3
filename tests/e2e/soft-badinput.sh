#!/bin/bash
# What the operator can get wrong: each is one line that says what, where and
# what to do, ends with 1 or 2, and leaves nothing behind. Needs root for the
# cases with /dev/kvm, permissions and full file systems (in a mount namespace
# of their own).
. "$(dirname "$0")/lib.sh"
cd "$WORK"
export STATE
[ "$(id -u)" -eq 0 ] || fail "run as root"
truncate -s 1M good good2
truncate -s 1000 odd
truncate -s 0 empty
mkdir dir
printf 'not a kernel' | dd of=text conv=sync bs=4096 2>/dev/null
install -m 644 "$SOFTLOAD" unexecutable
cases=0

# refused STATUS "WORDS"... -- COMMAND...: one line with all the words, that status,
# no new file, no process.
refused() {
	local want=$1 status words=() before after
	shift
	while [ "$1" != -- ]; do words+=("$1"); shift; done
	shift
	before=$(ls -A "$WORK")
	status=0
	timeout 60 bash -c '"$@"' - "$@" >out 2>err </dev/null || status=$?
	rm -f out
	after=$(ls -A "$WORK" | grep -vx err)
	[ "$status" -eq "$want" ] || { cat err; fail "$*: status $status, not $want"; }
	[ "$(wc -l <err)" -eq 1 ] || { cat err; fail "$*: not one line"; }
	[ "$(wc -c <err)" -le 300 ] || { cat err; fail "$*: the line is too long"; }
	grep -q '^holdfast: ' err || { cat err; fail "$*: who says so?"; }
	for word in "${words[@]}"; do
		grep -qF -- "$word" err || { cat err; fail "$*: '$word' is not said"; }
	done
	[ "$before" = "$after" ] || fail "$*: left behind: $(diff <(echo "$before") <(echo "$after"))"
	sed 's/^holdfast: /  /' err
	rm -f err
	cases=$((cases + 1))
}

soft() { echo "$A" run --backend soft --state "$STATE" --memory 64M; }
kvm() { echo "$A" run --backend kvm --state "$STATE" --memory 64M; }

echo "kernel and initrd"
refused 2 --kernel missing -- $(soft)
refused 1 "--kernel $WORK/no" "No such file" "give a readable file" -- $(soft) --kernel "$WORK/no"
refused 1 "--kernel dir" "not a regular file" -- $(soft) --kernel dir
refused 1 "--kernel empty" "empty" -- $(soft) --kernel empty
refused 1 "--kernel text" "no x86-64 program" -- $(soft) --kernel text
refused 1 "--kernel unexecutable" "chmod" -- $(soft) --kernel unexecutable
refused 1 "--kernel text" "neither a bzImage" -- $(kvm) --kernel text
refused 1 "--kernel good" "neither a bzImage" -- $(kvm) --kernel good
python3 - <<'P'
import struct
h = bytearray(65536)
def put(at, fmt, v): struct.pack_into('<' + fmt, h, at, v)
put(0x1F1, 'B', 3); put(0x1FE, 'H', 0xAA55); put(0x201, 'B', 0x6A); h[0x202:0x206] = b'HdrS'
put(0x206, 'H', 0x20F); put(0x211, 'B', 1); put(0x22C, 'I', 0x7FFFFFFF); put(0x236, 'H', 1)
put(0x238, 'I', 127); put(0x258, 'Q', 16 << 20); put(0x260, 'I', 20 << 20)
open('bzimage', 'wb').write(h)
put(0x260, 'I', 200 << 20)
open('bigger', 'wb').write(h)
P
truncate -s 60M initrd
refused 1 "--kernel bigger" "does not fit into --memory 64M" -- $(kvm) --kernel bigger
refused 1 "--initrd initrd" "does not fit into --memory 64M" -- $(kvm) --kernel bzimage --initrd initrd
refused 1 "--initrd nope" "No such file" -- $(kvm) --kernel bzimage --initrd nope
refused 1 "--cmdline" "shorten" -- $(kvm) --kernel bzimage --cmdline "$(printf 'x%.0s' $(seq 200))"
rm bzimage bigger initrd

echo "figures"
for vps in 0 17 -1 4294967297 two ""; do
	refused 2 "--vps $vps" "1 to 16" -- $(soft) --kernel "$SOFTLOAD" --vps "$vps"
done
for memory in 0 1M 17M 63 99999999999G 18014398509481985K -1G 512Q "" ; do
	refused 2 "--memory" -- $(soft) --kernel "$SOFTLOAD" --memory "$memory"
done
refused 2 "--memory" "256G" -- $(soft) --kernel "$SOFTLOAD" --memory 512G
[ "$(free -g | awk '/Mem|Swap/ {n += $2} END {print n}')" -ge 200 ] ||
	refused 2 "this host has" -- $(soft) --kernel "$SOFTLOAD" --memory 200G
refused 2 "--backend qemu" "kvm and soft" -- "$A" run --backend qemu --kernel "$SOFTLOAD" --state "$STATE"
refused 2 "--state" "shorter" -- "$A" run --backend soft --kernel "$SOFTLOAD" --state "$WORK/$(printf 'd%.0s' $(seq 120))"

for fill in 256 -1 x ""; do
	refused 2 "--paravisor-fill $fill" "0 to 255" -- $(soft) --kernel "$SOFTLOAD" --paravisor-fill "$fill"
done
refused 2 "--cmdline" "900 at most" "shorten" -- $(soft) --kernel "$SOFTLOAD" --cmdline "$(printf 'x%.0s' $(seq 901))"

echo "disks"
refused 1 "--disk nope" "No such file" "make it first" -- $(soft) --kernel "$SOFTLOAD" --disk nope
refused 1 "--disk dir" "block device" -- $(soft) --kernel "$SOFTLOAD" --disk dir
refused 1 "--disk /dev/null" "block device" -- $(soft) --kernel "$SOFTLOAD" --disk /dev/null
refused 1 "--disk odd" "multiple of the sector of 512" "truncate" -- $(soft) --kernel "$SOFTLOAD" --disk odd
truncate -s 1536 odd4k
refused 1 "--disk odd4k" "multiple of the sector of 4096" -- $(soft) --kernel "$SOFTLOAD" --disk odd4k,4k
refused 1 "--disk empty" "empty" -- $(soft) --kernel "$SOFTLOAD" --disk empty
refused 1 "--disk ./good" "same file as --disk good" -- $(soft) --kernel "$SOFTLOAD" --disk good --disk good2 --disk ./good
ln good link
refused 1 "--disk link" "same file" -- $(soft) --kernel "$SOFTLOAD" --disk good,ro --disk link,ro
rm link odd4k
refused 2 "--disk good" "no option 'rw'" -- $(soft) --kernel "$SOFTLOAD" --disk good,rw
refused 2 "--disk d65" "the 64 that" "leave some out" -- $(soft) --kernel "$SOFTLOAD" $(printf -- '--disk d%d ' $(seq 65))

# A block device that this host has mounted, where one can be.
truncate -s 16M image
mkdir mounted
loop=$(mkfs.ext4 -q image && losetup --find --show image 2>/dev/null) || loop=
if [ -n "$loop" ] && mount "$loop" mounted; then
	trap 'umount "$WORK/mounted" || true; losetup -d "$loop" || true; cleanup' EXIT
	refused 1 "--disk $loop" "busy" "unmount it" -- $(soft) --kernel "$SOFTLOAD" --disk "$loop"
	umount mounted
	losetup -d "$loop"
	trap cleanup EXIT
else
	[ -z "$loop" ] || losetup -d "$loop"
	echo "  a mounted block device: not tried, none can be made here"
fi
rm -r image mounted

echo "in use"
start_vm 1 1M "idle"
refused 1 "--disk disk" "in use by a VM" -- "$A" run --backend soft --state "$WORK/other" --kernel "$SOFTLOAD" --disk disk
refused 1 "--disk disk" "in use by a VM" -- "$A" run --backend soft --state "$WORK/other" --kernel "$SOFTLOAD" --disk disk,ro
refused 1 "--state $STATE" "in use by a running VM" "shutdown" -- $(soft) --kernel "$SOFTLOAD"
"$A" list --state "$STATE" >/dev/null || fail "the refused one has harmed the running one"
# Disks that come later.
refused 1 "disk nope" "No such file" -- "$A" disk add --state "$STATE" nope
refused 1 "disk dir" "block device" -- "$A" disk add --state "$STATE" dir
refused 1 "disk odd" "multiple of the sector of 512" -- "$A" disk add --state "$STATE" odd
refused 1 "disk disk" "in use by a VM" -- "$A" disk add --state "$STATE" disk
"$A" disk add --state "$STATE" good2,ro >/dev/null || fail "a disk that is well"
refused 1 "a disk of this VM already" "once" -- "$A" disk add --state "$STATE" good2,ro
"$A" disk remove --state "$STATE" 0:1 >/dev/null || fail "remove"
"$A" disk add --state "$STATE" good2,ro >/dev/null || fail "a disk that was taken away comes again"
refused 2 "disk resize big" "neither a size" -- "$A" disk resize --state "$STATE" 0:0 big
refused 1 "multiple of its sector" -- "$A" disk resize --state "$STATE" 0:0 1000
refused 1 "no such disk" -- "$A" disk remove --state "$STATE" 0:9
refused 2 "disk remove x" "CONTROLLER:LUN" -- "$A" disk remove --state "$STATE" x
refused 2 "usage: holdfast disk" -- "$A" disk frob --state "$STATE" good
"$A" kill --state "$STATE" >/dev/null
refused 1 "--state $STATE" "in use by a running VM" -- $(soft) --kernel "$SOFTLOAD"

echo "the archive: written by a newer format, and no room"
"$A" archive --state "$STATE" 2>/dev/null & archiver=$!
await 60 grep -qa HOLDARCH "$STATE/archive/data.mdb" 2>/dev/null || fail "there is no archive"
kill "$archiver"
wait "$archiver" || true
python3 - "$STATE/archive/data.mdb" <<'P'
import sys
b = open(sys.argv[1], 'rb').read()
new = b.replace(b'HOLDARCH\x01\0\0\0', b'HOLDARCH\x63\0\0\0')
assert new != b
open(sys.argv[1], 'wb').write(new)
P
refused 1 "$STATE/archive" "format 99" "reads format 1" "move it away" -- "$A" archive --state "$STATE"
refused 1 "$STATE/archive" "format 99" -- "$A" replay --state "$STATE" --verify
mv "$STATE/archive" "$WORK/newer"
# in_full BYTES COMMAND...: with a file system of that size over the state directory.
in_full() {
	unshare -m bash -c 'set -e; mount --bind "$2" seen; mount -t tmpfs -o size="$1" tmpfs "$2"; touch "$2/control"
		mount --bind seen/control "$2/control"; size=$1 dir=$2; shift 2
		s=0; "$@" || s=$?
		[ "$size" != 16k ] || [ "$(echo $(ls "$dir"))" = "archive.status control" ] || { echo "left behind: $(ls -R "$dir")"; exit 9; }
		exit $s' - "$1" "$STATE" "${@:2}"
}
export -f in_full
mkdir seen
refused 1 "$STATE/archive" "No space left" "free some room" -- in_full 16k "$A" archive --state "$STATE"
[ ! -e "$STATE/archive" ] || fail "the archive that found no room was left"
"$A" shutdown --state "$STATE" --power-off
wait_vm
rm -rf newer "$STATE"
start_vm 1 16M "load depth=16 channels=1 $TOLD region=8M"
refused 1 "$STATE/archive" "no room" "history ends at sequence" "the VM goes on" "holdfast archive" -- \
	in_full 256k "$A" archive --state "$STATE"
"$A" shutdown --state "$STATE" --power-off
wait_vm
rm -rf seen "$STATE"

echo "/dev/kvm"
in_dev() { # in_dev SETUP COMMAND...: with a /dev of its own
	local setup=$1
	shift
	unshare -m bash -c "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && $setup; exec \"\$@\"" - "$@"
}
export -f in_dev
python3 - <<'P'
import struct
h = bytearray(65536)
def put(at, fmt, v): struct.pack_into('<' + fmt, h, at, v)
put(0x1F1, 'B', 3); put(0x1FE, 'H', 0xAA55); put(0x201, 'B', 0x6A); h[0x202:0x206] = b'HdrS'
put(0x206, 'H', 0x20F); put(0x211, 'B', 1); put(0x22C, 'I', 0x7FFFFFFF); put(0x236, 'H', 1)
put(0x238, 'I', 2047); put(0x258, 'Q', 16 << 20); put(0x260, 'I', 20 << 20)
open('bzimage', 'wb').write(h)
P
refused 1 "no /dev/kvm" "--backend soft" -- in_dev true $(kvm) --kernel bzimage
refused 1 "/dev/kvm is none" -- in_dev "mknod /dev/kvm c 1 3" $(kvm) --kernel bzimage
if [ -c /dev/kvm ]; then
	sed 's/svm/___/g; s/vmx/___/g' /proc/cpuinfo >cpuinfo
	refused 1 "neither svm nor vmx" "--backend soft" "--force-kvm" -- \
		unshare -m bash -c 'mount --bind cpuinfo /proc/cpuinfo; exec "$@"' - $(kvm) --kernel bzimage
fi

echo "another user"
chmod 755 "$WORK"
mkdir -m 777 open
install -m 755 "$A" "$BUILD_A/holdfast-partition" "$SOFTLOAD" open
chmod 666 good
as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
export -f as
nobody() { echo as "$WORK/open/holdfast" run --backend "$1" --memory 64M --state "$WORK/open/s"; }
chmod 600 good
refused 1 "--disk good" "Permission denied" "ro" -- $(nobody soft) --kernel open/softload --disk good
chmod 444 good
refused 1 "--disk good" "Permission denied" "ro" -- $(nobody soft) --kernel open/softload --disk good
refused 1 "--state /s" "Permission denied" "give a directory" -- as "$WORK/open/holdfast" run --backend soft --kernel open/softload --state /s
mkdir -m 755 roots
refused 1 "--state roots" "Operation not permitted" -- as "$WORK/open/holdfast" run --backend soft --kernel open/softload --state roots
chmod 600 bzimage
refused 1 "--kernel bzimage" "Permission denied" -- $(nobody kvm) --kernel bzimage
chmod 644 bzimage
refused 1 "no permission for /dev/kvm" "group" "--backend soft" -- \
	in_dev "mknod -m 600 /dev/kvm c 1 3" setpriv --reuid=65534 --regid=65534 --clear-groups \
	"$WORK/open/holdfast" run --backend kvm --memory 64M --state "$WORK/open/s" --kernel bzimage
[ -z "$(ls -A open | grep -vx -e holdfast -e holdfast-partition -e softload)" ] || fail "left: $(ls open)"

echo "nobody there"
refused 1 "no VM answers in $WORK/none" "holdfast run" -- "$A" list --state "$WORK/none"
refused 1 "no VM answers in $WORK/none" -- "$A" shutdown --state "$WORK/none"
refused 2 "no command 'walk'" "holdfast help" -- "$A" walk
refused 2 "inspect: --state DIR is missing" -- "$A" inspect
refused 2 "log: --from 12x" "a number" -- "$A" log --state "$WORK/none" --from 12x
refused 2 "kill: --hard is not an option" "holdfast help kill" -- "$A" kill --state "$WORK/none" --hard
refused 2 "service: --to" "no value" -- "$A" service --state "$WORK/none" --to
refused 2 "usage: holdfast list" -- "$A" list --state "$WORK/none" more
if pgrep -f "holdfast-partition --state-dir $WORK" >/dev/null; then fail "a partition lives on"; fi
echo "bad input: $cases cases"
