#!/bin/bash
# A recorded run with a servicing and a kill in it, and everything that can be
# done with its log afterwards: replay, time travel, filters, page, export; and
# what is said about logs and questions that are none.
. "$(dirname "$0")/lib.sh"
HERE=$ROOT/tests/e2e
start_vm 2 64M "load depth=8 channels=2 $TOLD bs=4096 mix=rw verify region=33554432"
sleep 0.5
"$A" archive --state "$STATE" >"$WORK/archive.log" 2>&1 &
archiver=$!
sleep 1
"$A" service --state "$STATE" --to "$A" || fail "the servicing"
sleep 0.5
kill_owner || fail "the kill"
enough "${SECONDS_OF_LOAD:-4}"
wait_vm
wait "$archiver" || { cat "$WORK/archive.log"; fail "the archiver"; }

# run_ok COMMAND...: its output in $OUT.
run_ok() {
	OUT=$("$@" 2>"$WORK/err") || { echo "$OUT"; cat "$WORK/err"; fail "$*"; }
}
# has TEXT: in $OUT.
has() {
	grep -qF -- "$1" <<<"$OUT" || { echo "$OUT" | tail -n 40; fail "no '$1'"; }
}
# refused STATUS TEXT COMMAND...: one line on standard error that has TEXT.
refused() {
	local status=$1 text=$2 got=0
	shift 2
	"$@" >/dev/null 2>"$WORK/err" </dev/null || got=$?
	[ "$got" -eq "$status" ] || { cat "$WORK/err"; fail "status $got, not $status: $*"; }
	[ "$(wc -l <"$WORK/err")" -eq 1 ] || { cat "$WORK/err"; fail "not one line: $*"; }
	grep -qF -- "$text" "$WORK/err" || { cat "$WORK/err"; fail "no '$text': $*"; }
	sed 's/^/refused: /' "$WORK/err"
}

echo "== replay stops anywhere"
run_ok "$A" replay --state "$STATE" --verify
has 'divergences=0'
last=$(field events "$OUT")
run_ok "$A" replay --state "$STATE" --until 'channel[1].state == OPEN and not scsi' --show 'channel[1].state'
has 'channel[1].state OPEN'
opened=$(sed -n 's/^behind event \([0-9]*\):.*/\1/p' <<<"$OUT")
run_ok "$A" replay "$STATE" --to "$opened" --show channel
has 'channel[1] state=OPEN'
run_ok "$A" replay "$STATE" --to $((opened - 1)) --show 'channel[1].state'
has 'channel[1].state ARMING'
run_ok "$A" replay "$STATE" --diff $((opened - 1)) "$opened"
has 'channel[1].state: ARMING -> OPEN'
run_ok "$A" replay "$STATE" --seek-bench 100
has '"name":"replay.seek_ms"'
echo "$OUT"

echo "== the console goes forward and back"
cat >"$WORK/commands" <<-END
	break state channel[1] OPEN
	continue
	event
	back
	print channel[1].state
	last
	reverse
	print channel[1].state
	why channel[1].state 1
	break when servicing.state == FLIPPING
	break event servicing SERVING
	continue
	machines
END
run_ok "$A" replay --step "$STATE" <"$WORK/commands"
has 'breakpoint 1: state channel[1] OPEN'
has "($opened) event"
has 'ARMING -> OPEN  (door_in_force / confirm_open)'
has "($((opened - 1))) print channel[1].state"
has "($last) reverse"
has 'channel[1].state: ARMING -> OPEN'
has 'breakpoint 2: when servicing.state == FLIPPING'
has 'servicing[0]=FLIPPING'
echo 'print channel[1].stat' | "$A" replay --step "$STATE" >"$WORK/out" && fail "a typo was passed over"
grep -qF "? column 12: channel has no field 'stat'; did you mean state" "$WORK/out" || fail "the typo"

echo "== SIGTRAP inside the action"
got=0
{ "$A" replay --break "$opened" "$STATE" || got=$?; } >"$WORK/out" 2>&1
[ "$got" -eq 133 ] || fail "status $got, not SIGTRAP's"
if command -v gdb >/dev/null; then
	# Two actions: the one that passes IN_FORCE on, and the channel's.
	run_ok gdb -q -batch -ex run -ex 'frame 0' -ex continue -ex continue \
		--args "$A" replay --break "$opened" "$STATE"
	has 'received signal SIGTRAP'
	has 'cx='
	has 'exited normally'
	grep -E '^#0 +[a-z_]+ \(cx=' <<<"$OUT" || fail "the trap is not in an action"
fi

echo "== filters"
run_ok "$A" log --state "$STATE" --event SERVING --json
[ "$(wc -l <<<"$OUT")" -eq 6 ] || { echo "$OUT"; fail "three owners, an event and a confirm each"; }
[ "$(grep -c '"reason":3' <<<"$OUT")" -eq 1 ] || fail "one owner followed a death"
run_ok "$A" log --state "$STATE" --from 10 --to 12
[ "$(grep -c '^ *1[012] ' <<<"$OUT")" -eq 6 ] || { echo "$OUT"; fail "events 10 to 12"; }
run_ok "$A" log --state "$STATE" --epoch 3 --machine servicing --to "$last"
has ' SERVING '
grep -q ' e[12] ' <<<"$OUT" && fail "other epochs"
run_ok "$A" log --state "$STATE" --effect GUEST_LOAD
has 'GUEST_LOAD'
[ "$(grep -c confirmed <<<"$OUT")" -eq 1 ] || fail "one turn loads the guest"

echo "== the page"
run_ok "$A" log --state "$STATE" --html "$WORK/page.html"
echo "$OUT"
"$HERE/page-check.py" "$WORK/page.html" first,planned,death || fail "the page"

echo "== the export"
run_ok "$A" log --state "$STATE" --export "$WORK/log.export"
echo "$OUT"
run_ok "$A" replay "$WORK/log.export" --verify
has 'states compared: 1'
has "events=$last "
has 'divergences=0'
grep -qaF "report=$REPORT" "$STATE/archive/data.mdb" || fail "the log holds no command line"
grep -qaF "report=$REPORT" "$WORK/log.export" && fail "the command line left with the export"
run_ok "$A" replay --step "$WORK/log.export" <"$WORK/commands"
has 'breakpoint 2: when servicing.state == FLIPPING'
run_ok "$A" log --state "$WORK/log.export" --event SERVING
run_ok "$A" log --state "$STATE" --from "$opened" --to $((opened + 500)) --export "$WORK/part.export"
run_ok "$A" replay "$WORK/part.export" --verify
has 'events=501 '
has 'divergences=0'

echo "== bad input"
X=$WORK/log.export
cp "$X" "$WORK/newer" && printf '\7' | dd of="$WORK/newer" bs=1 seek=12 conv=notrunc status=none
refused 1 'has format 7, written by holdfast' "$A" replay "$WORK/newer"
cp "$X" "$WORK/level" && printf '\11' | dd of="$WORK/level" bs=1 seek=16 conv=notrunc status=none
refused 1 'has a damaged header' "$A" replay "$WORK/level"
cp "$X" "$WORK/order" && printf '\1\2\3\4' | dd of="$WORK/order" bs=1 seek=8 conv=notrunc status=none
refused 1 'a machine of another byte order' "$A" replay "$WORK/order"
head -c 100 "$X" >"$WORK/cut0"
refused 1 'is cut' "$A" log --state "$WORK/cut0"
head -c 100000 "$X" >"$WORK/cut"
refused 1 'it was cut' "$A" replay "$WORK/cut"
refused 1 'it was cut' "$A" log --state "$WORK/cut"
cat "$X" "$WORK/part.export" >"$WORK/mixed"
refused 1 'mixed from two logs' "$A" replay "$WORK/mixed"
size=$(stat -c %s "$WORK/part.export")
{ head -c 100000 "$X"; tail -c $((size / 2)) "$WORK/part.export"; } >"$WORK/mixed2"
refused 1 'the file was changed' "$A" replay "$WORK/mixed2"
refused 1 'is no log: expected' "$A" replay "$DISK"
refused 1 'is no log: expected' "$A" log --state "$REPORT"
mkdir "$WORK/empty"
refused 1 'holds no log' "$A" replay "$WORK/empty"
refused 1 'No such file' "$A" log --state "$WORK/nothing"
refused 1 "is beyond the end; the last one is $last" "$A" replay "$STATE" --to $((last + 1)) --show all
refused 1 'is beyond the end' "$A" replay "$STATE" --diff 1 $((last + 1))
refused 1 'is beyond the end' "$A" replay "$STATE" --break $((last + 1))
refused 1 'is beyond the end' "$A" log --state "$STATE" --from $((last + 2)) --html "$WORK/none.html"
refused 1 'it is not true up to event' "$A" replay "$STATE" --until 'vtl.resets > 9'
refused 2 'column 9: to compare, write ==' "$A" replay "$STATE" --until 'vtl.vps = 2'
refused 2 "channel has no state 'OPNE'; did you mean OPEN" "$A" replay "$STATE" --until 'channel[3].state == OPNE'
refused 2 "there is no machine 'chanel'; did you mean channel" "$A" replay "$STATE" --until 'chanel[3].state == OPEN'
refused 2 "there is no machine 'chanel'" "$A" log --state "$STATE" --machine 'chanel[3]'
refused 2 'no machine has such an event' "$A" log --state "$STATE" --event PAKET
refused 2 'give a number' "$A" replay "$STATE" --to 12x
[ ! -e "$WORK/none.html" ] || fail "a page was left behind"

echo "== any byte of the file"
for i in $(seq "${MUTATIONS:-30}"); do
	at=$(((RANDOM * 32768 + RANDOM) % size))
	cp "$WORK/part.export" "$WORK/mutant"
	byte=$(od -An -tu1 -j $at -N1 "$WORK/mutant")
	printf "\\x$(printf %x $((byte ^ 1 << i % 8)))" |
		dd of="$WORK/mutant" bs=1 seek=$at conv=notrunc status=none
	got=0
	"$A" replay "$WORK/mutant" --verify >/dev/null 2>"$WORK/err" || got=$?
	[ "$got" -eq 1 ] || { cat "$WORK/err"; fail "byte $at changed: status $got"; }
done

echo "== an archive of another machine"
old=$STATE
STATE=$WORK/state2
start_vm 1 64M "load depth=1 channels=1 $TOLD bs=4096 mix=read verify region=33554432"
mkdir "$STATE/archive" && cp "$old/archive/data.mdb" "$STATE/archive"
refused 1 'the archive is of another VM' "$A" replay --state "$STATE"
rm -r "$STATE/archive"
enough 2
wait_vm
echo "events=$last opened=$opened"
