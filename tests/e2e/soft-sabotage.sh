#!/bin/bash
# What the demonstration must notice, in small: a lost kick after a take-over, a
# doubled completion, one flipped byte. Each must make the guest's load fail.
. "$(dirname "$0")/lib.sh"
SABOTAGE=${BUILD_A%/*}/sabotage
[ -x "$SABOTAGE/holdfast" ] || fail "no build in $SABOTAGE (meson setup -Dsabotage=true)"
A=$SABOTAGE/holdfast
# has_worked: what is planted was met, and the guest had time to look at it; or it has given up.
has_worked() {
	! kill -0 "$RUN_PID" 2>/dev/null ||
		[ "$("$A" inspect --state "$STATE" stats.requests_completed 2>/dev/null | grep -o '[0-9]*$')" -ge 3000 ]
}

for how in kick:lost double:doubles flip:mismatches; do
	kind=${how%:*} counter=${how#*:}
	STATE=$WORK/$kind REPORT=$WORK/report.$kind
	HOLDFAST_SABOTAGE=$kind start_vm 2 64M "load depth=16 channels=2 $TOLD lost=5 region=8M"
	kill_owner --inflight || fail "$kind: no owner to kill"
	await 60 has_worked || fail "$kind: the load neither goes on nor ends"
	enough
	if wait "$RUN_PID"; then fail "sabotage by $kind was not noticed"; fi
	RUN_PID=
	n=$(grep -o "\"$counter\":[0-9]*" "$REPORT" | head -n 1 | cut -d: -f2)
	[ "${n:-0}" -gt 0 ] || { cat "$REPORT"; fail "$kind: the load failed, but not by $counter"; }
	echo "$kind: $counter=$n"
done
