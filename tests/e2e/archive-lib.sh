# Helpers of the tests of the archive on the soft back end: source it behind lib.sh.
#   archive OPTION...   an archiver in the background; $archiver
#   shown, until_*      what `inspect` says about it
stamp() { echo "[$SECONDS s] $*"; }

# shown NAME: a word of inspect's line on the archive, 0 when it is not there.
shown() {
	local value
	value=$("$A" inspect --state "$STATE" archive.$1 2>/dev/null | sed 's/^[^ ]* //') || true
	echo "${value:-0}"
}

is_shown() { [ "$(shown "$1")" = "$2" ]; }
is_more() { [ "$(shown "$1")" -gt "$2" ]; }

# until_shown NAME VALUE
until_shown() {
	await 120 is_shown "$1" "$2" ||
		fail "inspect shows archive.$1=$(shown "$1"), not $2"
}

# until_more NAME NUMBER [SECONDS]
until_more() {
	await "${3:-120}" is_more "$1" "$2" ||
		fail "inspect shows archive.$1=$(shown "$1"), not more than $2"
}

archive() {
	"$A" archive --state "$STATE" "$@" >"$WORK/archive.log" 2>&1 &
	archiver=$!
}

# ended STATUS: the archiver ended by itself, with that status.
ended() {
	local status=0
	wait "$archiver" || status=$?
	[ "$status" -eq "$1" ] || { cat "$WORK/archive.log"; fail "the archiver ended with $status, not $1"; }
	cat "$WORK/archive.log"
}

alive() {
	stamp "$1"
	kill -0 "$RUN_PID" 2>/dev/null || fail "$1: the VM ended"
	[ "$(field epoch "$("$A" list --state "$STATE")")" = 1 ] || fail "$1: the owner died"
}
