#!/bin/bash
# Bytes of ring, checkpoints, archive and an exported log changed, half of the
# changes with every checksum made to fit: a load or a replay refuses, or comes
# to what the log says. COUNT mutations of custody, ARCHIVE_COUNT of the LMDB
# file, which keeps so much as KEEP says, EXPORT_COUNT of the export, which has
# EXPORT_EVENTS; a third argument names another build, whose programs do it (make
# test: with sanitizers).
. "$(dirname "$0")/lib.sh"
TOOLS=$(realpath "${3:-$BUILD_A}")
MUTATE=$TOOLS/tests/mutate/mutate REPLAY=$TOOLS/holdfast
COUNT=${COUNT:-300} ARCHIVE_COUNT=${ARCHIVE_COUNT:-30} EXPORT_COUNT=${EXPORT_COUNT:-100} SEED=${SEED:-1}
EXPORT_EVENTS=${EXPORT_EVENTS:-3000} KEEP=${KEEP:-16M}

start_vm 2 64M "load depth=16 channels=2 $TOLD region=8M churn=20"
"$A" archive --state "$STATE" --keep "$KEEP" >"$WORK/archive.log" 2>&1 &
archiver=$!
has_checkpoints() { [ "$("$A" inspect --state "$STATE" checkpoints 2>/dev/null | grep -c 'generation=[1-9]')" -ge 2 ]; }
await 60 has_checkpoints || fail "there are no two checkpoints"
sleep 1
kill_owner || fail "kill"
"$A" service --state "$STATE" --to "$B" --expect-difference scsi.GUEST_WRITE.tail >/dev/null || fail "service"
sleep 0.5
status=0
"$MUTATE" --state "$STATE" --count "$COUNT" --seed "$SEED" || status=$?
[ "$status" -eq 0 ] || fail "custody: status $status"
"$A" shutdown --state "$STATE" --power-off >/dev/null || true
wait "$RUN_PID" || true
RUN_PID=
wait "$archiver" || true

# The LMDB file: replay is never killed, and tells no more events than there are. A
# record that was made to fit may be another legal log: all effects are those recorded.
COPY=$WORK/copy
mkdir "$COPY"
"$A" replay --state "$STATE/archive" --verify >"$WORK/whole" 2>&1 || fail "the archive does not replay: $(tail -n 1 "$WORK/whole")"
whole=$(field events "$(tail -n 1 "$WORK/whole")")
refused=0 equal=0 shorter=0
for n in $(seq "$ARCHIVE_COUNT"); do
	where=$("$TOOLS/tests/mutate/mutate_archive" "$STATE/archive" "$COPY" "$SEED" "$n") || fail "archive mutation $n: not made"
	status=0
	timeout 60 "$REPLAY" replay --state "$COPY" --verify >"$WORK/replay" 2>&1 || status=$?
	events=$(field events "$(tail -n 1 "$WORK/replay")")
	[ "$status" -le 2 ] || { tail -n 5 "$WORK/replay"; fail "archive mutation $n: $where: replay ended with $status"; }
	if [ "$status" -ne 0 ]; then
		grep -q -e '^holdfast: ' -e '^divergence ' "$WORK/replay" || fail "archive mutation $n: $where: refused without a word"
		refused=$((refused + 1))
	elif [ "$events" -eq "$whole" ]; then
		equal=$((equal + 1))
	else
		[ "$events" -lt "$whole" ] || fail "archive mutation $n: $where: $events events of $whole"
		shorter=$((shorter + 1))
	fi
done
echo "archive mutations=$ARCHIVE_COUNT refused=$refused equal=$equal shorter=$shorter events=$whole"

# The exported log: the last events of all, and a state to begin with. Repaired, a
# change may be another legal log; then it ends with the state that it tells of.
EXPORT=$WORK/export
"$A" replay --state "$STATE/archive" --show vtl >"$WORK/last" 2>&1
last=$(sed -n 's/^behind event \([0-9]*\):.*/\1/p' "$WORK/last")
from=$(sed -n 's/.*going on at the checkpoint of \([0-9]*\).*/\1/p' "$WORK/last" | tail -n 1)
[ $((last - ${from:-0})) -lt "$EXPORT_EVENTS" ] || from=$((last - EXPORT_EVENTS))
"$A" log --state "$STATE/archive" --from $((from + 1)) --export "$EXPORT" >"$WORK/exported" 2>&1 ||
	fail "no export: $(cat "$WORK/exported")"
"$REPLAY" replay "$EXPORT" --verify >"$WORK/whole" 2>&1 || fail "the export does not replay: $(tail -n 3 "$WORK/whole")"
whole=$(field events "$(tail -n 1 "$WORK/whole")")
refused=0 equal=0
for n in $(seq "$EXPORT_COUNT"); do
	where=$("$TOOLS/tests/mutate/mutate_export" "$EXPORT" "$WORK/changed" "$SEED" "$n")
	status=0
	timeout 60 "$REPLAY" replay "$WORK/changed" --verify >"$WORK/replay" 2>&1 || status=$?
	[ "$status" -le 2 ] || { tail -n 5 "$WORK/replay"; fail "export: $where: replay ended with $status"; }
	if [ "$status" -ne 0 ]; then
		grep -q -e '^holdfast: ' -e '^divergence ' "$WORK/replay" || fail "export: $where: refused without a word"
		refused=$((refused + 1))
		continue
	fi
	[[ $where == *repaired ]] || fail "export: $where: replayed as if nothing were"
	[ "$(field events "$(tail -n 1 "$WORK/replay")")" = "$whole" ] || fail "export: $where: $(tail -n 1 "$WORK/replay")"
	equal=$((equal + 1))
done
echo "export mutations=$EXPORT_COUNT refused=$refused equal=$equal events=$whole"
