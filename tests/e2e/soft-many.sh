#!/bin/bash
# 256 channels on the soft back end: 16 processors, 16 controllers with 16 channels each, all of which carry data while
# the paravisor is replaced twice and killed twice.
. "$(dirname "$0")/lib.sh"
disks=()
for i in $(seq 0 15); do
	truncate -s 4M "$WORK/$i"
	disks+=(--disk "$WORK/$i,controller=$i")
done
"$A" run --backend soft --kernel "$BUILD_A/tests/soft/softscsi" --cmdline "many $TOLD report=$REPORT" \
	--vps 16 --memory 128M --state "$STATE" "${disks[@]}" >"$WORK/console" 2>&1 </dev/null &
RUN_PID=$!

until_up

# has_lines N PATTERN: the report has them, or will never have.
has_lines() {
	n=$(grep -c "$2" "$REPORT" 2>/dev/null || true)
	[ "${n:-0}" -ge "$1" ] || ! kill -0 "$RUN_PID" 2>/dev/null
}

lines() {
	await 120 has_lines "$@" && [ "${n:-0}" -ge "$1" ] && return 0
	cat "$WORK/console"
	fail "not $1 times: $2"
}

all_open() {
	"$A" inspect --state "$STATE" --json channel >"$WORK/channels" || fail "inspect"
	python3 - "$WORK/channels" <<-'P' || fail "not 256 channels are open"
		import json, sys
		text = json.dumps(json.load(open(sys.argv[1])))
		n = text.count('"OPEN"')
		print(f'{n} channels are open')
		sys.exit(n != 256)
		P
}

# While they are being opened, and while all of them work.
lines 3 "carries data"
kill_owner || fail "kill"
lines 16 "at another processor"
all_open
"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail --probation 1 || fail "service to b"
kill_owner || fail "kill"
"$A" service --state "$STATE" --to "$A" --expect-difference scsi.GUEST_WRITE.tail --probation 1 || fail "service to a"
all_open
grep -q 'all at once' "$REPORT" && fail "the guest was over before the last replacement"
enough "${SECONDS_OF_LOAD:-6}"
if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$REPORT" "$WORK/console"; fail "the guest was not content"; fi
grep 'carried data' "$REPORT"
tail -n 1 "$REPORT"
