# How long a processor of the stock guest stands still (hfspin), with verified I/O on the other one: left alone, while its
# paravisor is replaced, and while it is killed, by turns. Told for spin.sh: HFSPIN lines, and HFDONE name=NAME n=N.
#
# HF_ROUNDS: of each; HF_SECONDS: that one lasts.
set -eu
. /etc/scenario-lib.sh

seconds=${HF_SECONDS:-10} serves=a failed=no

fail() { say "error: $*"; failed=yes; }

replace() {
	if [ $serves = a ]; then serves=b; else serves=a; fi
	timeout 40 /a/holdfast service --state "$hf_state" --to "/$serves/holdfast" \
		--expect-difference scsi.GUEST_WRITE.tail >/tmp/service.out 2>&1 || fail "replacement by $serves: $(tail -n 1 /tmp/service.out)"
}

kill_owner() {
	owner
	before=$pid
	timeout 30 /a/holdfast kill --state "$hf_state" --inflight >/tmp/kill.out 2>&1 || fail "kill: $(tail -n 1 /tmp/kill.out)"
	new_owner "$before" || fail "nobody took over from process $before"
	serves=$letter
}

# turn NAME ACTION: hfspin runs in the guest while ACTION is done again and again; what is done after its end does not count.
turn() {
	lines=$(grep -c -a HFSPIN "$hf_console" || true) n=0
	guest_say "sh hfspin $seconds $1"
	until [ "$(grep -c -a HFSPIN "$hf_console" || true)" -gt "$lines" ]; do
		if ! guest_running; then fail "$1: holdfast run ended: $(tail -n 1 /tmp/run.err)"; return 0; fi
		if [ "$2" = none ]; then usleep 200000; else $2; n=$((n + 1)); fi
		[ $failed = no ] || return 0
	done
	echo "HFDONE name=$1 n=$n"
}

guest_start /a
if guest_wait 70 'HFGUEST ready' && guest_wait 45 'HFGUEST running raw ext4|HFGUEST running ext4 raw'; then
	round=0
	while [ $round -lt "${HF_ROUNDS:-3}" ] && [ $failed = no ]; do
		round=$((round + 1))
		turn calm none
		turn replaced replace
		turn killed kill_owner
	done
	grep -a -o 'HFSPIN .*' "$hf_console"
	owner
	echo "HFSTOPPED vp_stopped=$vp_stopped"
	guest_say stop
	guest_wait 90 'HFGUEST done' || failed=yes
	grep -a -o 'HFLOAD .*' "$hf_console" | cut -c 1-300
	tries=0
	while guest_running && [ $tries -lt 150 ]; do
		tries=$((tries + 1))
		usleep 100000
	done
else
	exit 75
fi
[ $failed = no ]
