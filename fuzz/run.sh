#!/bin/bash
# make fuzz: every target for a while, from a corpus that grows, beginning with
# real states of a VM under load and all inputs that ever ended a target.
#
#   run.sh BUILD-A BUILD-FUZZ CORPUS [SECONDS [TARGET...]]
#
# BUILD-FUZZ is made with clang and -Dfuzz=true. An input that ends a target is
# left in CORPUS and named; put it into fuzz/crashers/TARGET/ with its fix.
set -u
A=$(realpath "$1") FUZZ=$(realpath "$2")
mkdir -p "$3" && CORPUS=$(realpath "$3") SECONDS_EACH=${4:-60}
shift $(($# < 4 ? $# : 4))
cd "$(dirname "$0")/.." || exit 1
targets=${*:-$(basename -a fuzz/fuzz_*.c | sed 's/fuzz_\(.*\)\.c/\1/')}

# A soft guest reads and writes for a moment; its states go to CORPUS/states.
record_states() {
	local work
	work=$(mktemp -d)
	truncate -s 16M "$work/disk"
	"$A/holdfast" run --backend soft --kernel "$A/tests/soft/softload" --vps 2 --memory 64M \
		--cmdline "bench seconds=8 depth=16 channels=2 mix=rw" --disk "$work/disk" \
		--state "$work/state" >"$work/console" 2>&1 </dev/null &
	for _ in $(seq 50); do
		[ -S "$work/state/control" ] && break
		sleep 0.1
	done
	sleep 1
	"$A/fuzz/states" "$work/state" "$CORPUS/states" 64 20
	wait
	rm -rf "$work"
}

[ -s "$CORPUS/states" ] || record_states || exit 1
export FUZZ_STATES=$CORPUS/states ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1
failed=0
for target in $targets; do
	mkdir -p "$CORPUS/$target"
	known=()
	[ -d "fuzz/crashers/$target" ] && known=("fuzz/crashers/$target")
	if "$FUZZ/fuzz/libfuzz_$target" -max_total_time="$SECONDS_EACH" -timeout=30 -rss_limit_mb=4096 \
		-max_len=16384 -print_final_stats=1 -artifact_prefix="$CORPUS/$target-" \
		"$CORPUS/$target" "${known[@]}" >"$CORPUS/$target.log" 2>&1; then
		echo "ok    $target: $(sed -n 's/stat::number_of_executed_units: */inputs /p' "$CORPUS/$target.log"), corpus $(ls "$CORPUS/$target" | wc -l)"
	else
		failed=1
		echo "FAIL  $target: see $CORPUS/$target.log"
		tail -n 5 "$CORPUS/$target.log" | sed 's/^/      | /'
	fi
done
exit $failed
