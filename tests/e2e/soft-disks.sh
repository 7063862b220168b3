#!/bin/bash
# Disks on the soft back end: what each SCSI command does to data and state, on
# disks of several kinds behind two controllers; then LUNs, media and a controller
# that come, grow and go under load, with a replacement and a kill in between.
. "$(dirname "$0")/lib.sh"
SOFTSCSI=$BUILD_A/tests/soft/softscsi

# start MODE DISK...: softscsi in the background; `opcodes` begins when there is go.begin.
start() {
	local mode=$1 disks=()
	shift
	for d in "$@"; do disks+=(--disk "$d"); done
	rm -f "$WORK/go.begin"
	"$A" run --backend soft --kernel "$SOFTSCSI" --cmdline "$mode report=$REPORT go=$WORK/go" --vps 4 --memory 64M \
		--state "$STATE" "${disks[@]}" >"$WORK/console" 2>&1 </dev/null &
	RUN_PID=$!
	until_up
}

# verdict: the guest's, after its end.
verdict() {
	if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; grep -A3 -B3 "^BAD\|^    \|error=-" "$REPORT"; cat "$WORK/console"; fail "the guest was not content"; fi
	tail -n 1 "$REPORT"
	rm -rf "$STATE"
}

# until_step NAME: the guest has seen what came before it.
has_come() { grep -q "^step $1\$" "$REPORT" 2>/dev/null || ! kill -0 "$RUN_PID" 2>/dev/null; }
until_step() {
	await 120 has_come "$1" && grep -q "^step $1\$" "$REPORT" && return 0
	cat "$REPORT" "$WORK/console"
	fail "the guest has not come to '$1'"
}

disk() {
	local verb=$1
	shift
	"$A" disk "$verb" --state "$STATE" "$@"
}

# medium FILE WORD: 1,024 blocks, each of which says its number.
medium() {
	awk -v word="$2" 'BEGIN { for (i = 0; i < 1024; i++) { s = sprintf("%s %05d ", word, i); printf "%s%*s", s, 2048 - length(s), "" } }' >"$1"
}

cd "$WORK"
truncate -s 16M first readonly fourk other
truncate -s 4M broken
medium iso block
medium iso2 other

# A file system that will be full, where one can be mounted.
small=()
mkdir full
if mount -t tmpfs -o size=1M none full 2>/dev/null; then
	trap 'umount full || true; cleanup' EXIT
	truncate -s 4M full/disk
	small=(full/disk,controller=1,lun=1)
else
	echo "no file system can be mounted here: a full one is not tried"
fi

echo "opcodes"
start opcodes first readonly,ro fourk,4k iso,optical broken other,controller=1 "${small[@]}"
truncate -s 2M broken
touch go.begin
verdict
[ "$(od -An -tu1 -j $((0x10 * 512)) -N 3 first | tr -s ' ')" = " 1 8 15" ] || fail "the host's file does not hold what was written"

[ ${#small[@]} -eq 0 ] || { umount full; trap cleanup EXIT; }

# The same with a block device as the first disk, where one can be made.
loop=$(losetup --find --show first 2>/dev/null) || loop=
if [ -n "$loop" ]; then
	trap 'losetup -d "$loop" || true; cleanup' EXIT
	echo "opcodes on $loop"
	dd if=/dev/zero of=first bs=1M count=16 status=none
	rm -f broken readonly fourk other
	truncate -s 16M readonly fourk other
	truncate -s 4M broken
	start opcodes "$loop" readonly,ro fourk,4k iso,optical broken other,controller=1
	"$A" inspect --state "$STATE" "disk[0].flags" | grep -q 4 || fail "it is not known as a block device"
	truncate -s 2M broken
	touch go.begin
	verdict
	losetup -d "$loop"
	trap cleanup EXIT
else
	echo "no loop device can be made here: block devices are not tried"
fi

echo "hotplug"
rm -f first; truncate -s 16M first
truncate -s 8M late
start hotplug first iso,optical,lun=3
until_step ready
disk add late,4k | grep -q "attached as 0:1" || fail "add"
if disk add late,4k,lun=2 2>refused; then fail "a disk in use was attached"; fi
if disk add other,lun=3 2>refused; then fail "a LUN in use was given away"; fi
grep -q "in use" refused || fail "not told why: $(cat refused)"
flock --timeout 20 other true || fail "what was refused is still held"
until_step added
truncate -s 16M late
disk resize 0:1 late
until_step loading
truncate -s 24M late
disk resize 0:1 late
until_step grown
"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail >/dev/null || fail "replace"
kill_owner || fail "kill"
disk remove 0:1
flock --timeout 20 late true || fail "what was taken away is still held"
until_step locked
if disk eject 0:3 2>refused; then fail "a locked medium came out"; fi
grep -q "holds the medium" refused || fail "not told why: $(cat refused)"
until_step unlocked
disk eject 0:3
until_step empty
disk insert 0:3 iso2
until_step removed
disk add late,controller=2,lun=5 | grep -q "attached as 2:5" || fail "add a controller"
until_step controller
disk remove 2
until_step released
disk add late,controller=2,lun=5 || fail "add it again"
until_step "controller again"
disk remove 2
verdict
