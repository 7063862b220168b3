#!/bin/sh
# The demonstration, in the nested bed: a stock Debian guest under load, while its paravisor is replaced and killed.
#
# usage: demo.sh --build-a DIR --build-b DIR [--out DIR] [--timeout SECONDS] [--cache DIR] [--replacements N] [--kills N] [--load SECONDS]
#
# The last line tells the figures. Exit status 0 only if all of it holds: N replacements (10), N kills (20) with requests
# in flight, no error and no wrong byte (seen by the guest, and again from outside on the disks), no reboot, no VP stopped. The load lasts as long as these take, SECONDS at least.
# DEMO_SABOTAGE=kick|double|flip makes holdfast break that on purpose; the demonstration must then fail.
set -eu
me=demo
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

a='' b='' out='' timeout=280 replacements_wanted=10 kills_wanted=20 load=0 cache=${HOLDFAST_BED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast-bed}
while [ $# -gt 0 ]; do
	[ $# -gt 1 ] || die "$1: its value is missing"
	case $1 in
	--build-a) a=$2 ;;
	--build-b) b=$2 ;;
	--out) out=$2 ;;
	--timeout) timeout=$2 ;;
	--replacements) replacements_wanted=$2 ;;
	--kills) kills_wanted=$2 ;;
	--load) load=$2 ;;
	--cache) cache=$2 ;;
	*) die "$1: unknown option" ;;
	esac
	shift 2
done
[ -n "$a" ] && [ -n "$b" ] || die "--build-a DIR and --build-b DIR are needed: two builds of holdfast"
if [ -z "$out" ]; then
	out=$(mktemp -d)
	echo "demo: output in $out"
fi
need debugfs e2fsck awk "${CC:-gcc}"
mkdir -p "$out"
"$here/../guest/build.sh" "$out/bin"

rm -f "$out/console.log" "$out/figures"
began=$(date +%s)
status=0
"$here/run-bed.sh" --scenario "$here/scenario-demo.sh" --out "$out" --cache "$cache" --timeout "$timeout" --vps 2 --result-mb 1024 \
	--build-a "$a" --build-b "$b" --env "DEMO_SABOTAGE=${DEMO_SABOTAGE:-}" \
	--env "HF_REPLACEMENTS=$replacements_wanted" --env "HF_KILLS=$kills_wanted" --env "HF_LOAD=$load" >"$out/shown.log" 2>"$out/bed.err" &
bed=$!
# Show what people want to see; the rest is in console.log.
trap 'kill $bed 2>/dev/null || true' INT TERM
tail -n +1 -f --pid=$bed "$out/shown.log" 2>/dev/null | grep --line-buffered -a -v -E 'HFCON|HFSUMMARY|HFLOAD' || true
wait $bed || status=$?
cat "$out/bed.err" >&2
[ -s "$out/console.log" ] || die "the bed did not start"

failed=''
because() { failed="$failed; $*"; }
[ "$status" = 0 ] || because "the scenario ended with $status"

kernel=unknown vps=unknown replacements=0 kills=0 io_errors=unknown mismatches=unknown p50=unknown max=unknown
vp_stopped=unknown uptime_ok=no complete=no warnings='' overall=0 requests=0 verified=0 stalled=0 gaps=''
awk -f "$here/demo-figures.awk" "$out/console.log" >"$out/figures"
while IFS='=' read -r key value; do
	case $key in
	kernel) kernel=$value ;;
	vps) vps=$value ;;
	replacements) replacements=$value ;;
	kills) kills=$value ;;
	io_errors) io_errors=$value ;;
	mismatches) mismatches=$value ;;
	p50) p50=$value ;;
	max) max=$value ;;
	vp_stopped) vp_stopped=$value ;;
	uptime_ok) uptime_ok=$value ;;
	complete) complete=$value ;;
	warnings) warnings=$value ;;
	overall) overall=$value ;;
	requests) requests=$value ;;
	verified) verified=$value ;;
	stalled) stalled=$value ;;
	gaps) gaps=$value ;;
	esac
done <"$out/figures"

# How build b differs, and nothing else does.
expected='machine=scsi\[[0-9]*\] effect=GUEST_WRITE field=tail'

# From outside.
if [ "$complete" = yes ]; then
	"$out/bin/hfverify" "$out/raw.img" || because "raw.img: wrong blocks on the disk"
	if e2fsck -fn "$out/ext4.img" >"$out/e2fsck.log" 2>&1; then
		echo "e2fsck: $out/ext4.img: clean"
	else
		because "ext4.img: the file system is damaged, see $out/e2fsck.log"
	fi
	rm -f "$out/file.dat"
	debugfs -R "dump /hfload.dat $out/file.dat" "$out/ext4.img" >/dev/null 2>&1 || true
	if [ -s "$out/file.dat" ]; then
		"$out/bin/hfverify" "$out/file.dat" || because "ext4.img: wrong blocks in the file"
		rm -f "$out/file.dat"
	else
		because "ext4.img: the load's file cannot be read"
	fi
	# The log of the whole run, by both builds: the same effects but for the one reply in which they differ, and the same
	# states at its checkpoints.
	for build in "$a" "$b"; do
		"$build/holdfast" replay --state "$out/result/archive" --verify --all >"$out/replay.log" 2>&1 || true
		if ! grep -q '^replay: events=[1-9]' "$out/replay.log" || grep -q '^holdfast: ' "$out/replay.log" ||
			grep '^divergence ' "$out/replay.log" | grep -q -v "$expected"; then
			because "the log does not replay by $build: see $out/replay.log"
		fi
		echo "demo: by $(basename "$build"): $(tail -n 1 "$out/replay.log"); expected are those of a changed reply"
	done
else
	because "the guest did not tell its results to the end"
fi

[ "$vps" = 2 ] || because "the guest has $vps VPs, not 2"
[ "$replacements" = "$replacements_wanted" ] || because "$replacements replacements, not $replacements_wanted"
[ "$kills" = "$kills_wanted" ] || because "$kills kills, not $kills_wanted"
[ "$io_errors" = 0 ] || because "io_errors=$io_errors"
[ "$mismatches" = 0 ] || because "mismatches=$mismatches"
[ "$stalled" = 0 ] || because "a load stalled"
[ "$vp_stopped" = 0 ] || because "vp_stopped=$vp_stopped"
[ "$uptime_ok" = yes ] || because "the guest's uptime is not continuous"
[ "$warnings" = 0 ] || because "the guest's kernel warned (${warnings:-?} lines)"

echo "demo: requests=$requests blocks_verified_in_guest=$verified longest_gap_of_the_run_ms=$overall seconds=$(($(date +%s) - began))"
echo "demo: gaps_ms=$gaps"
echo "demo: requests in flight at the events, how often: $(sed -n 's/.*HFEVENT .*inflight=\([0-9]*\).*/\1/p' "$out/console.log" | sort -n | uniq -c | awk '{printf "%s%s:%s", sep, $2, $1; sep = " "}')"
echo "demo: builds that served, by the log: $(sed -n 's/.*HFSERVED .*log=\([ab]*\).*/\1/p' "$out/console.log")"
lost=no
case $status in
75 | 124 | 125) lost=yes ;;
esac
[ -z "$failed" ] || echo "demo: FAILED: ${failed#; }; the console is in $out/console.log" >&2
echo "demo: kernel=$kernel vps=$vps replacements=$replacements kills=$kills io_errors=$io_errors mismatches=$mismatches guest_gap_ms_p50=$p50 guest_gap_ms_max=$max vp_stopped=$vp_stopped guest_uptime_ok=$uptime_ok"
# 77: the emulator lost every machine it was given, which says nothing about holdfast.
[ $lost = no ] || exit 77
[ -z "$failed" ]
