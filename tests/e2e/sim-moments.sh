#!/bin/bash
# Servicing at awkward moments, in simulation: each line of moments.txt is a test,
# and so is the death of owner, follower and both in every phase of the table.
# usage: sim-moments.sh BUILD
set -u
cd "$(dirname "$0")/../.."
SIM="${1:?usage: $0 BUILD}/holdfast sim"
failed=0 held=0

# moment NAME WORDS...: a directed run; every step must be taken and the guest content.
moment() {
	local name=$1 out
	shift
	if out=$($SIM --faults none --events 3000 "$@" 2>&1); then
		held=$((held + 1))
		echo "ok    $name"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		sed 's/^/      | /' <<<"$out" | tail -n 25
	fi
}

while IFS='|' read -r name words; do
	[[ $name = '#'* || -z $name ]] && continue
	eval "moment \"$name\" $words"
done <sim/moments.txt

# The way to each phase. A phase of the table that has none is a failed test.
declare -A way=(
	[IDLE]=""
	[SPAWNING]="'seq > 900: upgrade'"
	[FOLLOWING]="'seq > 900: upgrade'"
	[FLIPPING]="'seq > 900: upgrade'"
	[PROBATION]="'seq > 900: upgrade'"
	[RETURNING]="'seq > 900: upgrade' 'servicing.state == PROBATION: rollback'"
	[DONE]="'seq > 900: upgrade' 'servicing.state == PROBATION: commit'"
	[ROLLED_BACK]="'seq > 900: upgrade' 'servicing.state == PROBATION: rollback'"
)
# What comes of it; servicing.def tells the code of the phase that failed.
declare -A outcome=(
	[IDLE/owner]="servicing.state == IDLE and servicing.deaths == 1"
	[IDLE/all]="servicing.state == IDLE and servicing.deaths == 1"
	[SPAWNING/owner]="servicing.state == ROLLED_BACK and servicing.failed_in == 2"
	[SPAWNING/others]="servicing.state == PROBATION"
	[SPAWNING/all]="servicing.state == ROLLED_BACK and servicing.failed_in == 2"
	[FOLLOWING/owner]="servicing.state == ROLLED_BACK and servicing.failed_in == 3"
	[FOLLOWING/others]="servicing.state == ROLLED_BACK and servicing.failed_in == 3"
	[FOLLOWING/all]="servicing.state == ROLLED_BACK and servicing.failed_in == 3"
	[FLIPPING/owner]="servicing.state == ROLLED_BACK and servicing.failed_in == 4"
	[FLIPPING/others]="servicing.state == ROLLED_BACK and servicing.failed_in == 4"
	[FLIPPING/all]="servicing.state == ROLLED_BACK and servicing.failed_in == 4"
	[PROBATION/owner]="servicing.state == ROLLED_BACK and servicing.returns == 1"
	[PROBATION/others]="servicing.state == PROBATION and servicing.predecessor == 0"
	[PROBATION/all]="servicing.state == PROBATION and servicing.deaths == 1"
	[RETURNING/owner]="servicing.state == ROLLED_BACK and servicing.returns == 1"
	[RETURNING/others]="servicing.state == PROBATION and servicing.predecessor == 0"
	[RETURNING/all]="servicing.state == PROBATION and servicing.deaths == 1"
	[DONE/owner]="servicing.state == DONE and servicing.deaths == 1"
	[DONE/all]="servicing.state == DONE and servicing.deaths == 1"
	[ROLLED_BACK/owner]="servicing.state == ROLLED_BACK and servicing.deaths == 1"
	[ROLLED_BACK/all]="servicing.state == ROLLED_BACK and servicing.deaths == 1"
)
for phase in $(sed -n 's/^SM_STATE([0-9]*, *\([A-Z_]*\),.*/\1/p' statemachines/servicing.def); do
	if [ -z "${way[$phase]+there}" ]; then
		echo "FAIL  $phase: no way to this phase is known here"
		failed=$((failed + 1))
		continue
	fi
	for victim in owner others all; do
		eval "steps=(${way[$phase]})"
		args=(--seed 3)
		for step in "${steps[@]}" "servicing.state == $phase and seq > 900: kill-$victim"; do
			args+=(--when "$step")
		done
		args+=(--when "${outcome[$phase/$victim]:-seq > 2000}:")
		moment "$phase: kill-$victim" "${args[@]}"
	done
done
echo "$held moments held, $failed did not"
[ "$failed" -eq 0 ]
