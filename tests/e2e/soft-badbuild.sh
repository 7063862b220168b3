#!/bin/bash
# Builds that are bad on purpose, as successors under verified I/O. What shows
# while it follows is refused before the flip, and named; what shows only once it
# serves gives the guest back to the predecessor. The guest's verdict is clean
# each time, and the first build serves at the end.
. "$(dirname "$0")/lib.sh"
BAD=${BUILD_A%/*}/sabotage/holdfast
[ -x "$BAD" ] || fail "no build in ${BAD%/*} (meson setup -Dsabotage=true)"

# member NAME JSON: a string or number of it.
member() {
	sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" <<<"$2"
}

is_rolled_back() {
	"$A" inspect --state "$STATE" 'servicing[0].state' 2>/dev/null | grep -q ROLLED_BACK
}

# until_returned: the servicing machine says ROLLED_BACK.
until_returned() {
	await 120 is_rolled_back && return 0
	"$A" inspect --state "$STATE" 'servicing[0]'
	fail "$kind: the guest did not come back"
}

# It follows until it is found out: that is a matter of turns, not of time.
before_flip() {
	result=$("$A" service --state "$STATE" --to "$BAD" --follow-seconds 120 --json 2>"$WORK/refused") &&
		fail "$kind: it got the guest"
	[ "$(member failed_in "$result")" = FOLLOWING ] || fail "$kind: $result"
	grep -q "$1" "$WORK/refused" || fail "$kind: not told why: $(cat "$WORK/refused")"
}

after_flip() {
	result=$("$A" service --state "$STATE" --to "$BAD" --follow-events 200 --voting 1000000 --probation 600 --json) || fail "$kind: refused"
	until_returned
	"$A" inspect --state "$STATE" 'servicing[0].why' >"$WORK/why"
	grep -q "$1" "$WORK/why" || fail "$kind: not told why: $(cat "$WORK/why")"
}

# try KIND before|after WORDS
try() {
	kind=$1
	STATE=$WORK/s.${kind//[^a-z0-9]/-}
	REPORT=$STATE.report DISK=$STATE.disk
	HOLDFAST_BADBUILD=$kind start_vm 2 32M "load depth=16 channels=2 $TOLD bs=4096 mix=rw verify region=8388608"
	sleep 0.5
	"$2_flip" "$3"
	line=$("$A" list --state "$STATE")
	case $(field build "$line") in
	0.1.0-a-*) ;;
	*) fail "$kind: $line serves" ;;
	esac
	sleep 1
	enough
	wait_vm
	"$SOFTCHK" "$DISK" "$REPORT" >/dev/null || fail "$kind: the disk differs from what the guest recorded"
	echo "$kind: $(cat "$WORK/refused" "$WORK/why" 2>/dev/null | tail -n 1)"
	rm -f "$WORK/refused" "$WORK/why" "$DISK"
}

try crash@1 before "signal 6"
try crash@1000 before "signal 6"
try leak@1 before "it leaks"
try wrong@50 before "differs in"
try differ@50 before "differs in"
try crash@1,owner after "died"
try crash@1000,owner after "died"
try leak@1,owner after "it leaks"
try hang@100,owner after "stood still"
try stuck@100,owner after "stood still"
try wrong@40,owner after "differs in"
try differ@40,owner after "differs in"
try scribble@40,owner after "differs in\|died"
echo "13 bad builds, none noticed by the guest"
