#!/bin/bash
# All hands are thrown away and derived anew from machine state between every
# two turns: verified I/O goes on, and the log replays with equal effects.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/archive-lib.sh"
SABOTAGE=${BUILD_A%/*}/sabotage
[ -x "$SABOTAGE/holdfast" ] || fail "no build in $SABOTAGE (meson setup -Dsabotage=true)"
A=$SABOTAGE/holdfast
HOLDFAST_SABOTAGE=rebuild start_vm 2 64M "load depth=16 channels=2 $TOLD bs=4096 mix=rw region=8M churn=20"
archive
until_shown state running
enough 5
wait_vm
cat "$WORK/console"
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
wait "$archiver" || { cat "$WORK/archive.log"; fail "the archiver"; }
"$A" replay --state "$STATE" --verify || fail "the log does not replay"
grep -o '"ops":[0-9]*' "$REPORT"
