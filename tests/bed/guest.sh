#!/bin/sh
# What an owner of a machine does to a stock guest (scenario-guest.sh), with verified I/O around each and a replacement
# and a kill of the paravisor in the middle. usage: guest.sh BUILD-A BUILD-B OUT [ACTION...]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
a=$1 b=$2 out=$3
shift 3
cache=${HOLDFAST_BED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast-bed}
mkdir -p "$out"
"$here/fetch-kernel.sh" "$cache/kernel"
status=0
"$here/run-bed.sh" --scenario "$here/scenario-guest.sh" --out "$out" --cache "$cache" --timeout 420 --vps 2 --ext4-mb 256 \
	--build-a "$a" --build-b "$b" --file "$cache/kernel/vmlinuz:guest/vmlinuz" --env "HF_ACTIONS=$*" || status=$?
case $status in
75 | 124 | 125) exit 77 ;; # the emulator lost every machine
esac
exit $status
