#!/bin/bash
# Records a log for the corpus: a run of the simulation, exported, packed. Logs in
# the tree are never recorded again; a new one gets a new name.
#
# usage: record.sh BUILD NAME SIM-OPTION...
#   record.sh build/a kills-2 --seed 9 --events 1500 --faults kill-turn,kill-effect
#   TO=N   only the events up to N
set -eu
build=$(realpath "${1:?usage: $0 BUILD NAME SIM-OPTION...}")
name=${2:?usage: $0 BUILD NAME SIM-OPTION...}
shift 2
cd "$(dirname "$0")"
[ ! -e "$name.log.xz" ] || { echo "record.sh: $name.log.xz is there already: choose another name"; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/holdfast" sim "$@" --state "$work/state"
"$build/holdfast" log --state "$work/state/archive" ${TO:+--to "$TO"} --export "$work/log"
"$build/holdfast" replay "$work/log" --verify | tail -n 1
xz -9e <"$work/log" >"$name.log.xz"
ls -l "$name.log.xz"
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- ../.. ':!.' || commit=$commit-dirty
printf '%s\t%s\t%s\n' "$name" "$commit" "holdfast sim $*${TO:+ up to event $TO}" >>recorded.txt
