#!/bin/bash
# A demo that is sabotaged must fail, for its reason. usage: sabotage.sh kick|double|flip A B OUT
set -u
how=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
DEMO_SABOTAGE=$how "$(dirname "$0")/demo.sh" --build-a "$2" --build-b "$3" --out "$4" >"$log" 2>&1 || status=$?
if [ $status = 77 ]; then
	cat "$log"
	exit 77
elif [ $status = 0 ]; then
	cat "$log"
	echo "sabotage by $how was not noticed"
	exit 1
fi
cat "$log"
case $how in
kick) pattern='stall|no progress|timeout|not ready|gap|stuck' ;;
double) pattern='io_errors|Incorrect transaction|kernel' ;;
flip) pattern='mismatch' ;;
*) echo "unknown sabotage $how"; exit 2 ;;
esac
grep -qiE "FAILED.*($pattern)" "$log" || { echo "it failed, but not because of $how"; exit 1; }
