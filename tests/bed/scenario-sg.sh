# The disk of Holdfast is asked with sg3_utils by the stock guest; what was said is on the raw disk when all is over.
# For sg.sh, which brings /sg.cpio: the tools and sg-run.sh, unpacked by the guest's kernel behind its own initramfs.
set -eu
. /etc/scenario-lib.sh

cat /sg.cpio >>/guest/initrd
truncate -s 48M /tmp/sg.img
HF_CMDLINE='hf.load=no'
guest_start /a --disk /tmp/sg.img,controller=1
guest_wait 70 'HFGUEST ready' || exit 75
# The guest's names follow no order: the disks are known by their sizes, each of which is another (sg.sh).
guest_say 'sh cd /sys/block; by() { grep -l "^$1$" sd*/size | cut -d / -f 1; }; sh /sg-run.sh /dev/$(by 98304) /dev/$(by 131072)'
guest_wait 150 'HFGUEST sh rc=0' || { tail -n 20 "$hf_console" | sed 's/^/HFCON /'; exit 1; }
say "the guest has asked everything after $(($(now_ms) - started)) ms"
guest_say stop
guest_wait 60 'HFGUEST done' || exit 1
sync
