#!/bin/bash
# make soak: the full volumes. Each round is a scenario with its own seed; a
# round that held is one line of the record file, so that a run that was
# interrupted goes on where it stopped.
#
# usage: soak.sh BUILD-A BUILD-B RECORD
#   SOAK_ROUNDS=200   rounds of each scenario that the record must hold for this commit
set -eu
cd "$(dirname "$0")/../.."
a=$1 b=$2 record=$3
rounds=${SOAK_ROUNDS:-200}
commit=$(tests/soak/mark.sh)
[ -s "$record" ] || printf '# commit\tscenario\tround\treplacements\tkills\trequests\treplayed\tseconds\n' >"$record"

value() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$2" | tail -n 1; }

done_rounds() { awk -F'\t' -v c="$commit" -v s="$1" '$1 == c && $2 == s' "$record" | wc -l; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
n=$(done_rounds soft-replace)
while [ "$n" -lt "$rounds" ]; do
	n=$((n + 1))
	start=$SECONDS
	if ! REPLACEMENTS=50 KILLS=500 PAUSE=0.02 SECONDS_OF_LOAD=75 timeout 400 \
		tests/e2e/soft-replace.sh "$a" "$b" >"$log" 2>&1; then
		cat "$log"
		echo "soak: round $n did not hold"
		exit 1
	fi
	printf '%s\tsoft-replace\t%d\t%d\t%d\t%s\t%s\t%d\n' "$commit" "$n" "$(value replacements "$log")" \
		"$(value kills "$log")" "$(sed -n 's/.*"ops":\([0-9]*\).*/\1/p' "$log" | tail -n 1)" \
		"$(value events "$log")" $((SECONDS - start)) >>"$record"
	tail -n 1 "$record"
done

# Rollbacks from bad builds, in a record of their own. SOAK_ROLLBACKS=0 leaves them out.
[ "${SOAK_ROLLBACKS:-1000}" = 0 ] || tests/soak/rollbacks.py "$a" "$(dirname "$a")/sabotage" \
	"$(dirname "$record")/rollbacks.jsonl" --rollbacks "${SOAK_ROLLBACKS:-1000}"

# SIGKILL at 10^5 turn boundaries and effects, in a record of its own beside this
# one. SOAK_KILLS=0 leaves it out.
[ "${SOAK_KILLS:-100000}" = 0 ] || tests/soak/kills.py "$a" "$(dirname "$record")/kills.jsonl" \
	--points "${SOAK_KILLS:-100000}"

# Simulation: 10^9 events over 10^4 seeds, in a record of its own beside this one.
# SOAK_SIM=0 leaves it out.
[ "${SOAK_SIM:-1}" = 0 ] || tests/soak/sim.py "$a" "$(dirname "$record")/sim.jsonl"

# Every allocation and system call fails once. SOAK_FAILING=0 leaves it out.
[ "${SOAK_FAILING:-1}" = 0 ] || tests/soak/failing.py "$a" "$(dirname "$record")/failing.jsonl"

# Attacks of the hostile guest, against a build with sanitizers. SOAK_HOSTILE=0 leaves them out.
[ "${SOAK_HOSTILE:-10000000}" = 0 ] || tests/soak/hostile.py "$(dirname "$a")/soak" "$(dirname "$record")/hostile.jsonl" \
	--attacks "${SOAK_HOSTILE:-10000000}" --pairs "$(dirname "$record")/hostile-pairs.tsv"

# The stock guest, 100 replacements and 100 kills a round. SOAK_BED=0 leaves it out.
[ "${SOAK_BED:-1}" = 0 ] || tests/soak/bed.sh "$a" "$b" "$(dirname "$record")/bed.tsv" "${SOAK_BED:-1}"
