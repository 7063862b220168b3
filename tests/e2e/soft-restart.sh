#!/bin/bash
# When `run` returns, or `shutdown --power-off`, everything the VM held is free:
# no process of it lives and the next VM gets the same disk at once. However it
# ended: by the guest, right after a SIGKILL of the owner, by the operator, by a
# SIGKILL of the partition.
. "$(dirname "$0")/lib.sh"

# nobody WHEN: no process has the disk open.
nobody() {
	local held
	held=$(find /proc/[0-9]*/fd -lname "$DISK" 2>/dev/null || true)
	[ -z "$held" ] || fail "$1: the disk is still held by $held"
}

for round in 1 2 3 4 5 6; do
	start_vm 1 16M "load depth=16 channels=1 $TOLD region=8M"
	sleep 0.$((round * 3 % 10))
	touch "$WORK/enough"
	"$A" kill --state "$STATE" >/dev/null || true
	[ $((round % 2)) -eq 0 ] || kill -KILL "$(pgrep -P "$(cat "$STATE/partition.pid")" -x softload)" || true
	wait "$RUN_PID" || true
	RUN_PID=
	nobody "round $round, the guest ended"
	start_vm 1 16M "load depth=16 channels=1 $TOLD region=8M"
	"$A" kill --state "$STATE" >/dev/null || true
	"$A" shutdown --state "$STATE" --power-off
	flock --timeout 20 "$DISK" true || fail "round $round: locked after a power-off"
	wait "$RUN_PID" || true
	RUN_PID=
	nobody "round $round, power off"
done
start_vm 1 16M "load depth=16 channels=1 $TOLD region=8M"
kill -KILL "$(cat "$STATE/partition.pid")"
if wait "$RUN_PID"; then fail "run hides the death of its partition"; fi
RUN_PID=
nobody "the partition was killed"
start_vm 1 16M "load depth=4 channels=1 $TOLD region=8M"
enough 1
wait_vm
