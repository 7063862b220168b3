#!/bin/sh
# The longest pauses of a spinning thread in the stock guest, left alone, while its paravisor is replaced, and while it is
# killed, side by side (scenario-spin.sh). usage: spin.sh BUILD-A BUILD-B OUT [ROUNDS [CPUS of L1]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$3
mkdir -p "$out"
status=0
"$here/run-bed.sh" --scenario "$here/scenario-spin.sh" --out "$out" --timeout 600 --vps 2 --cpus "${5:-1}" --build-a "$1" --build-b "$2" \
	--env "HF_ROUNDS=${4:-3}" --env HF_CMDLINE=hf.workers=2 >"$out/shown.log" 2>&1 || status=$?
case $status in
75 | 124 | 125) exit 77 ;; # the emulator lost every machine
esac
[ $status = 0 ] || { tail -n 40 "$out/shown.log"; exit $status; }
[ "$(grep -a -c 'HFLOAD .*"io_errors":0,"mismatches":0' "$out/console.log")" -ge 2 ] || { echo "a load failed"; exit 1; }
grep -a -q '^HFSTOPPED vp_stopped=0' "$out/console.log" || { echo "a VP was stopped"; exit 1; }
# Of the rounds of each kind: the medians of the quantiles, the greatest maximum.
for name in calm replaced killed; do
	n=$(sed -n "s/^HFDONE name=$name n=\([0-9]*\).*/\1/p" "$out/console.log" | awk '{s += $1} END {print s + 0}')
	p50=$(sed -n "s/^HFSPIN name=$name .* p50_us=\([0-9]*\) .*/\1/p" "$out/console.log" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}')
	p99=$(sed -n "s/^HFSPIN name=$name .* p99_us=\([0-9]*\) .*/\1/p" "$out/console.log" | sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}')
	max=$(sed -n "s/^HFSPIN name=$name .* max_us=\([0-9]*\).*/\1/p" "$out/console.log" | sort -n | tail -n 1)
	[ -n "$max" ] || { echo "spin: $name was not measured"; exit 1; }
	echo "spin: $name actions=$n longest pause of 100 ms: p50=$p50 us, p99=$p99 us, max=$max us"
done
