#!/bin/bash
# What the demonstration must notice, in small: a lost kick after a take-over, a
# doubled completion, one flipped byte. Each must make the guest's load fail.
. "$(dirname "$0")/lib.sh"
SABOTAGE=${BUILD_A%/*}/sabotage
[ -x "$SABOTAGE/holdfast" ] || fail "no build in $SABOTAGE (meson setup -Dsabotage=true)"
A=$SABOTAGE/holdfast
for how in kick:lost double:doubles flip:mismatches; do
	kind=${how%:*} counter=${how#*:}
	STATE=$WORK/$kind REPORT=$WORK/report.$kind
	HOLDFAST_SABOTAGE=$kind start_vm 2 64M "load depth=16 channels=2 seconds=4 lost=5 region=8M"
	sleep 1
	"$A" kill --state "$STATE" >/dev/null || fail "$kind: no owner to kill"
	if wait "$RUN_PID"; then fail "sabotage by $kind was not noticed"; fi
	RUN_PID=
	n=$(grep -o "\"$counter\":[0-9]*" "$REPORT" | head -n 1 | cut -d: -f2)
	[ "${n:-0}" -gt 0 ] || { cat "$REPORT"; fail "$kind: the load failed, but not by $counter"; }
	echo "$kind: $counter=$n"
done
