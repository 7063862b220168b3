#!/bin/bash
# A guest's packet that crashes whoever executes it: the owner dies at most
# twice, that channel is taken back from the guest, all others go on with
# verified I/O and the log replays. Then the crash loop: back to the build
# before, or a rest. And kills from outside, which quarantine nothing.
. "$(dirname "$0")/lib.sh"
SABOTAGE=${BUILD_A%/*}/sabotage
[ -x "$SABOTAGE/holdfast" ] || fail "no build in $SABOTAGE (meson setup -Dsabotage=true)"
KILLS=${KILLS:-40}

# json NAME: a number of the guest's verdict.
json() {
	grep -o "\"$1\":[0-9]*" "$REPORT" | head -n 1 | cut -d: -f2
}

# counter NAME: a number of inspect's line on faults.
counter() {
	"$A" inspect --state "$STATE" ownership.$1 | grep -o '[0-9]*$'
}

# until_counter NAME NUMBER
is_counter() {
	local now
	now=$(counter "$1" 2>/dev/null)
	[ "${now:-0}" -ge "$2" ]
}
until_counter() {
	await 120 is_counter "$1" "$2" || fail "$1 is $(counter "$1"), not $2"
}

# content NAME: the guest, its disk and the log. What a channel that was taken
# back had in flight is not known, all else is.
content() {
	wait_vm
	"$SOFTCHK" "$DISK" "$REPORT" >"$WORK/softchk" || grep -q " mismatches=0 " "$WORK/softchk" ||
		fail "$1: the disk differs from what the guest recorded: $(cat "$WORK/softchk")"
	cat "$WORK/softchk"
	wait "$archiver" || { cat "$WORK/archive.log"; fail "$1: the archiver"; }
	"$BUILD_A/holdfast" replay --state "$STATE" --verify || fail "$1: the log does not replay"
	echo "$1: poisoned=$(json poisoned) rescinded=$(json rescinded) refused=$(json refused) ops=$(json ops)"
}

archive() {
	"$BUILD_A/holdfast" archive --state "$STATE" >"$WORK/archive.log" 2>&1 &
	archiver=$!
}

# An action, then a hand: two deaths, one channel gone.
A=$SABOTAGE/holdfast
for how in action hand; do
	STATE=$WORK/$how DISK=$WORK/disk.$how REPORT=$WORK/report.$how
	HOLDFAST_SABOTAGE=$how start_vm 4 64M "load depth=16 channels=3 $TOLD region=12M poison=1000 poison_how=$([ $how = hand ] && echo 2 || echo 0)"
	archive
	until_counter quarantines 1
	[ "$(counter faults)" -eq 2 ] || fail "$how: $(counter faults) deaths, not 2"
	enough 4
	content "$how"
	[ "$(json rescinded)" -eq 1 ] && [ "$(json refused)" -eq 0 ] || fail "$how: the channel was not taken back"
done

# Three faults in 10 s, with a build before: it serves, and answers what killed.
STATE=$WORK/back DISK=$WORK/disk.back REPORT=$WORK/report.back A=$BUILD_A/holdfast
start_vm 4 64M "load depth=16 channels=4 $TOLD region=16M poison=1000 poisons=2 poison_from=$WORK/poison"
archive
"$A" service --state "$STATE" --to "$SABOTAGE/holdfast" --probation 0
touch "$WORK/poison"
until_counter faults 3
await 60 grep "back to the build before" "$STATE/partition.log" || fail "nobody went back"
until_owner 0
served=$("$A" list --state "$STATE")
echo "$served"
[ "$(counter quarantines)" -eq 1 ] && [ "$(counter faults)" -eq 3 ] || fail "faults=$(counter faults) quarantines=$(counter quarantines)"
sleep 1
enough
content "way back"
[ "$(json rescinded)" -eq 1 ] && [ "$(json refused)" -eq 1 ] || fail "the build before did not answer"

# Without one: a rest, then the same build again, until the second is quarantined too.
STATE=$WORK/rest DISK=$WORK/disk.rest REPORT=$WORK/report.rest A=$SABOTAGE/holdfast
start_vm 4 64M "load depth=16 channels=4 $TOLD region=16M poison=1000 poisons=2"
archive
until_counter quarantines 2
grep "a rest of" "$STATE/partition.log" || fail "there was no rest"
[ "$(counter faults)" -eq 4 ] || fail "$(counter faults) deaths, not 4"
enough
content "rest"
[ "$(json rescinded)" -eq 2 ] || fail "both channels should have been taken back"

# From outside: the packet that would kill never comes, the owner dies often.
STATE=$WORK/kills DISK=$WORK/disk.kills REPORT=$WORK/report.kills A=$SABOTAGE/holdfast
start_vm 4 64M "load depth=16 channels=3 $TOLD region=12M"
archive
until [ "$(counter kills)" -ge "$KILLS" ]; do
	"$A" kill --state "$STATE" >/dev/null || true
	sleep 0.08
done
echo "kills: $(counter kills) of them from outside, faults=$(counter faults) quarantines=$(counter quarantines)"
[ "$(counter quarantines)" -eq 0 ] && [ "$(counter faults)" -eq 0 ] || fail "kills were taken for faults"
enough
content "kills"
[ "$(json rescinded)" -eq 0 ] || fail "a channel was taken back"
