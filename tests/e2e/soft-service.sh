#!/bin/bash
# `service` as an operator uses it, under verified I/O: what is refused before
# anything changes; how much a successor follows; rollback; N -> N+1 -> N with the
# fields only N+1 knows kept; commit, and no way back across it.
. "$(dirname "$0")/lib.sh"
MASK="--expect-difference scsi.GUEST_WRITE.tail"

member() {
	sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^,\"}]*\\).*/\\1/p" <<<"$2"
}

# refused WORDS ARGUMENTS...: exit 1, one line with these words, the same owner.
refused() {
	local words=$1 before
	shift
	before=$("$A" list --state "$STATE" | grep -o 'epoch=[0-9]*')
	"$A" service --state "$STATE" "$@" 2>"$WORK/err"
	[ $? -eq 1 ] || fail "'$words': not refused with status 1: $(cat "$WORK/err")"
	[ "$(wc -l <"$WORK/err")" -eq 1 ] && grep -q "$words" "$WORK/err" ||
		fail "not one line with '$words': $(cat "$WORK/err")"
	[ "$("$A" list --state "$STATE" | grep -o 'epoch=[0-9]*')" = "$before" ] || fail "'$words': another owner"
	echo "refused: $(cut -d: -f3- "$WORK/err")"
}

is_build() {
	[[ $(field build "$("$A" list --state "$STATE")") = 0.1.0-$1-* ]]
}

serves() {
	await 60 is_build "$1" || fail "not build $1: $("$A" list --state "$STATE")"
}

is_state() { "$A" inspect --state "$STATE" 'servicing[0].state' 2>/dev/null | grep -q "$1"; }
is_level() { [ "$(field level "$("$A" list --state "$STATE")")" = "$1" ]; }

packets() {
	"$B" inspect --state "$STATE" 'storvsp[0].packets' | grep -o '[0-9]*$'
}

# more_packets N
more_packets() {
	later=$(packets)
	[ "${later:-0}" -gt "$1" ]
}

set +e
start_vm 2 32M "load depth=16 channels=2 $TOLD bs=4096 mix=rw verify region=8388608"
sleep 0.5

cp "$B" "$WORK/b" && chmod o+w "$WORK/b"
refused "others can write it" --to "$WORK/b"
chmod 644 "$WORK/b"
[ "$(id -u)" = 0 ] && chmod -x "$WORK/b"
refused "no execute permission" --to "$WORK/b"
refused "No such file" --to "$WORK/nothing"
refused "not a regular file" --to "$WORK"
printf '#!/bin/sh\nexit 0\n' >"$WORK/script" && chmod 755 "$WORK/script"
refused "not an ELF" --to "$WORK/script"
refused "not a holdfast" --to "$(realpath /bin/true)"
cp "$B" "$WORK/arm" && chmod 755 "$WORK/arm" && printf '\xb7' | dd of="$WORK/arm" bs=1 seek=18 conv=notrunc status=none
refused "another architecture" --to "$WORK/arm"
"$A" service --state "$WORK/none" --to "$B" 2>"$WORK/err"
[ $? -eq 1 ] && grep -q "no VM answers" "$WORK/err" || fail "no such VM: $(cat "$WORK/err")"
"$A" rollback --state "$STATE" 2>"$WORK/err" && fail "rolled back without a predecessor"
grep -q "no predecessor" "$WORK/err" || fail "$(cat "$WORK/err")"

# A second one while the first follows; then it is called off.
"$A" service --state "$STATE" --to "$B" --follow-seconds 60 >"$WORK/first" 2>&1 &
first=$!
await 60 is_state FOLLOWING || fail "nobody follows: $(cat "$WORK/first")"
refused "a replacement is under way" --to "$B"
"$A" rollback --state "$STATE" || fail "the replacement could not be called off"
wait $first && fail "called off, but it happened"
grep -q "following: called off by the operator" "$WORK/first" || fail "$(cat "$WORK/first")"
serves a

# How much is followed, and that it says so.
result=$("$A" service --state "$STATE" --to "$B" $MASK --follow-events 3000 --probation 60 --json) || fail "$result"
echo "$result"
[ "$(member events_followed "$result")" -ge 3000 ] || fail "followed too little"
serves b
sleep 0.3
"$A" rollback --state "$STATE" || fail "rollback"
serves a

# N+1's own field survives N, which does not know it.
"$A" service --state "$STATE" --to "$B" $MASK --probation 60 >/dev/null || fail "to b"
await 60 more_packets 0 || fail "build b counts no packets"
"$A" service --state "$STATE" --to "$A" $MASK --probation 60 >/dev/null || fail "back to a"
serves a
kill_owner || fail "kill"
kept=$(packets)
[ "${kept:-0}" -gt 0 ] || fail "the field of level 2 is lost: '$kept'"
"$A" service --state "$STATE" --to "$B" $MASK --probation 60 >/dev/null || fail "to b again"
await 60 more_packets "$kept" || fail "the field of level 2 does not go on: $kept, $later"
echo "packets: $kept kept over a build that does not know them, then $later"

"$A" service --state "$STATE" --commit || fail "commit"
await 60 is_level 2 || fail "$("$A" list --state "$STATE")"
refused "no way back across a commit" --to "$A"
kill_owner || fail "kill"
serves b
enough "${SECONDS_OF_LOAD:-10}"
wait_vm
"$SOFTCHK" "$DISK" "$REPORT" || fail "the disk differs from what the guest recorded"
echo "all as asked"
