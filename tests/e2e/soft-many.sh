#!/bin/bash
# 16 processors, four controllers with 16 channels each, on the soft back end; the
# paravisor is killed in the middle.
. "$(dirname "$0")/lib.sh"
disks=()
for i in 0 1 2 3; do
	truncate -s 4M "$WORK/$i"
	disks+=(--disk "$WORK/$i,controller=$i")
done
"$A" run --backend soft --kernel "$BUILD_A/tests/soft/softscsi" --cmdline "many report=$REPORT" --vps 16 \
	--memory 128M --state "$STATE" "${disks[@]}" >"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!
for _ in $(seq 200); do
	n=$(grep -c "carries data" "$REPORT" 2>/dev/null || true)
	[ "${n:-0}" -lt 2 ] || break
	kill -0 "$RUN_PID" 2>/dev/null || break
	sleep 0.05
done
"$A" kill --state "$STATE" >/dev/null || fail "kill"
if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$REPORT" "$WORK/console"; fail "the guest was not content"; fi
tail -n 1 "$REPORT"
