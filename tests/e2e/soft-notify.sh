#!/bin/bash
# What a service manager is told: READY, RELOADING around a replacement (and around
# one that fails), WATCHDOG as long as the partition answers and not while it does
# not, STOPPING. The manager is a socket of this test's own.
. "$(dirname "$0")/lib.sh"

NOTIFY=$WORK/notify
python3 - "$NOTIFY" >"$WORK/told" <<'P' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    text = s.recv(4096).decode()
    for line in text.splitlines():
        print('%.3f %s' % (time.monotonic(), line), flush=True)
    if 'STOPPING=1' in text:
        break
P
manager=$!
await 60 test -S "$NOTIFY" || fail "the manager does not listen"
export NOTIFY_SOCKET=$NOTIFY WATCHDOG_USEC=400000
start_vm 1 16M "load depth=8 channels=1 $TOLD bs=4096 mix=rw verify region=8M"
unset NOTIFY_SOCKET WATCHDOG_USEC

count() { grep -c " $1" "$WORK/told" || true; }
has_count() { [ "$(count "$1")" -ge "$2" ]; }
until_count() {
	await 60 has_count "$1" "$2" && return 0
	cat "$WORK/told"
	fail "$1: $(count "$1"), not $2"
}

until_count READY=1 1
[ "$(count RELOADING=1)" -eq 0 ] || fail "reloading, but nobody asked"
tr '\0' '\n' <"/proc/$(cat "$STATE/partition.pid")/environ" | grep -q '^NOTIFY_SOCKET=' &&
	fail "the partition has inherited the manager's socket"

"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail --follow-seconds 0.5 >/dev/null ||
	fail "service"
until_count READY=1 2
[ "$(count RELOADING=1)" -eq 1 ] && [ "$(count MONOTONIC_USEC=)" -eq 1 ] || fail "$(cat "$WORK/told")"
until_count 'STATUS=0.1.0-b.* serves, epoch 2' 1

# One that is called off.
"$A" service --state "$STATE" --to "$A" --expect-difference scsi.GUEST_WRITE.tail --follow-seconds 60 >/dev/null 2>&1 &
until_count RELOADING=1 2
is_following() { "$A" inspect --state "$STATE" 'servicing[0].state' | grep -q FOLLOWING; }
await 60 is_following || fail "nobody follows"
"$A" rollback --state "$STATE" || fail "the replacement could not be called off"
until_count READY=1 3

partition=$(cat "$STATE/partition.pid")
stop "$partition"
# The answer to the last question may still be on its way.
for _ in $(seq 5); do
	sleep 0.3
	before=$(count WATCHDOG=1)
	sleep 0.8
	during=$(($(count WATCHDOG=1) - before))
	[ "$during" -ne 0 ] || break
done
kill -CONT "$partition"
[ "$during" -eq 0 ] || fail "the partition stands still, and WATCHDOG=1 came $during times"
until_count WATCHDOG=1 $((before + 2))
enough
wait_vm
until_count STOPPING=1 1
wait "$manager"
"$SOFTCHK" "$DISK" "$REPORT" >/dev/null || fail "the disk differs"
echo "told: $(count READY=1) x READY, $(count RELOADING=1) x RELOADING, $(count WATCHDOG=1) x WATCHDOG, STOPPING"
if command -v systemd-analyze >/dev/null; then
	sed "s:/usr/bin/holdfast:$A:" "$ROOT/servicing/holdfast@.service" >"$WORK/holdfast@test.service"
	systemd-analyze verify "$WORK/holdfast@test.service" || fail "the unit"
fi
