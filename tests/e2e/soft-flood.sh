#!/bin/bash
# A guest that does not take its answers, and one that sends the largest packets:
# the paravisor's memory stays as it is, the log does not grow by what is stuck,
# and the channel beside goes on.
. "$(dirname "$0")/lib.sh"
truncate -s 16M "$DISK"
"$A" run --backend soft --kernel "$BUILD_A/tests/soft/softscsi" --cmdline "flood report=$REPORT" --vps 3 \
	--memory 64M --state "$STATE" --disk "$DISK" >"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!

until_step() {
	for _ in $(seq 600); do
		! grep -q "^step $1\$" "$REPORT" 2>/dev/null || return 0
		kill -0 "$RUN_PID" 2>/dev/null || break
		sleep 0.05
	done
	cat "$REPORT" "$WORK/console"
	fail "the guest has not come to '$1'"
}

# Private memory of the owner, KiB: guest RAM and custody are shared.
private() {
	local pid
	pid=$(field paravisor_pid "$("$A" list --state "$STATE")")
	awk '/^RssAnon/ {print $2}' "/proc/$pid/status"
}

sequence() {
	field turns "$("$A" list --state "$STATE")"
}

until_step begin
before=$(private)
until_step "still stuck"
sleep 0.5
one=$(sequence)
sleep 1
two=$(sequence)
until_step large
until_step end
after=$(private)
if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$REPORT" "$WORK/console"; fail "the guest was not content"; fi
tail -n 1 "$REPORT"
echo "private memory: $before KiB, $after KiB; turns in a second of being stuck: $((two - one))"
[ $((after - before)) -lt 2048 ] || fail "memory has grown"
[ $((two - one)) -lt 50 ] || fail "the log grows while nothing happens"
