# Records what a stock guest and its paravisor said to each other: the log of a boot, a second of load on both disks,
# channels moved to other VPs, all drivers unloaded and loaded again, and the guest's power-off, as JSON lines, on the raw
# disk when all is over (record.sh reads it from there).
set -eu
. /etc/scenario-lib.sh

# in_guest COMMAND: the guest's shell has done it, without error.
in_guest() {
	n=$((${n:-0} + 1))
	guest_say "sh ($1) >/dev/null 2>&1 && echo HFSTEP $n"
	guest_wait 60 "HFSTEP $n" || { say "error: the guest did not do: $1"; exit 75; }
}

HF_CMDLINE='hf.load=no'
guest_start /a
guest_wait 70 'HFGUEST ready' || exit 75
/a/holdfast archive --state "$hf_state" >/tmp/archive.out 2>&1 &
in_guest 'hfload $(ls /dev/sd? | head -n 1) 33554432 4194304 4 4096 50 --seconds 1'
in_guest 'for d in /dev/sd?; do dd if=$d of=/dev/null bs=64k count=4; done'
in_guest 'for c in /sys/bus/vmbus/devices/*/channels/*/cpu; do echo 1 >$c && echo 0 >$c; done'
in_guest 'rmmod hv_utils; rmmod hv_storvsc && rmmod hv_vmbus && insmod /lib/modules/hv_vmbus.ko && insmod /lib/modules/hv_storvsc.ko; sleep 1'
guest_say stop
guest_wait 90 'HFGUEST done' || { say "error: the guest did not end"; exit 75; }
wait
/a/holdfast log --state "$hf_state" --json >/tmp/log.json 2>/tmp/log.err || { say "error: $(tail -n 1 /tmp/log.err)"; exit 1; }
# Only what crosses the border between guest and server: VMBus messages and packets.
grep -E '"event":"(PACKET|POSTED)"|"effect":"(MESSAGE|RING_SEND)"' /tmp/log.json >/tmp/border.json
say "recorded $(wc -l </tmp/border.json) of $(wc -l </tmp/log.json) records"
{ cat /tmp/border.json; echo END; } | dd of=/dev/vda bs=64k conv=fsync 2>/dev/null
