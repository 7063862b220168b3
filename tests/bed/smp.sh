#!/bin/sh
# A stock guest with another number of VPs: boots, does verified I/O over its sub-channels on the raw disk and on ext4,
# through one replacement and two kills. usage: smp.sh VPS BUILD-A BUILD-B OUT [WORDS for L1's kernel]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vps=$1 out=$4
mkdir -p "$out"
status=0
"$here/run-bed.sh" --scenario "$here/scenario-demo.sh" --out "$out" --timeout 280 --attempts 2 --vps "$vps" --append "${5:-}" --build-a "$2" --build-b "$3" \
	--env HF_REPLACEMENTS=1 --env HF_KILLS=2 --env "HF_ANY_FLIP=$([ "$vps" != 1 ] || echo yes)" || status=$?
case $status in
75 | 124 | 125) exit 77 ;; # the emulator lost every machine
esac
[ $status = 0 ] || { tail -n 40 "$out/console.log"; exit $status; }
grep -a -q "HFGUEST ready .*vps=$vps " "$out/console.log" || { echo "the guest does not have $vps VPs"; exit 1; }
[ "$(grep -a -c 'HFLOAD .*"io_errors":0,"mismatches":0' "$out/console.log")" -ge 2 ] || { echo "a load failed"; exit 1; }
e2fsck -fn "$out/ext4.img"
