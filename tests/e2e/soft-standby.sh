#!/bin/bash
# run --standby: a follower of the owner's build always; it takes over at each
# SIGKILL, another takes its place, and after an upgrade it is of the new build.
. "$(dirname "$0")/lib.sh"
KILLS=${KILLS:-6}
truncate -s 32M "$DISK"
"$A" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" --standby \
	--cmdline "load depth=16 channels=2 $TOLD bs=4096 mix=rw verify region=8388608 report=$REPORT" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
until_up

has_standby() {
	"$A" inspect --state "$STATE" --json 2>/dev/null >"$WORK/inspect" &&
		python3 - "$1" "$WORK/inspect" <<-'P'
		import json, sys
		procs = json.load(open(sys.argv[2]))['procs'].values()
		sys.exit(not any(p['role'] == 'standby' and p['state'] == 'ready' and
		                 p['build'].startswith('0.1.0-' + sys.argv[1]) for p in procs))
		P
}

# standby_of OWNER-BUILD: waits until a standby of it is ready.
standby_of() {
	await 60 has_standby "$1" ||
		fail "no standby of build $1 is ready: $("$A" inspect --state "$STATE" | grep '^procs')"
}

for _ in $(seq "$KILLS"); do
	standby_of a
	kill_owner || fail "kill"
done
standby_of a
"$A" inspect --state "$STATE" --json | python3 -c '
import json, sys
ms = sorted(g["gap_ns"] / 1e6 for g in json.load(sys.stdin)["gaps"].values() if g["reason"] == "death")
print("take-overs by a standby: %d, ms: p50=%.3f max=%.3f" % (len(ms), ms[len(ms) // 2], ms[-1]))'
line=$("$A" list --state "$STATE")
[ "$(field spawns "$line")" -le $((KILLS + 3)) ] || fail "more processes than kills: $line"
"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail --probation 1 || fail "service"
standby_of b
kill_owner || fail "kill"
enough "${SECONDS_OF_LOAD:-20}"
wait_vm
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
