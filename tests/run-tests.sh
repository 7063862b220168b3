#!/bin/bash
# make test: everything, from unit tests to a stock guest in the nested bed.
# Each step writes its own log under $BUILD/test/; the last line counts. The seconds of a
# step are five times what it takes here, or more: only one that hangs meets them.
#   HOLDFAST_TEST_ONLY=regex   only the steps whose names match
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
OUT=$BUILD/test
mkdir -p "$OUT"
passed=0 failed=0 skipped=0

# Criterion's own count of a log; 0 when it holds none.
criterion_count() {
	sed -n 's/.*Synthesis: Tested: \([0-9]*\) | Passing: \([0-9]*\) | Failing: \([0-9]*\) | Crashing: \([0-9]*\).*/\2 \3 \4/p' "$1" |
		awk '{p += $1; f += $2 + $3} END {print p + 0, f + 0}'
}

# step NAME SECONDS COMMAND...: one check, bounded in time.
step() {
	local name=$1 seconds=$2 log start counts p f
	shift 2
	[[ $name =~ ${HOLDFAST_TEST_ONLY:-.} ]] || return 0
	log=$OUT/${name//[^a-z0-9]/-}.log
	start=$SECONDS
	if timeout --kill-after=10 "$seconds" "$@" >"$log" 2>&1; then
		counts=$(criterion_count "$log")
		p=${counts% *}
		passed=$((passed + (p > 0 ? p : 1)))
		printf 'ok    %-34s %4ds%s\n' "$name" $((SECONDS - start)) "$([ "$p" -gt 0 ] && echo "  $p tests")"
	else
		local status=$?
		if [ $status -eq 77 ]; then
			skipped=$((skipped + 1))
			printf 'SKIP  %-34s %4ds  see %s\n' "$name" $((SECONDS - start)) "$log"
			return 0
		fi
		counts=$(criterion_count "$log")
		p=${counts% *} f=${counts#* }
		passed=$((passed + p))
		failed=$((failed + (f > 0 ? f : 1)))
		printf 'FAIL  %-34s %4ds  status %d, see %s\n' "$name" $((SECONDS - start)) "$status" "$log"
		tail -n 15 "$log" | sed 's/^/      | /'
	fi
}

# As step, for what runs inside the emulator: a run that fails is made once more,
# and the line says so (docs/LIMITS.md tells what the emulator does to guests).
bed_step() {
	local name=$1 seconds=$2 failed_before=$failed
	shift 2
	step "$name" "$seconds" "$@"
	if [ "$failed" -gt "$failed_before" ]; then
		echo "      once more, because the emulator may have been at fault:"
		failed=$failed_before
		step "$name, second run" "$seconds" "$@"
	fi
}

# build NAME CC OPTIONS...: a build directory of that name.
build() {
	local name=$1 cc=$2
	shift 2
	step "build $name" 900 env CC="$cc" bash -c '
		dir=$1; shift
		[ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" || exit 1
		ninja -C "$dir"' build "$BUILD/$name" "$@"
}

unit() {
	# Leaks are not looked for: programs end with what they hold all their life.
	step "unit $1" 1800 env ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		meson test -C "$BUILD/$1" --no-rebuild --num-processes 2 --verbose \
		--timeout-multiplier 5 --no-suite slow
}

step "tidy" 60 python3 tests/tidy.py
build a gcc -Dvariant=a
build b gcc -Dvariant=b
# Only what the compatibility of schema versions needs.
step "build c" 900 env CC=gcc bash -c '
	[ -f "$0/build.ninja" ] || meson setup "$0" -Dvariant=c || exit 1
	ninja -C "$0" holdfast holdfast-partition tests/compat/compat' "$BUILD/c"
build clang clang -Dvariant=a --buildtype=plain
build asan clang -Dvariant=a -Db_sanitize=address,undefined -Db_lundef=false
build sabotage gcc -Dvariant=a -Dsabotage=true

step "lint a" 30 "$BUILD/a/holdfast" machines --lint
step "lint b" 30 "$BUILD/b/holdfast" machines --lint
# Published schemas: a build may know more than level N, never less or otherwise.
for n in 1 2 3; do
	for v in a b c; do
		[ "$v" = c ] || [ "$n" -eq 1 ] || [ "$v$n" = b2 ] || continue
		step "schema $n in build $v" 30 "$BUILD/$v/holdfast" machines --golden "tests/compat/golden/schema-$n"
	done
done
step "schema versions with each other" 600 env COUNT="${HOLDFAST_COMPAT:-1000}" \
	tests/compat/run.sh "$BUILD/a" "$BUILD/b" "$BUILD/c"
# The builds that wrote the golden states: their states, and an upgrade and a way back under load.
step "schema versions: builds of their tags" 900 tests/compat/tagged.sh "$BUILD/tagged" \
	holdfast holdfast-partition tests/soft/softload tests/soft/softchk
[ ! -x "$BUILD/tagged/schema-1/holdfast" ] ||
	step "schema versions: states of tagged builds" 600 env COUNT="${HOLDFAST_COMPAT:-1000}" \
		tests/compat/run.sh "$BUILD/a" "$BUILD/b" "$BUILD/c" "$BUILD"/tagged/schema-*
[ ! -x "$BUILD/tagged/schema-1/holdfast" ] ||
	step "schema versions: upgrade of a tagged build" 200 env SECONDS_OF_LOAD=12 REPLACEMENTS=4 KILLS=8 \
		tests/e2e/soft-replace.sh "$BUILD/tagged/schema-1" "$BUILD/b"
step "docs are current" 30 bash -c '
	d=$(mktemp -d) && trap "rm -rf $d" EXIT
	"$0" machines --doc "$d" && diff -r "$d" docs/machines ||
		{ echo "docs/machines is stale: run make docs"; exit 1; }
	"$0" help --markdown | diff - docs/cli.md ||
		{ echo "docs/cli.md is stale: run make docs"; exit 1; }' "$BUILD/a/holdfast"
unit a
unit b
unit clang
unit asan

for script in tests/e2e/soft-*.sh; do
	step "e2e $(basename "$script" .sh)" 600 "$script" "$BUILD/a" "$BUILD/b"
done
# A fault that is planted must be found, and a seed that once found one must hold.
step "sim: seeds that found something" 240 bash -c '
	grep -v "^#" sim/seeds.txt | while read -r words; do
		"$0" sim $words || exit 1
	done' "$BUILD/a/holdfast"
step "sim: awkward moments" 150 tests/e2e/sim-moments.sh "$BUILD/a"
# 1/100 of the soak's.
step "rollbacks from bad builds" 400 bash -c '
	record=$(mktemp) && trap "rm -f $record" EXIT
	tests/soak/rollbacks.py "$0/a" "$0/sabotage" "$record" --rollbacks 10 --each 1.2 \
		--kinds crash@1,owner/wrong@40,owner/crash@200,owner/differ@40,owner/scribble@40,owner/crash@1,owner/wrong@40,owner/crash@200,owner/differ@40,owner/hang@100,owner' "$BUILD"
step "sim: new seeds" 300 "$BUILD/a/holdfast" sim --seed "$(date +%j)000" --seeds 1000 --seconds 50 --events 50000
step "sim: new seeds, hostile guest" 300 "$BUILD/a/holdfast" sim --seed "$(date +%j)000" --seeds 1000 --seconds 20 --events 10000 --hostile
for bug in kick double flip; do
	step "sim finds a planted bug: $bug" 100 bash -c '
		out=$(HOLDFAST_SABOTAGE=$1 "$0" sim --seed 1 --events 20000 2>&1) && exit 1
		grep -a "^FAILED after .* events: guest: " <<<"$out"' "$BUILD/sabotage/holdfast" $bug
done
# One run in six has an archiver; each that has one when its VM ends must fail.
step "sim finds a planted bug: stay" 100 bash -c '
	out=$(HOLDFAST_SABOTAGE=stay "$0" sim --seed 1 --seeds 60 --events 10000 2>&1) && exit 1
	grep -a "^FAILED after .* events: archive: the VM has ended and the archiver does not" <<<"$out"' "$BUILD/sabotage/holdfast"
# The fixed scenario, half of its points those of every day, half of this one.
step "SIGKILL at turns and effects" 120 bash -c '
	"$0" sim --seed 1 --kill-points 500 & "$0" sim --seed "$1" --kill-points 500 && wait $!' \
	"$BUILD/a/holdfast" "$(date +%j)"
step "mutations of log, checkpoint, archive, export" 400 env COUNT=100 ARCHIVE_COUNT=20 KEEP=4M EXPORT_COUNT=40 \
	tests/e2e/mutate.sh "$BUILD/a" "$BUILD/b" "$BUILD/asan"
step "recorded corpus" 120 tests/corpus/run.sh "$BUILD/a" "$BUILD/b" "$BUILD/c" "$BUILD/clang" "$BUILD/asan"
for scenario in read write message takeover; do
	step "crash points: $scenario" 420 tests/crash/run.sh "$BUILD/a" "$scenario"
done
step "model of the hand-over" 300 tests/model/run.sh
step "mutants of the hand-over" 600 python3 tests/crash/mutants.py "$BUILD/mutants-crash"
step "mutants of the log" 1200 tests/mutants/run.py "$BUILD/mutants"
# A small sample of what docs/TESTING.md tells the share of; two of twelve may survive.
step "mutants of the machines" 900 tests/mutants/all.py "$BUILD/mutants-all" --sample 12 --at-least 80 --sim-seconds 10
step "calls that fail" 400 tests/failing/failing.py "$BUILD/a" --every 40
step "bounded proofs" 600 tests/proof/run.sh "$BUILD/proof" 'distance|descriptor|signals|copies|packet|take'
bed_step "demo (nested bed)" 900 tests/bed/demo.sh --build-a "$BUILD/a" --build-b "$BUILD/b" --out "$OUT/demo"
# What the stock guest's paravisors did is done again by another compiler without optimization, in memory that is not zero.
step "the demo's log, by clang -O0" 120 bash -c '
	"$0" replay --state "$1" --verify --fill 165 | tee /dev/stderr | grep -q "^replay: events=[1-9].* divergences=0$"' \
	"$BUILD/clang/holdfast" "$OUT/demo/result/archive"
bed_step "bed: owner's actions" 900 tests/bed/guest.sh "$BUILD/a" "$BUILD/b" "$OUT/bed-guest"
bed_step "bed: sg3_utils, and a reference" 600 tests/bed/sg.sh "$BUILD/a" "$OUT/bed-sg"
# Other numbers of VPs than the demo's.
for vps in ${HOLDFAST_TEST_SMP:-1 4}; do
	bed_step "bed: $vps VPs" 600 tests/bed/smp.sh $vps "$BUILD/a" "$BUILD/b" "$OUT/bed-$vps"
done
line="$passed passed, $failed failed"
[ "$skipped" -gt 0 ] && line="$line, $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ]
