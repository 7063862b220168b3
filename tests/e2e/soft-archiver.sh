#!/bin/bash
# The archiver is killed in every phase of a replacement (the phases of the table),
# with real processes: the phase is made to last by stopping who would end it, be it
# by a deadline. The replacement goes on as if nothing had been, and the archive that
# the next archiver continues holds together.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive-lib.sh"
MASK="--expect-difference scsi.GUEST_WRITE.tail"
archiver=

archive() {
	"$A" archive --state "$STATE" >>"$WORK/archive.log" 2>&1 &
	archiver=$!
	sleep 0.1
}

state() {
	"$A" inspect --state "$STATE" 'servicing[0].state' | grep -o '[A-Z_]*$'
}

# until_state STATE
is_state() { [ "$(state)" = "$1" ]; }
until_state() {
	await 60 is_state "$1" || fail "the state is $(state), not $1"
}

# pid_of ROLE-OR-STATE: of the process that is so.
pid_of() {
	"$A" inspect --state "$STATE" --json | python3 -c '
import json, sys
for p in json.load(sys.stdin)["procs"].values():
    if sys.argv[1] in (p["role"], p["state"]):
        print(p["pid"])' "$1" | tail -n 1
}

# until_pid ROLE-OR-STATE: sets pid as soon as a process is so. The machine's state
# comes before its process has told of itself.
until_pid() {
	await 60 has_pid "$1" || fail "no process is $1"
}

has_pid() {
	pid=$(pid_of "$1")
	[ -n "$pid" ]
}

# While the owner stands still: the partition has told it something since inbox=$(inbox).
inbox() { "$A" inspect --state "$STATE" queues.inbox; }
is_told() { [ "$(inbox)" != "$inbox" ]; }
until_told() { await 60 is_told || fail "the owner is told nothing"; }

# handed_on PID FROM: process PID takes what process FROM offers. Both stand still; the one
# that offers is woken last, because it waits a second only.
handed_on() {
	kill -CONT "$1"
	await 15 another "$2" || true
	kill -CONT "$2"
}

# killed PHASE: the archiver dies now; the machine is in that phase.
killed() {
	[ "$1" = SPAWNING ] || [ "$(state)" = "$1" ] || fail "not in $1 but in $(state)"
	kill -KILL "$archiver"
	wait "$archiver" 2>/dev/null || true
	seen+=" $1"
	archive
}

service() {
	"$A" service --state "$STATE" --to "$1" $MASK --probation 600 "${@:2}" >"$WORK/service" 2>&1 &
	asked=$!
}

done_well() {
	wait $asked || fail "$1: $(cat "$WORK/service")"
}

seen=
truncate -s 32M "$DISK"
"$A" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" --watchdog 0 \
	--cmdline "load depth=2 channels=1 $TOLD bs=4096 region=8388608" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
until_up
archive
killed IDLE

# The partition is stopped when the request to spawn comes to it.
until_pid owner
owner=$pid partition=$(cat "$STATE/partition.pid")
stop "$owner"
inbox=$(inbox)
service "$B" --json
until_told
# Who looks on already needs no partition.
"$A" inspect --state "$STATE" 'servicing[0].state' --watch >"$WORK/watch" 2>/dev/null &
watcher=$!
is_watched() { tail -n 1 "$WORK/watch" | grep -q "$1"; }
await 60 is_watched IDLE || fail "nothing is seen"
stop "$partition"
kill -CONT "$owner"
await 60 is_watched SPAWNING || fail "the owner does not ask for a successor: $(tail -n 1 "$WORK/watch")"
killed SPAWNING
sleep 0.5
kill -CONT "$partition"
kill "$watcher"
done_well SPAWNING
spawning=$(sed -n 's/.*"SPAWNING":\([0-9]*\).*/\1/p' "$WORK/service")
[ "${spawning:-0}" -ge 400 ] || fail "SPAWNING was over when the archiver was killed: $(cat "$WORK/service")"
until_state PROBATION
killed PROBATION
"$A" service --state "$STATE" --commit --level 1 >/dev/null || fail "commit"
until_state DONE
killed DONE

# The successor is stopped, and the owner until the successor has said that it is ready.
service "$B" --follow-seconds 10
until_state FOLLOWING
until_pid following
successor=$pid
until_pid owner
owner=$pid
stop "$successor"
killed FOLLOWING
stop "$owner"
inbox=$(inbox)
kill -CONT "$successor"
until_pid ready
until_told
stop "$successor"
kill -CONT "$owner"
until_state FLIPPING
stop "$owner"
killed FLIPPING
handed_on "$successor" "$owner"
done_well FLIPPING

until_state PROBATION
until_pid probation
predecessor=$pid
until_pid owner
owner=$pid
stop "$predecessor"
"$A" rollback --state "$STATE" >"$WORK/service" 2>&1 &
asked=$!
until_state RETURNING
stop "$owner"
killed RETURNING
handed_on "$predecessor" "$owner"
done_well RETURNING
until_state ROLLED_BACK
killed ROLLED_BACK

until_shown state running
"$A" shutdown --state "$STATE" --power-off || fail "power off"
wait "$RUN_PID" || true
RUN_PID=
wait "$archiver" || fail "the archiver: $(tail -n 3 "$WORK/archive.log")"
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
for phase in $(sed -n 's/^SM_STATE([0-9]*, *\([A-Z_]*\),.*/\1/p' "$ROOT/statemachines/servicing.def"); do
	[[ " $seen " == *" $phase "* ]] || fail "no archiver was killed in $phase"
done
echo "killed in:$seen"
