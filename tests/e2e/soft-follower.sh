#!/bin/bash
# A standby that only follows, beside a guest with few requests: it takes nothing that is meant for the owner. Nobody
# dies, so nobody looks at every ring again, and one doorbell that another reads stops the guest for good.
. "$(dirname "$0")/lib.sh"
truncate -s 32M "$DISK"
"$A" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" --standby \
	--cmdline "load depth=2 channels=2 seconds=${SECONDS_OF_LOAD:-5} bs=4096 mix=rw verify region=8388608 report=$REPORT" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
followed=0
for _ in $(seq 40); do
	sleep 0.1
	followed=$("$A" inspect --state "$STATE" --json 2>/dev/null | python3 -c '
import json, sys
print(max([int(p["followed_seq"]) for p in json.load(sys.stdin)["procs"].values() if p["role"] == "standby"] or [0]))' 2>/dev/null || echo 0)
	[ "$followed" -lt 100 ] || break
done
[ "$followed" -ge 100 ] || fail "the standby has followed $followed turns in 4 s: $("$A" inspect --state "$STATE" | grep '^procs')"
wait_vm
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
echo "a standby followed beside the guest, $followed turns at least"
