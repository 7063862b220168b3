#!/bin/bash
# A guest that does not take its answers, and one that sends the largest packets:
# the paravisor's memory stays as it is, the log does not grow by what is stuck,
# and the channel beside goes on.
. "$(dirname "$0")/lib.sh"
truncate -s 16M "$DISK"
"$A" run --backend soft --kernel "$BUILD_A/tests/soft/softscsi" --cmdline "flood report=$REPORT go=$WORK/go" --vps 3 \
	--memory 64M --state "$STATE" --disk "$DISK" >"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!

has_come() { grep -q "^step $1\$" "$REPORT" 2>/dev/null || ! kill -0 "$RUN_PID" 2>/dev/null; }
until_step() {
	await 120 has_come "$1" && grep -q "^step $1\$" "$REPORT" && return 0
	cat "$REPORT" "$WORK/console"
	fail "the guest has not come to '$1'"
}

# go STEP: the guest has waited long enough.
go() { touch "$WORK/go.$1"; }

# Private memory of the owner, KiB: guest RAM and custody are shared.
private() {
	local pid
	pid=$(field paravisor_pid "$("$A" list --state "$STATE")")
	awk '/^RssAnon/ {print $2}' "/proc/$pid/status"
}

sequence() {
	field turns "$("$A" list --state "$STATE")"
}

until_up
until_step begin
before=$(private)
go begin
until_step "still stuck"
sleep 0.5
one=$(sequence)
sleep 1
two=$(sequence)
go "still stuck"
until_step large
until_step end
after=$(private)
go end
if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$REPORT" "$WORK/console"; fail "the guest was not content"; fi
tail -n 1 "$REPORT"
echo "private memory: $before KiB, $after KiB; turns in a second of being stuck: $((two - one))"
[ $((after - before)) -lt 2048 ] || fail "memory has grown"
[ $((two - one)) -lt 50 ] || fail "the log grows while nothing happens"
