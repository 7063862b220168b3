#!/bin/bash
# A full, slow, stopped, killed, crashed or damaged archive costs history only:
# the guest's verified load goes on over each, `inspect` shows each, and what
# is left of the history replays.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive-lib.sh"

start_vm 2 64M "load depth=16 channels=2 $TOLD region=8M"

# Checkpoints are verified by replay; age and size drop what is old.
archive --keep 8M --age 2
until_more verified 6
sleep 4
"$A" inspect --state "$STATE" archive
[ "$(shown bytes)" -lt $((24 << 20)) ] || fail "nothing was dropped"
alive retention

# Killed like by a crash of its own: shown; the next one goes on where it was.
kill -ILL "$archiver"
ended 132
until_shown state died
archive --keep 8M
until_shown state running
alive crash

# Stopped until it is lapped: a gap, a new run, told.
stop "$archiver"
until_more behind_bytes $((66 << 20)) 200
kill -CONT "$archiver"
until_more gaps 0
await 30 grep "fell behind the log" "$WORK/archive.log" || fail "the gap was not told"
alive stop
kill "$archiver"
ended 0

# Damaged while nobody looks, and under the writer: every other page, so that some are in use.
"$A" replay --state "$STATE/archive" --verify | tail -n 1
python3 - "$STATE/archive/data.mdb" <<'P'
import os, sys
with open(sys.argv[1], 'r+b') as f:
    for at in range(2 * 4096, os.path.getsize(sys.argv[1]) - 4095, 2 * 4096):
        f.seek(at)
        f.write(os.urandom(4096))
P
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
sleep 1
enough
wait_vm
ended 0
grep -o '"ok":[a-z]*\|"ops":[0-9]*\|"gap_max_us":[0-9]*' "$REPORT"
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
