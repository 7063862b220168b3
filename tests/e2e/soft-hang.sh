#!/bin/bash
# An owner that stands still is killed and replaced, whatever it stands in: a loop
# in a machine's action (the second time on one packet that machine is taken back),
# a loop between two turns, SIGSTOP. One that is idle is not, and with --watchdog 0
# nobody is.
. "$(dirname "$0")/lib.sh"
BAD=${BUILD_A%/*}/sabotage/holdfast
[ -x "$BAD" ] || fail "no build in ${BAD%/*} (meson setup -Dsabotage=true)"

# begin NAME EXE WATCHDOG WORDS...: a VM of its own; $STATE is its directory.
begin() {
	STATE=$WORK/$1 DISK=$WORK/$1.disk
	truncate -s 64M "$DISK"
	"$2" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" \
		--watchdog "$3" --cmdline "$4 report=$STATE.report" >"$STATE.console" 2>&1 </dev/null &
	pid[$1]=$!
	RUN_PID=
	await 60 another 0 || fail "$1 did not start"
}

# told NAME: words of a load that ends when end() says so.
told() { echo "seconds=600 until=$WORK/enough.$1"; }
end() { touch "$WORK/enough.$1"; }

epoch() {
	field epoch "$("$A" list --state "$WORK/$1")"
}

owner() {
	field paravisor_pid "$("$A" list --state "$WORK/$1")"
}

# content NAME: its guest ended well.
content() {
	STATE=$WORK/$1
	wait "${pid[$1]}" || { cat "$STATE.console"; fail "$1: the guest was not content"; }
	[ -z "${2:-}" ] || "$SOFTCHK" "$STATE.disk" "$STATE.report" >/dev/null || fail "$1: the disk differs"
}

still() {
	grep -c "has stood still" "$WORK/$1/partition.log" || true
}

# stood NAME TIMES: so often somebody of it was seen standing still.
stood() { [ "$(still "$1")" -ge "$2" ]; }
until_stood() { await 120 stood "$1" "$2" || fail "$1: seen $(still "$1") times, not $2"; }
is_epoch() { [ "$(epoch "$1")" = "$2" ]; }

declare -A pid
HOLDFAST_BADBUILD=hang@2000,owner begin loops "$BAD" 1 "load depth=16 channels=2 $(told loops) bs=4096 mix=rw verify region=8M"
begin action "$BAD" 1 "load depth=16 channels=3 $(told action) region=12M poison=500 poison_how=1"
begin stopped "$A" 1 "load depth=4 channels=1 $(told stopped) bs=4096 mix=rw verify region=8M"
begin idle "$A" 1 "idle seconds=5"
begin free "$A" 0 "load depth=4 channels=1 $(told free) bs=4096 mix=rw verify region=8M"
sleep 0.5
stop "$(owner free)"
stop "$(owner stopped)"
sleep 2.5
await 60 is_epoch stopped 2 || fail "stopped: nobody took over"
kill -CONT "$(owner free)"
[ "$(still stopped)" -eq 1 ] || fail "stopped: seen $(still stopped) times"
end stopped
end free
content stopped disk
content free disk
[ "$(still free)" -eq 0 ] || fail "free: killed although --watchdog 0"
content idle
[ "$(still idle)" -eq 0 ] || fail "idle: taken for one that stands still"
until_stood loops 2
end loops
content loops disk
until_stood action 2
end action
content action
[ "$(still action)" -eq 2 ] || fail "action: seen $(still action) times, not twice"
grep -q '"rescinded":1' "$WORK/action.report" || fail "action: the channel was not taken back"
echo "stopped, looping between turns ($(still loops) times), looping in an action (twice, then taken back): replaced; idle, and without watchdog: left alone"
