#!/bin/bash
# One honest client among attackers on the soft back end; see softhostile.c.
#   hostile.sh BUILD-A BUILD-B [softhostile's words]
# The paravisor must not die and the VM not end: epoch 1 is left at the end. The last line tells the paravisor's
# own resident memory: when the guest had run for a second, and the most that was seen afterwards.
. "$(dirname "$0")/../e2e/lib.sh"
shift 2
SOFTHOSTILE=$BUILD_A/tests/soft/softhostile
truncate -s 64M "$DISK" "$DISK.victim"
"$A" run --backend soft --kernel "$SOFTHOSTILE" --vps 4 --memory 64M --disk "$DISK" \
	--disk "$DISK.victim" --state "$STATE" \
	--cmdline "hostile victim=1 report=$REPORT ${*:-seed=1 count=200000 seconds=2 phases=2}" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
epoch='' early='' most=0 looks=0
# kib PID: its own resident memory; guest and custody are mapped, and touched bit by bit.
kib() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null; }
while kill -0 "$RUN_PID" 2>/dev/null; do
	if now=$("$A" list --state "$STATE" 2>/dev/null); then
		epoch=$(field epoch "$now") looks=$((looks + 1))
		rss=$(kib "$(field paravisor_pid "$now")") || rss=
		[ $looks -ne 5 ] || early=$rss
		[ $looks -lt 5 ] || [ "${rss:-0}" -le "$most" ] || most=$rss
	fi
	sleep 0.2
done
status=0
wait "$RUN_PID" || status=$?
RUN_PID=
cat "$REPORT" 2>/dev/null || true
[ "$status" -eq 0 ] || fail "status $status: $(tail -c 400 "$WORK/console" | tr -cd '[:print:]\n')"
grep -q '"ok":true' "$REPORT" 2>/dev/null || fail "the VM ended before the guest had told what it saw"
[ "$epoch" = 1 ] || fail "the paravisor died: epoch $epoch"
echo "rss_early_kib=$early rss_most_kib=$most"
