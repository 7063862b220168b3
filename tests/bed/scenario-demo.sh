# The demonstration: a stock guest under load on two disks, while its paravisor is replaced ten times and killed
# twenty times. What happened is told in lines for demo.sh:
#
#   HFEVENT kind=replacement|kill n=N t0=MS t1=MS inflight=K from=PID to=PID    (L1's uptime)
#   HFCON MS LINE       lines of the guest's console
#   HFSUMMARY …         the counts, and offset_ms: L1's uptime minus the guest's
set -eu
. /etc/scenario-lib.sh

replacements_wanted=${HF_REPLACEMENTS:-10}
kills_wanted=${HF_KILLS:-20}
replacements=0 kills=0 failed=no
loads='raw ext4'

fail() { say "error: $*"; failed=yes; }

# io_goes_on T1 WHAT: both loads completed requests in a whole status interval after T1
io_goes_on() {
	end=$(($(now_ms) + 40000))
	until guest_progress $(($1 + 550)) $loads; do
		if guest_stalled; then fail "after $2: the guest's I/O stalled for more than 20 s"; return 1; fi
		if ! guest_running; then fail "after $2: holdfast run ended: $(tail -n 1 /tmp/run.err)"; return 1; fi
		if [ "$(now_ms)" -gt "$end" ]; then fail "after $2: no I/O of the guest for 40 s"; return 1; fi
		usleep 100000
	done
}

# A replacement counts only when requests were in flight at the flip: custody says so. With one VP that is one of thirty,
# and HF_ANY_FLIP counts each.
replace() {
	n=$((replacements + 1))
	misses=0
	while :; do
		if [ "${serves#"${serves%?}"}" = a ]; then to=b; else to=a; fi
		owner
		before=$pid
		t0=$(now_ms)
		if ! timeout 30 /a/holdfast service --state "$hf_state" --to "/$to/holdfast" \
			--expect-difference scsi.GUEST_WRITE.tail >/tmp/service.out 2>&1; then
			fail "replacement $n (to $to): $(tail -n 1 /tmp/service.out)"
			return 1
		fi
		t1=$(now_ms)
		if ! new_owner "$before"; then fail "replacement $n: process $before is still the paravisor"; return 1; fi
		if [ "$letter" != "$to" ]; then fail "replacement $n: build $letter serves, not $to"; return 1; fi
		serves=$serves$letter
		inflight=$(tail -n 1 /tmp/service.out | field inflight)
		if [ "${inflight:-0}" != 0 ] || [ -n "${HF_ANY_FLIP:-}" ]; then break; fi
		misses=$((misses + 1))
		say "replacement $n: no request was in flight; again"
		if guest_stalled; then fail "replacement $n: the guest's load gave up, no request of it came back for 20 s"; return 1; fi
		if [ $misses -ge 60 ]; then fail "replacement $n: never with a request in flight"; return 1; fi
	done
	replacements=$n
	echo "HFEVENT kind=replacement n=$n t0=$t0 t1=$t1 inflight=$inflight from=$before to=$pid"
	io_goes_on "$t1" "replacement $n"
}

# `kill --inflight` waits until a request is in flight.
kill_owner() {
	n=$((kills + 1))
	t0=$(now_ms)
	line=$(timeout 30 /a/holdfast kill --state "$hf_state" --inflight 2>/tmp/kill.err | tail -n 1) || line=''
	killed=$(echo "$line" | sed -n 's/^killed //p' | field pid)
	inflight=$(echo "$line" | field inflight)
	case $inflight in
	'' | 0 | *[!0-9]*)
		fail "kill $n: not with a request in flight: $line $(tail -n 1 /tmp/kill.err)"
		return 1
		;;
	esac
	t1=$(now_ms)
	if ! new_owner "$killed"; then fail "kill $n: nobody took over from process $killed within 15 s"; return 1; fi
	kills=$n
	serves=$serves$letter # in a probation the predecessor takes the guest back: the other build
	echo "HFEVENT kind=kill n=$n t0=$t0 t1=$t1 inflight=$inflight from=$killed to=$pid"
	io_goes_on "$t1" "kill $n"
}

events() {
	i=0
	while [ $i -lt $((replacements_wanted > kills_wanted ? replacements_wanted : kills_wanted)) ]; do
		i=$((i + 1))
		if [ $replacements -lt "$replacements_wanted" ]; then replace || return 0; fi
		for _ in 1 2; do
			if [ $kills -lt "$kills_wanted" ]; then kill_owner || return 0; fi
		done
	done
}

# A guest that resets while it boots, or never gets its loads running, is the emulator's (run-bed.sh): 75.
resets() { /a/holdfast inspect --state "$hf_state" 'vtl[0].resets' | sed 's/.*[^0-9]//'; }

# Which builds served, in order, by custody; the event log has to say the same.
serves=a lost=no
guest_start /a
until [ -e "$hf_state/control" ] || ! guest_running; do usleep 20000; done
/a/holdfast archive --state "$hf_state" >/tmp/archive.out 2>&1 &
archiver=$!
if guest_wait $((10 + 30 * ${HF_VPS:-2})) 'HFGUEST ready' && guest_wait $((15 + 15 * ${HF_VPS:-2})) 'HFGUEST running raw ext4|HFGUEST running ext4 raw'; then
	say "guest running after $(($(now_ms) - started)) ms"
	loaded=$(now_ms)
	sleep 1
	if [ "$(resets)" != 0 ]; then
		say "error: the guest was reset while it booted"
		lost=yes
	else
		events
	fi
	owner
	# A guest that reset by itself: what it said last is in the vtl machine, from its crash MSRs.
	if [ "$(resets)" != 0 ]; then
		fail "the guest was reset $(resets) times"
		/a/holdfast inspect --state "$hf_state" 'vtl[0]' | cut -c 1-3000 | sed 's/^/HFDUMP /'
		grep -a -v HFSTAT "$hf_console" | cut -c 1-200 | sed 's/^/HFDUMP console: /'
		/a/holdfast log --state "$hf_state" --machine vtl | tail -n 60 | cut -c 1-300 | sed 's/^/HFDUMP log: /'
	fi
	if [ $failed = no ]; then
		sleep 1
		while [ $(($(now_ms) - loaded)) -lt $((${HF_LOAD:-0} * 1000)) ]; do usleep 100000; done
		guest_say stop
		# The results of a long run are long, and each byte of the console takes an exit.
		guest_wait $((90 + ($(now_ms) - started) / 4000)) 'HFGUEST done' || failed=yes
		say "the guest's load has ended: $failed"
		tries=0
		while guest_running && [ $tries -lt 150 ]; do
			tries=$((tries + 1))
			usleep 100000
		done
		if guest_running; then
			fail "holdfast run did not end within 15 s of the guest's power off"
		elif [ "$(cat /tmp/run.status)" != 0 ]; then
			fail "holdfast run ended with $(cat /tmp/run.status): $(tail -n 1 /tmp/run.err)"
		fi
	fi
else
	failed=yes lost=yes
fi

if [ $failed = no ] && [ $lost = no ]; then
	if ! ended_within 30 $archiver; then
		fail "the archiver does not end: $(tail -n 1 /tmp/archive.out)"
		sed 's/^/HFDUMP archiver: /' /proc/$archiver/stack /proc/$archiver/status 2>/dev/null
	fi
	logged=$(/a/holdfast log --state "$hf_state" --machine servicing 2>/tmp/log.err | sed -n 's/.* SERVING .*bytes: 302e312e302d6\(.\).*/\1/p' | tr -d '\n' | tr 12 ab)
	echo "HFSERVED events=$serves log=$logged"
	if [ "$serves" != "$logged" ]; then
		fail "the log says that '$logged' served, the events say '$serves' $(tail -n 1 /tmp/log.err) $(tail -n 1 /tmp/archive.out)"
	fi
fi

# The whole log, for whoever wants to run it again.
if [ $failed = no ] && [ -b /dev/vdc ]; then
	tar -C "$hf_state" -cf /dev/vdc archive || fail "the archive cannot be copied"
fi

grep -a -E 'HF(GUEST|LOAD|BAD)' "$hf_console" | sed 's/^/HFCON /' || true
if [ $failed = yes ]; then
	tail -n 20 "$hf_console" | cut -c 1-200 | sed 's/^/HFCON /'
	tail -n 20 /tmp/run.err | sed 's/^/HFBED run: /'
	# Where everything stood, for whoever has to find out why.
	/a/holdfast inspect --state "$hf_state" 2>&1 | grep -v -E '^disk|EMPTY|^uart' | cut -c 1-900 | sed 's/^/HFDUMP /'
fi
# The usual delay between a line's making and its coming here is short: that gives the offset of the clocks. Not the
# least one, because two lines of the guest may have been mixed.
offset=$(awk '$2 == "HFSTAT" && NF == 7 && $4 ~ /^t=[0-9]+$/ { print $1 - substr($4, 3) }' "$hf_console" | sort -n |
	awk '{ d[NR] = $1 } END { print NR ? d[int((NR + 1) / 2)] : "unknown" }')
echo "HFSUMMARY vps=${HF_VPS:-2} replacements=$replacements kills=$kills vp_stopped=$vp_stopped offset_ms=$offset failed=$failed"
[ $lost = no ] || exit 75
[ $failed = no ]
