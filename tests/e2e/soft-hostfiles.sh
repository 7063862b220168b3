#!/bin/bash
# Files of the host that change under a running VM, and a client of the control
# socket that is mad: the guest is told (sense data), the operator is told, the
# paravisor lives, and a disk that is well goes on.
. "$(dirname "$0")/lib.sh"
cd "$WORK"
export STATE

# lives WHEN: the same owner as before, no fault, nothing left in flight.
lives() {
	is_well || fail "$1: the paravisor did not live: $line"
}

is_well() {
	line=$("$A" list --state "$STATE") || fail "nobody answers"
	[ "$(field paravisor_pid "$line")" = "$owner" ] && [ "$(field faults "$line")" -eq 0 ]
}

# boot SECONDS DISK...: softload on the first disk.
boot() {
	local seconds=$1 disks=()
	shift
	for d in "$@"; do disks+=(--disk "$d"); done
	rm -rf "$STATE" enough
	"$A" run --backend soft --kernel "$SOFTLOAD" --cmdline "load depth=8 channels=1 seconds=$seconds region=8M until=$WORK/enough report=$REPORT" \
		--vps 1 --memory 64M --state "$STATE" "${disks[@]}" >console 2>&1 </dev/null &
	RUN_PID=$!
	until_up
	owner=$(paravisor)
	await 60 does_io || { cat console; fail "the VM does no I/O"; }
}

does_io() {
	local done_
	done_=$("$A" inspect --state "$STATE" stats.requests_completed 2>/dev/null | cut -d' ' -f2)
	[ "${done_:-0}" -ge 20 ]
}

noticed() { grep -q -a 'request failed' "$STATE/guest.log"; }

# ends_badly WHAT [mismatches]: the load of that guest meets errors, and is told to
# end then; it failed by them and by nothing else but, where the file has lost its
# data, that.
ends_badly() {
	await 120 noticed || fail "$1: no request failed"
	lives "$1"
	touch enough
	if wait "$RUN_PID"; then fail "$1: the guest did not notice"; fi
	RUN_PID=
	python3 - "$REPORT" "$@" <<'P' || fail "$1: $(cat "$REPORT")"
import json, sys
v = json.loads(open(sys.argv[1]).readline())
v.pop('gaps')
assert not v['ok'] and v['failed'] > 0, v
assert v['mismatches'] == 0 or sys.argv[3:] == ['mismatches'], v
assert v['lost'] == v['doubles'] == v['strays'] == v['bad_replies'] == 0 and not v['stalled'], v
print(f"{sys.argv[2]}: {v['failed']} requests failed, {v['ops']} in all; nothing lost, doubled or wrong")
P
}

# The guest's writes make the file long again at once: a read that finds its end is a
# matter of microseconds, so it is cut until one has.
truncate -s 16M shrinks
boot 600 shrinks
for _ in $(seq 5000); do
	truncate -s 0 shrinks
	! noticed || break
	sleep 0.01
done
truncate -s 16M shrinks
ends_badly "cut to nothing and made long again" mismatches

truncate -s 16M gone
boot 600 gone
rm gone
sleep 1
lives "removed"
touch enough
wait_vm
echo "removed: the guest goes on"

mkdir full
mount -t tmpfs -o size=2m tmpfs full && trap 'umount -l "$WORK/full"; cleanup' EXIT
truncate -s 16M full/sparse
boot 600 full/sparse
ends_badly "no space left"

# A loop device answers EIO where its own file has no space.
rm full/sparse
truncate -s 16M full/backing
if loop=$(losetup -f --show full/backing 2>/dev/null); then
	trap 'losetup -d "$loop"; umount -l "$WORK/full"; cleanup' EXIT
	boot 600 "$loop"
	ends_badly "a block device that answers EIO" mismatches
else
	echo "a block device that answers EIO: not tried, there is no loop device"
fi

truncate -s 16M well other
boot 600 well
printf 'no program' >text
"$ROOT/tests/e2e/hostile_client.py" "$STATE" "${SEED:-1}" "${MAD_SECONDS:-6}" other /dev/null text "$WORK" /proc/self/mem "$A" ||
	fail "the partition did not live"
# It may have asked for a replacement, which may just happen.
some_owner_is_well() {
	owner=$(paravisor)
	is_well
}
await 30 some_owner_is_well || lives "a mad client"
touch enough
wait_vm
echo "the load beside it was content"
