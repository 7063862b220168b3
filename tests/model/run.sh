#!/bin/bash
# docs/servicing.pml: its transitions are those of the machine; never two owners
# (a kill anywhere; KILLS=2 takes minutes), always one again; and two faults planted in the
# model are found, so that it can fail.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
MODEL=$ROOT/docs/servicing.pml
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"

"$ROOT/tests/model/transitions.py"
sed 's/T(FLIPPING, SERVING, PROBATION)/T(FLIPPING, SERVING, DONE)/' "$MODEL" >other.pml
"$ROOT/tests/model/transitions.py" other.pml >/dev/null && { echo "another transition was not noticed"; exit 1; }

# check NAME MODEL DEFINES COMPILE RUN: prints the count of errors and states.
check() {
	local found
	rm -f pan* ./*.trail
	spin "$3" -a "$2" >spin.out 2>&1 || { cat spin.out; exit 1; }
	gcc -O2 -w $4 -o pan pan.c
	./pan -m100000 -w20 $5 >pan.out 2>&1 || { cat pan.out; exit 1; }
	grep -q "not completed" pan.out && { echo "$1: not searched to the end"; }
	found=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.out)
	echo "$1: errors=$found states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)"
	[ "$found" = "${6:-0}" ] || { [ -f "$(basename "$2").trail" ] && spin "$3" -t -p "$2" | tail -n 40; exit 1; }
}

check "never two owners" "$MODEL" -DKILLS=${KILLS:-1} "-DSAFETY -DNOCLAIM" ""
check "always one again" "$MODEL" -DKILLS=1 "" "-a -f"
sed 's/alive\[me\] && !mutex\[old\] }/alive[me] }/; s/atomic { alive\[me\] -> serves\[me\] = false }  /atomic { alive[me] }  /' "$MODEL" >nofence.pml
check "an owner that does not stop its lane is found" nofence.pml -DKILLS=1 "-DSAFETY -DNOCLAIM" "" 1
sed 's/word = TAKING; owner = to }/owner = to }/' "$MODEL" >noname.pml
check "a taker that is not named is found" noname.pml -DKILLS=1 "-DSAFETY -DNOCLAIM" "" 1
