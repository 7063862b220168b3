#!/bin/bash
# What the host can do to an archiver, one after another beside one guest with
# verified load: its writes fail, or are slow; it is stopped; its map is full, because
# somebody's reader keeps every page; its file is cut under its map, or damaged.
# Each costs history, `inspect` says which, the owner works on and is the first one.
#   STOP_SECONDS   how long it is stopped (3; a minute is tried by hand)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive-lib.sh"
STOP_SECONDS=${STOP_SECONDS:-3}
FILE=$STATE/archive/data.mdb
cases=0

seq_now() {
	"$A" inspect --state "$STATE" lane.seq | grep -o '[0-9]*$'
}

goes_on() { [ "$(seq_now)" -gt "$1" ]; }

# serves WHAT: the first owner is there and takes events.
serves() {
	local before
	alive "$1"
	before=$(seq_now)
	await 60 goes_on "$before" || fail "$1: the owner stands still at event $before"
	cases=$((cases + 1))
}

# traced INJECTION: an archiver whose writes to its file are tampered with.
traced() {
	strace -qq -o /dev/null -P "$FILE" -e trace=pwrite64,pwritev,writev,write \
		-e "inject=pwrite64,pwritev,writev,write:$1" "$A" archive --state "$STATE" >"$WORK/archive.log" 2>&1 &
	archiver=$!
}

# one_line WORDS: all that the archiver said, beside gaps.
one_line() {
	[ "$(grep -vc "fell behind the log" "$WORK/archive.log")" -eq 1 ] && grep -q "$1" "$WORK/archive.log" ||
		{ cat "$WORK/archive.log"; fail "not one line with '$1'"; }
}

# harm COMMAND...: again and again until the archiver ends, because it may just have
# written what it reads next.
harm() {
	for _ in $(seq 600); do
		"$@"
		sleep 0.1
		kill -0 "$archiver" 2>/dev/null || return 0
	done
	fail "the archiver lives on: $*"
}

garbage() {
	dd if=/dev/urandom of="$FILE" bs=4096 count=$(($(stat -c %s "$FILE") / 4096)) conv=notrunc status=none
}

fresh() {
	rm -rf "$STATE/archive" "$STATE/archive.status"
}

start_vm 2 64M "load depth=8 channels=2 $TOLD region=8M"

# EIO of the file from the 20th write on.
traced error=EIO:when=20+
ended 1
until_shown state failed
until_shown why "Input/output error"
one_line "cannot be written (Input/output error): history ends at sequence [0-9]*, the VM goes on"
serves EIO
"$A" replay --state "$STATE/archive" --verify | tail -n 1

# What it had is there for the next one, whose writes take their time.
traced delay_enter=${SLOW_US:-300000}
until_shown state running
until_more behind_bytes $((1 << 20))
serves "slow writes"
kill -KILL $(pgrep -P "$archiver")
ended 137 2>/dev/null
until_shown state died

# Stopped: it stays behind, the owner does not wait; then it catches up, or begins anew behind a gap that it tells.
archive
until_shown state running
stop "$archiver"
before=$(shown seq)
sleep "$STOP_SECONDS"
[ "$(shown seq)" = "$before" ] || fail "the archiver is not stopped"
until_more behind_bytes $((1 << 20))
serves "stopped for $STOP_SECONDS s"
kill -CONT "$archiver"
until_more seq "$before"
kill "$archiver"
ended 0
gaps=$(shown gaps)
grep -c "fell behind the log" "$WORK/archive.log" | grep -qx "$gaps" || fail "gaps=$gaps, but it said: $(cat "$WORK/archive.log")"

# MDB_MAP_FULL: a reader that never ends holds all pages that were ever written.
fresh
archive --keep 1M
until_more bytes $((512 << 10))
mkfifo "$WORK/reader"
mdb_dump -a "$STATE/archive" >"$WORK/reader" 2>"$WORK/dump.log" &
reader=$!
exec 8<"$WORK/reader"
ended 1
until_shown state full
one_line "no room, and nothing left to drop: history ends at sequence [0-9]*, the VM goes on"
kill "$reader"
exec 8<&-
serves MDB_MAP_FULL
archive --keep 1M
until_shown state running
serves "the reader has gone"

# Cut under the map: SIGBUS inside liblmdb, for the writer and for a reader.
harm truncate -s 8192 "$FILE"
ended 1
until_shown state failed
until_shown why "the file was cut or damaged"
one_line "cannot be written (the file was cut or damaged)"
serves SIGBUS
truncate -s 8192 "$FILE"
archive
ended 1
until_shown state failed
one_line "was cut or damaged; move it away"
status=0
"$A" replay "$STATE/archive" --verify >"$WORK/archive.log" 2>&1 || status=$?
[ "$status" -eq 1 ] || fail "replay of a cut archive ended with $status"
grep -q "holdfast: .*was cut or damaged" "$WORK/archive.log" || { cat "$WORK/archive.log"; fail "replay does not say so"; }
serves "the cut file"

# Garbage over the whole file under the writer.
fresh
archive
until_more bytes $((1 << 20))
harm garbage
ended 1
until_shown state failed
until_shown why "the file was cut or damaged"
serves "garbage in the file"

# A fresh one, to the end: what follows all this replays, and nothing was done to the guest.
fresh
archive
until_shown state running
enough
wait_vm
ended 0
grep -o '"ok":[a-z]*\|"ops":[0-9]*\|"verified":[0-9]*\|"gap_max_us":[0-9]*' "$REPORT"
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
echo "faults=$cases"
