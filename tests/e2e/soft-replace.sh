#!/bin/bash
# The main job on the soft back end: verified I/O at depth 32 while the
# paravisor is replaced by the other build ten times and killed twenty times.
. "$(dirname "$0")/lib.sh"
REPLACEMENTS=${REPLACEMENTS:-10} KILLS=${KILLS:-20}
start_vm 2 64M "load depth=32 channels=2 $TOLD bs=4096 mix=rw verify region=33554432"
sleep 1
"$A" archive --state "$STATE" >"$WORK/archive.log" 2>&1 &
archiver=$!
replaced=0 killed=0 missed=0
while [ $((replaced + killed)) -lt $((REPLACEMENTS + KILLS)) ]; do
	if [ $(((replaced + killed) % 3)) -eq 0 ] && [ "$replaced" -lt "$REPLACEMENTS" ]; then
		to=$B
		[ $((replaced % 2)) -eq 0 ] || to=$A
		before=$(field epoch "$("$A" list --state "$STATE")")
		line=$("$A" service --state "$STATE" --to "$to" --expect-difference scsi.GUEST_WRITE.tail) ||
			fail "replacement $replaced"
		echo "$line"
		after=$("$A" list --state "$STATE")
		[ "$(field epoch "$after")" -gt "$before" ] || fail "nobody took over: $after"
		[ "$(field inflight "$line")" -gt 0 ] && replaced=$((replaced + 1))
	else
		"$A" kill --state "$STATE" --inflight || { missed=$((missed + 1)); [ $missed -lt 400 ] || fail "no request was ever in flight"; sleep 0.05; continue; }
		killed=$((killed + 1))
		sleep "${PAUSE:-0.3}"
	fi
	kill -0 "$RUN_PID" 2>/dev/null || { cat "$WORK/console"; fail "the VM ended early"; }
done
"$A" list --state "$STATE"
enough "${SECONDS_OF_LOAD:-20}"
wait_vm
cat "$WORK/console" "$REPORT"
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
wait "$archiver" || { cat "$WORK/archive.log"; fail "the archiver"; }
served=$("$A" log --state "$STATE" --machine servicing | grep -c " SERVING" || true)
"$A" log --state "$STATE" --machine servicing | grep " SERVING" | tail -n 3
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
echo "replacements=$replaced kills=$killed served=$served"
[ "$replaced" -eq "$REPLACEMENTS" ] && [ "$killed" -eq "$KILLS" ] || fail "too few"
