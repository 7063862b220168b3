#!/bin/bash
# The archiver is killed in every phase of a replacement (the phases of the table),
# with real processes: the phase is made to last by stopping who would end it. The
# replacement goes on as if nothing had been, and the archive that the next
# archiver continues holds together.
. "$(dirname "$0")/lib.sh"
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
until_state() {
	for _ in $(seq 500); do
		[ "$(state)" = "$1" ] && return 0
		sleep 0.02
	done
	fail "the state is $(state), not $1"
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
	for _ in $(seq 500); do
		pid=$(pid_of "$1")
		[ -z "$pid" ] || return 0
		sleep 0.02
	done
	fail "no process is $1"
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
	"$A" service --state "$STATE" --to "$1" $MASK --probation 60 "${@:2}" >"$WORK/service" 2>&1 &
	asked=$!
}

done_well() {
	wait $asked || fail "$1: $(cat "$WORK/service")"
}

seen=
truncate -s 32M "$DISK"
"$A" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" --watchdog 0 \
	--cmdline "load depth=2 channels=1 seconds=120 bs=4096 region=8388608" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
for _ in $(seq 100); do "$A" list --state "$STATE" >/dev/null 2>&1 && break; sleep 0.05; done
archive
killed IDLE

# The partition is stopped when the request to spawn comes to it.
until_pid owner
owner=$pid partition=$(cat "$STATE/partition.pid")
kill -STOP "$owner"
service "$B" --json
sleep 0.2
kill -STOP "$partition"
kill -CONT "$owner"
sleep 0.2
killed SPAWNING
sleep 0.2
kill -CONT "$partition"
done_well SPAWNING
spawning=$(sed -n 's/.*"SPAWNING":\([0-9]*\).*/\1/p' "$WORK/service")
[ "${spawning:-0}" -ge 400 ] || fail "SPAWNING was over when the archiver was killed: $(cat "$WORK/service")"
until_state PROBATION
killed PROBATION
"$A" service --state "$STATE" --commit --level 1 >/dev/null || fail "commit"
killed DONE

# The successor is stopped, and the owner until the successor has said that it is ready.
service "$B" --follow-seconds 3
until_state FOLLOWING
until_pid following
successor=$pid
until_pid owner
owner=$pid
kill -STOP "$successor"
killed FOLLOWING
sleep 3
kill -STOP "$owner"
kill -CONT "$successor"
until_pid ready
sleep 0.1
kill -STOP "$successor"
kill -CONT "$owner"
until_state FLIPPING
killed FLIPPING
kill -CONT "$successor"
done_well FLIPPING

until_state PROBATION
until_pid probation
predecessor=$pid
kill -STOP "$predecessor"
"$A" rollback --state "$STATE" >"$WORK/service" 2>&1 &
asked=$!
until_state RETURNING
killed RETURNING
kill -CONT "$predecessor"
done_well RETURNING
until_state ROLLED_BACK
killed ROLLED_BACK

"$A" shutdown --state "$STATE" --power-off || fail "power off"
wait "$RUN_PID" || true
RUN_PID=
wait "$archiver" || fail "the archiver: $(tail -n 3 "$WORK/archive.log")"
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
for phase in $(sed -n 's/^SM_STATE([0-9]*, *\([A-Z_]*\),.*/\1/p' "$ROOT/statemachines/servicing.def"); do
	[[ " $seen " == *" $phase "* ]] || fail "no archiver was killed in $phase"
done
echo "killed in:$seen"
