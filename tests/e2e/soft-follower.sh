#!/bin/bash
# A standby that only follows, beside a guest with few requests: it takes nothing that is meant for the owner. Nobody
# dies, so nobody looks at every ring again, and one doorbell that another reads stops the guest for good.
. "$(dirname "$0")/lib.sh"
truncate -s 32M "$DISK"
"$A" run --backend soft --kernel "$SOFTLOAD" --vps 2 --memory 64M --disk "$DISK" --state "$STATE" --standby \
	--cmdline "load depth=2 channels=2 $TOLD bs=4096 mix=rw verify region=8388608 report=$REPORT" \
	>"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
until_up
has_followed() {
	followed=$("$A" inspect --state "$STATE" --json 2>/dev/null | python3 -c '
import json, sys
print(max([int(p["followed_seq"]) for p in json.load(sys.stdin)["procs"].values() if p["role"] == "standby"] or [0]))' 2>/dev/null || echo 0)
	[ "$followed" -ge 100 ]
}
await 60 has_followed || fail "the standby has followed $followed turns: $("$A" inspect --state "$STATE" | grep '^procs')"
enough "${SECONDS_OF_LOAD:-5}"
wait_vm
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
echo "a standby followed beside the guest, $followed turns at least"
