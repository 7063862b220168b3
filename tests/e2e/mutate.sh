#!/bin/bash
# Bytes of ring, checkpoints, archive changed, half of the changes with every
# checksum made to fit: a load or a replay refuses, or comes to what the log
# says. COUNT mutations of custody, ARCHIVE_COUNT of the LMDB file; a third
# argument names another build's `mutate` (make test: with sanitizers).
. "$(dirname "$0")/lib.sh"
MUTATE=${3:-$BUILD_A}/tests/mutate/mutate
COUNT=${COUNT:-300} ARCHIVE_COUNT=${ARCHIVE_COUNT:-30} SEED=${SEED:-1}

start_vm 2 64M "load depth=16 channels=2 seconds=${SECONDS_OF_LOAD:-120} region=8M churn=20"
"$A" archive --state "$STATE" --keep 16M >"$WORK/archive.log" 2>&1 &
archiver=$!
for _ in $(seq 200); do
	[ "$("$A" inspect --state "$STATE" slots 2>/dev/null | grep -c 'generation=[1-9]')" -lt 2 ] || break
	sleep 0.05
done
sleep 1
"$A" kill --state "$STATE" >/dev/null
"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail >/dev/null
sleep 0.5
status=0
"$MUTATE" --state "$STATE" --count "$COUNT" --seed "$SEED" || status=$?
[ "$status" -eq 0 ] || fail "custody: status $status"
"$A" shutdown --state "$STATE" --power-off >/dev/null || true
wait "$RUN_PID" || true
RUN_PID=
wait "$archiver" || true

# The LMDB file: replay is never killed, and tells no more events than there are.
COPY=$WORK/copy
mkdir "$COPY"
"$A" replay --state "$STATE/archive" --verify >"$WORK/whole" 2>&1 || fail "the archive does not replay: $(tail -n 1 "$WORK/whole")"
whole=$(field events "$(tail -n 1 "$WORK/whole")")
size=$(stat -c %s "$STATE/archive/data.mdb")
RANDOM=$SEED refused=0 equal=0 shorter=0
for n in $(seq "$ARCHIVE_COUNT"); do
	cp "$STATE/archive/data.mdb" "$COPY/data.mdb"
	rm -f "$COPY/lock.mdb"
	at=$(((RANDOM << 30 | RANDOM << 15 | RANDOM) % size))
	[ $((n % 3)) -ne 0 ] || at=$((at % (64 << 10)))
	printf "\\x$(printf %02x $((RANDOM % 256)))" | dd of="$COPY/data.mdb" bs=1 seek="$at" conv=notrunc status=none
	status=0
	timeout 60 "$A" replay --state "$COPY" --verify >"$WORK/replay" 2>&1 || status=$?
	events=$(field events "$(tail -n 1 "$WORK/replay")")
	[ "$status" -le 2 ] || { cat "$WORK/replay"; fail "byte $at: replay ended with $status"; }
	if [ "$status" -ne 0 ]; then
		refused=$((refused + 1))
	elif [ "$events" -eq "$whole" ]; then
		equal=$((equal + 1))
	else
		[ "$events" -lt "$whole" ] || fail "byte $at: $events events of $whole"
		shorter=$((shorter + 1))
	fi
done
echo "archive mutations=$ARCHIVE_COUNT refused=$refused equal=$equal shorter=$shorter events=$whole"
