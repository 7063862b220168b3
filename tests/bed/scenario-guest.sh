# What an owner of a machine does to it, each with verified I/O before and after, and with a replacement and a SIGKILL of
# the paravisor in the middle. Told for guest.sh:  HFACTION name=NAME ok|FAILED …
#
# HF_ACTIONS: the actions, in order (all of them if empty).
set -eu
. /etc/scenario-lib.sh

actions=${HF_ACTIONS:-affinity storvsc vmbus hotplug media reboot panic kexec shutdown}
# In the guest: the raw disk by its size, whatever its name is by now.
raw='/dev/$(grep -l "^131072$" /sys/block/sd*/size | head -n 1 | cut -d / -f 4)'
serves=a action='' failures=0 region=0

fail() { say "error: $action: $*"; failures=$((failures + 1)); }

count() { grep -c -a -E "$1" "$hf_console" || true; }

# await SECONDS PATTERN N: until the console has N lines of it.
await() {
	await_end=$(($(now_ms) + $1 * 1000))
	until [ "$(count "$2")" -ge "$3" ]; do
		if ! guest_running; then fail "holdfast run ended: $(tail -n 1 /tmp/run.err)"; return 1; fi
		if [ "$(now_ms)" -ge "$await_end" ]; then
			fail "no '$2' number $3 within $1 s; last line: $(tail -n 1 "$hf_console")"
			return 1
		fi
		usleep 100000
	done
}

# in_guest SECONDS COMMAND: 0 if the guest's shell said 0.
in_guest() {
	said=$(count 'HFGUEST sh rc=')
	guest_say "sh $2"
	await "$1" 'HFGUEST sh rc=' $((said + 1)) || return 1
	rc=$(grep -a 'HFGUEST sh rc=' "$hf_console" | tail -n 1 | sed 's/.*rc=//')
	[ "$rc" = 0 ] || { fail "in the guest: status $rc of: $2: $(tail -n 3 "$hf_console" | head -n 2 | tr '\n' '|')"; return 1; }
}

verified_load() { in_guest 60 "hfload $raw 0 8388608 4 4096 50 --seconds 2 --name raw --stall 30"; }
verify() { in_guest 60 "hfverify $raw"; }

# replace, kill: each waits until another paravisor serves.
replace() {
	if [ $serves = a ]; then serves=b; else serves=a; fi
	owner
	before=$pid
	if ! timeout 40 /a/holdfast service --state "$hf_state" --to "/$serves/holdfast" \
		--expect-difference scsi.GUEST_WRITE.tail >/tmp/service.out 2>&1; then
		fail "replacement by $serves: $(tail -n 1 /tmp/service.out)"
		return 1
	fi
	new_owner "$before" || fail "process $before is still the paravisor"
}

kill_owner() {
	owner
	before=$pid
	timeout 10 /a/holdfast kill --state "$hf_state" >/dev/null 2>/tmp/kill.err || { fail "kill: $(tail -n 1 /tmp/kill.err)"; return 1; }
	new_owner "$before" || fail "nobody took over from process $before"
}

disturb() { replace && kill_owner; }

# during COMMAND: the guest does it in the background, again and again until the paravisor was replaced and killed, and
# tells when it ended.
during() {
	ended=$(count 'HFENDED')
	in_guest 20 "rm -f /tmp/over; (while [ ! -e /tmp/over ]; do { $1; } || { echo HFENDED 1; exit 1; }; done; echo HFENDED 0) </dev/null &" || return 1
	usleep 300000
	disturb
	in_guest 30 'touch /tmp/over'
	await 60 'HFENDED' $((ended + 1)) || return 1
	grep -a 'HFENDED' "$hf_console" | tail -n 1 | grep -q 'HFENDED 0' || fail "in the guest: it failed: $1: $(tail -n 4 "$hf_console" | tr '\n' '|')"
}

affinity() {
	in_guest 20 "hfload $raw 0 8388608 4 4096 50 --seconds 12 --name affinity --stall 30 </dev/null >/tmp/affinity.log 2>&1 & echo \$! >/tmp/load.pid"
	during 'for c in /sys/bus/vmbus/devices/*/channels/*/cpu; do echo $((n++ & 1)) >$c || exit 1; done; usleep 50000'
	in_guest 60 'while [ -e /proc/$(cat /tmp/load.pid)/exe ] && readlink /proc/$(cat /tmp/load.pid)/exe; do usleep 100000; done; grep -q "\"io_errors\":0,\"mismatches\":0" /tmp/affinity.log'
}

storvsc() { during 'rmmod hv_storvsc && insmod /lib/modules/hv_storvsc.ko && sleep 1 && { [ -b /dev/sda ] || sleep 3; }'; }

vmbus() {
	during 'rmmod hv_utils && rmmod hv_storvsc && rmmod hv_vmbus && insmod /lib/modules/hv_vmbus.ko && insmod /lib/modules/hv_storvsc.ko && insmod /lib/modules/hv_utils.ko && sleep 1'
}

# again SECONDS COMMAND: the guest boots anew after it.
again() {
	before_boot=$(grep -a 'HFGUEST ready' "$hf_console" | tail -n 1 | field boot_id)
	boots=$(count 'HFGUEST ready')
	guest_say "$2"
	usleep 200000
	disturb
	await "$1" 'HFGUEST ready' $((boots + 1)) || return 1
	[ "$(grep -a 'HFGUEST ready' "$hf_console" | tail -n 1 | field boot_id)" != "$before_boot" ] || fail "the guest did not boot anew"
}

reboot_guest() { again 90 reboot; }

panic() {
	again 90 panic
	/a/holdfast inspect --state "$hf_state" 'vtl[0]' >/tmp/vtl.txt
	grep -q 'sysrq triggered crash' /tmp/vtl.txt || fail "the panic's text was not kept: $(cut -c 1-300 /tmp/vtl.txt)"
}

kexec() {
	ext='/dev/$(grep -l "^524288$" /sys/block/sd*/size | head -n 1 | cut -d / -f 4)'
	in_guest 30 "mount -t ext4 -o ro $ext /mnt" || return 1
	again 150 "sh hfkexec /mnt/vmlinuz /mnt/initrd \"\$(cat /proc/cmdline)\""
}

# until_some STATUS SECTORS: true in the guest once a disk of that size is there (0), or none (1)
until_some() { echo "for i in \$(seq 400); do grep -q '^$2\$' /sys/block/sd*/size; [ \$? = $1 ] && exit 0; usleep 100000; done; exit 1"; }

# of_size SECTORS: the disk's name in the guest
of_size() { echo "/dev/\$(grep -l '^$1\$' /sys/block/sd*/size | head -n 1 | cut -d / -f 4)"; }

# A disk is added, grown under load and taken out; in the middle of each the paravisor is replaced and killed.
hotplug() {
	truncate -s 48M /tmp/hot.img
	disk add /tmp/hot.img,lun=5 || return 1
	disturb
	in_guest 90 "$(until_some 0 98304)" || return 1
	in_guest 40 "hfload $(of_size 98304) 0 8388608 4 4096 50 --seconds 2 --name hot --stall 30"
	ended=$(count 'HFENDED')
	in_guest 20 "rm -f /tmp/over; { hfload $(of_size 98304) 8388608 8388608 4 4096 50 --stop-file /tmp/over --name beside --stall 30; echo HFENDED \$?; } </dev/null &"
	disk resize 0:5 56M || return 1
	disturb
	in_guest 90 "$(until_some 0 114688)" || return 1
	in_guest 30 'touch /tmp/over'
	await 60 'HFENDED' $((ended + 1)) || return 1
	grep -a 'HFENDED' "$hf_console" | tail -n 1 | grep -q 'HFENDED 0' || fail "the load beside the resize"
	in_guest 40 "hfload $(of_size 114688) 50331648 8388608 4 4096 50 --seconds 1 --name grown --stall 30"
	in_guest 40 "for at in 0 8388608 50331648; do hfverify $(of_size 114688) \$at || exit 1; done"
	disk remove 0:5 || return 1
	disturb
	in_guest 90 "$(until_some 1 114688)"
}

# disk COMMAND…: the operator's
disk() { /a/holdfast disk --state "$hf_state" "$@" >/tmp/disk.out 2>&1 || { fail "disk $*: $(tail -n 1 /tmp/disk.out)"; return 1; }; }

# medium FILE: true in the guest if that is what its drive holds
medium() { echo "[ \"\$(md5sum </dev/sr0)\" = \"$(md5sum <"$1")\" ]"; }

# An optical drive: its medium is read while the paravisor is replaced and killed, taken out, and another one put in.
media() {
	head -c 1048576 /dev/urandom >/tmp/one.iso
	head -c 2097152 /dev/urandom >/tmp/two.iso
	disk add /tmp/one.iso,lun=6,optical || return 1
	in_guest 90 'for i in $(seq 400); do [ -b /dev/sr0 ] && exit 0; usleep 100000; done; exit 1' || return 1
	during "$(medium /tmp/one.iso)"
	disk eject 0:6
	in_guest 30 '! head -c 2048 /dev/sr0 >/dev/null'
	disturb
	disk insert 0:6 /tmp/two.iso
	in_guest 30 "$(medium /tmp/two.iso)"
	disk remove 0:6
	in_guest 90 'for i in $(seq 400); do [ -b /dev/sr0 ] || exit 0; usleep 100000; done; exit 1'
}

# The operator asks the guest to end; in the middle the paravisor is replaced and killed.
shutdown_guest() {
	timeout 20 /a/holdfast shutdown --state "$hf_state" >/tmp/shutdown.out 2>&1 &
	disturb_failures=$failures
	disturb || true
	tries=0
	while guest_running && [ $tries -lt 400 ]; do
		tries=$((tries + 1))
		usleep 100000
	done
	if guest_running; then
		fail "the guest did not end within 40 s"
	elif [ "$(cat /tmp/run.status)" != 0 ]; then
		fail "holdfast run ended with $(cat /tmp/run.status): $(tail -n 1 /tmp/run.err)"
	fi
	# The VM may be gone before it could be disturbed twice.
	[ "$(grep -c -a 'HFGUEST done status=ok' "$hf_console")" -ge 1 ] && failures=$disturb_failures
}

perform() {
	case $1 in
	affinity | storvsc | vmbus | panic | kexec | hotplug | media) "$1" ;;
	reboot) reboot_guest ;;
	shutdown) shutdown_guest ;;
	*) fail "no such action" ;;
	esac
}

mkdir -p /mnt
mount -t ext4 /dev/vdb /mnt
cp /guest/vmlinuz /guest/initrd /mnt/
umount /mnt

HF_CMDLINE="${HF_CMDLINE:-} hf.load=no"
guest_start /a
guest_wait $((10 + 30 * ${HF_VPS:-2})) 'HFGUEST ready' || exit 75
verified_load || exit 1
for action in $actions; do
	before_failures=$failures t0=$(now_ms)
	verify || true
	perform "$action" || true
	if guest_running; then
		verify || true
		verified_load || true
	fi
	owner
	if [ $failures = $before_failures ]; then verdict=ok; else verdict=FAILED; fi
	echo "HFACTION name=$action $verdict ms=$(($(now_ms) - t0)) vp_stopped=$vp_stopped"
	if ! guest_running; then break; fi
done
if [ $failures != 0 ]; then
	grep -a -v HFSTAT "$hf_console" | tail -n 60 | cut -c 1-200 | sed 's/^/HFCON /'
	tail -n 20 /tmp/run.err | sed 's/^/HFBED run: /'
	/a/holdfast inspect --state "$hf_state" 2>&1 | grep -v -E '^disk|EMPTY|^uart|BLANK' | cut -c 1-900 | sed 's/^/HFDUMP /'
fi
[ $failures = 0 ]
