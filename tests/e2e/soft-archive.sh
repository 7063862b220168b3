#!/bin/bash
# A full, slow, stopped, killed, crashed or damaged archive costs history only:
# the guest's verified load goes on over each, `inspect` shows each, and what
# is left of the history replays.
. "$(dirname "$0")/lib.sh"

stamp() { echo "[$SECONDS s] $*"; }

# shown NAME: a word of inspect's line on the archive, 0 when it is not there.
shown() {
	local value
	value=$("$A" inspect --state "$STATE" archive.$1 2>/dev/null | sed 's/^[^ ]* //') || true
	echo "${value:-0}"
}

# until_shown NAME VALUE
until_shown() {
	for _ in $(seq 300); do
		[ "$(shown "$1")" != "$2" ] || return 0
		sleep 0.05
	done
	fail "inspect shows archive.$1=$(shown "$1"), not $2"
}

# until_more NAME NUMBER
until_more() {
	for _ in $(seq 300); do
		[ "$(shown "$1")" -le "$2" ] || return 0
		sleep 0.05
	done
	fail "inspect shows archive.$1=$(shown "$1"), not more than $2"
}

archive() {
	"$A" archive --state "$STATE" "$@" >"$WORK/archive.log" 2>&1 &
	archiver=$!
}

# ended STATUS: the archiver ended by itself, with that status.
ended() {
	local status=0
	wait "$archiver" || status=$?
	[ "$status" -eq "$1" ] || { cat "$WORK/archive.log"; fail "the archiver ended with $status, not $1"; }
	cat "$WORK/archive.log"
}

alive() {
	stamp "$1"
	kill -0 "$RUN_PID" 2>/dev/null || fail "$1: the VM ended"
	[ "$(field epoch "$("$A" list --state "$STATE")")" = 1 ] || fail "$1: the owner died"
}

start_vm 2 64M "load depth=16 channels=2 seconds=${SECONDS_OF_LOAD:-60} region=8M"

# Checkpoints are verified by replay; age and size drop what is old.
archive --keep 8M --age 2
until_more verified 6
sleep 4
"$A" inspect --state "$STATE" archive
[ "$(shown bytes)" -lt $((24 << 20)) ] || fail "nothing was dropped"
alive retention

# Killed like by a crash inside LMDB: shown; the next one goes on where it was.
kill -SEGV "$archiver"
ended 139
until_shown state died
archive --keep 8M
until_shown state running
alive crash

# Stopped until it is lapped: a gap, a new run, told.
kill -STOP "$archiver"
for _ in $(seq 200); do
	[ "$(shown behind_bytes)" -lt $((36 << 20)) ] || break
	sleep 0.1
done
kill -CONT "$archiver"
until_more gaps 0
grep "fell behind the log" "$WORK/archive.log" || fail "the gap was not told"
alive stop
kill "$archiver"
ended 0

# Damaged while nobody looks, and under the writer.
"$A" replay --state "$STATE/archive" --verify | tail -n 1
dd if=/dev/urandom of="$STATE/archive/data.mdb" bs=4096 seek=2 count=400 conv=notrunc status=none
"$A" replay --state "$STATE/archive" --verify >"$WORK/replay" 2>&1 && fail "a damaged archive replays"
status=$?
[ "$status" -lt 3 ] || { cat "$WORK/replay"; fail "replay of a damaged archive ended with $status"; }
tail -n 2 "$WORK/replay"
archive
sleep 1
kill "$archiver" 2>/dev/null || true
wait "$archiver" || echo "the archiver of a damaged file ended with $?: $(tail -n 1 "$WORK/archive.log")"
alive damage
rm -rf "$STATE/archive"

# No room: ENOSPC of a tiny file system, or a limit where none may be mounted.
mkdir "$STATE/archive"
if mount -t tmpfs -o size=3m none "$STATE/archive" 2>/dev/null; then
	archive
	ended 1
	until_shown state full
	umount "$STATE/archive"
else
	(ulimit -f 3000; trap '' XFSZ; exec "$A" archive --state "$STATE") >"$WORK/archive.log" 2>&1 &
	archiver=$!
	ended 1
	until_shown state failed
fi
rm -rf "$STATE/archive"
alive "no room"

# A fresh one, to the end: the history behind all this replays.
archive
until_shown state running
wait_vm
ended 0
grep -o '"ok":[a-z]*\|"ops":[0-9]*\|"gap_max_us":[0-9]*' "$REPORT"
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
