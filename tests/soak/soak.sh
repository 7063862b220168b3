#!/bin/bash
# make soak: the full volumes. Each round is a scenario with its own seed; a
# round that held is one line of the record file, so that a run that was
# interrupted goes on where it stopped.
#
# usage: soak.sh BUILD-A BUILD-B FOLDER   of the records; beside BUILD-A lie the builds sabotage and soak
set -eu
cd "$(dirname "$0")/../.."
a=$1 b=$2 folder=$3

# Replacements, deaths and take-overs by a standby, by the clock. SOAK_SERVICING=0 leaves them out.
[ "${SOAK_SERVICING:-1}" = 0 ] || tests/soak/servicing.py "$a" "$b" "$folder/servicing.jsonl"

# Rollbacks from bad builds, in a record of their own. SOAK_ROLLBACKS=0 leaves them out.
[ "${SOAK_ROLLBACKS:-1000}" = 0 ] || tests/soak/rollbacks.py "$a" "$(dirname "$a")/sabotage" \
	"$folder/rollbacks.jsonl" --rollbacks "${SOAK_ROLLBACKS:-1000}"

# SIGKILL at 10^5 turn boundaries and effects, in a record of its own.
# SOAK_KILLS=0 leaves it out.
[ "${SOAK_KILLS:-100000}" = 0 ] || tests/soak/kills.py "$a" "$folder/kills.jsonl" \
	--points "${SOAK_KILLS:-100000}"

# Simulation: 10^9 events over 10^4 seeds, in a record of its own.
# SOAK_SIM=0 leaves it out.
[ "${SOAK_SIM:-1}" = 0 ] || tests/soak/sim.py "$a" "$folder/sim.jsonl"

# Every mutant, and the known mistakes. SOAK_MUTANTS=0 leaves them out.
[ "${SOAK_MUTANTS:-1}" = 0 ] || tests/mutants/all.py "$(dirname "$a")/mutants-soak" --known \
	--record "$folder/mutants.jsonl"

# Every allocation and system call fails once. SOAK_FAILING=0 leaves it out.
[ "${SOAK_FAILING:-1}" = 0 ] || tests/soak/failing.py "$a" "$folder/failing.jsonl"

# One byte changed in ring, checkpoint, LMDB file, exported log. SOAK_MUTATIONS=0 leaves it out.
[ "${SOAK_MUTATIONS:-10000}" = 0 ] || tests/soak/mutations.py "$a" "$b" "$(dirname "$a")/soak" \
	"$folder/mutations.jsonl" --mutations "${SOAK_MUTATIONS:-10000}"

# Attacks of the hostile guest, against a build with sanitizers. SOAK_HOSTILE=0 leaves them out.
[ "${SOAK_HOSTILE:-10000000}" = 0 ] || tests/soak/hostile.py "$(dirname "$a")/soak" "$folder/hostile.jsonl" \
	--attacks "${SOAK_HOSTILE:-10000000}" --pairs "$folder/hostile-pairs.tsv"

# The stock guest, 40 replacements and 200 kills a round. SOAK_BED=0 leaves it out.
[ "${SOAK_BED:-5}" = 0 ] || tests/soak/bed.sh "$a" "$b" "$folder/bed.tsv" "${SOAK_BED:-5}"

# A spinning thread of the stock guest, left alone, replaced under, killed under. SOAK_SPIN=0 leaves it out.
[ "${SOAK_SPIN:-3}" = 0 ] || {
	out=$(mktemp -d)
	tests/bed/spin.sh "$a" "$b" "$out" "${SOAK_SPIN:-3}" >"$out/figures" || { cat "$out/figures"; exit 1; }
	sed "s/^/$(tests/soak/mark.sh)\t/" "$out/figures" | tee -a "$folder/spin.tsv"
	rm -rf "$out"
}
