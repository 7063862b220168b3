#!/bin/bash
# The integration components on the soft back end: versions agreed, heartbeats
# counted and answered, the time told (again after each take-over), and a guest
# that the operator's `shutdown` ends in order; one that does not serve the
# channel says so.
. "$(dirname "$0")/lib.sh"

# machine KIND FIELD: what inspect shows of it.
machine() {
	"$A" inspect --state "$STATE" "$1[0].$2" | grep -o '[^ =:]*$'
}

# until_at_least KIND FIELD NUMBER
is_at_least() {
	local now
	now=$(machine "$1" "$2" 2>/dev/null)
	[ "${now:-0}" -ge "$3" ]
}
until_at_least() {
	await 120 is_at_least "$@" || fail "$1.$2 is $(machine "$1" "$2"), not $3"
}

# json NAME: a member of the guest's verdict.
json() {
	sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" "$REPORT"
}

start_vm 2 16M "idle"
if "$A" shutdown --state "$STATE" 2>"$WORK/refused"; then fail "a guest without the driver was shut down"; fi
grep -q "does not serve its shutdown channel" "$WORK/refused" || fail "not told why: $(cat "$WORK/refused")"
"$A" shutdown --state "$STATE" --power-off
wait_vm
rm -rf "$STATE"

start_vm 2 16M "ic seconds=600"
until_at_least heartbeat_ic answered 2
kill_owner || fail "kill"
until_at_least timesync_ic told 2
"$A" service --state "$STATE" --to "$B"
until_at_least timesync_ic told 3
until_at_least timesync_ic told 4
until_at_least heartbeat_ic answered 4
wall=$(machine vtl wall_ns)
[ "$wall" -gt 1600000000000000000 ] && [ "$(machine vtl tsc_hz)" -gt 0 ] && [ "$(machine vtl apic_hz)" -gt 0 ] ||
	fail "the configuration lacks clocks: wall_ns=$wall"
"$A" inspect --state "$STATE" heartbeat_ic
missed=$(machine heartbeat_ic missed)
"$A" shutdown --state "$STATE" || fail "shutdown"
wait_vm
cat "$REPORT"
[ "$missed" -le 1 ] || fail "$missed heartbeats missed"
[ "$(json shutdown_version)" = 3.2 ] && [ "$(json heartbeat_version)" = 3.0 ] &&
	[ "$(json timesync_version)" = 3.0 ] || fail "other versions than the newest of both"
[ "$(json beats)" -ge 4 ] && [ "$(json syncs)" -eq 3 ] && [ "$(json samples)" -ge 1 ] ||
	fail "beats=$(json beats) syncs=$(json syncs) samples=$(json samples)"
[ "$(json ok)" = true ] && [ "$(json shutdown)" = true ] || fail "the guest was not content"
