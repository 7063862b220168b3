# For boot.sh: boots the stock guest, and tells in one line what it cost until its disks were there.
set -eu
. /etc/scenario-lib.sh

HF_CMDLINE='hf.load=no'
guest_start /a
guest_wait 80 'HFGUEST ready' || exit 75
exits=$(/a/holdfast inspect --state "$hf_state" --json exits | tr -c '0-9\n' ' ' | awk '{ for (i = 1; i <= NF; i++) n += $i } END { print n + 0 }')
ready=$(grep -a 'HFGUEST ready' "$hf_console" | head -n 1 | cut -d ' ' -f 1)
echo "HFBOOT exits=$exits to_sda_ms=$((ready - started))"
guest_say stop
guest_wait 30 'HFGUEST done' || exit 1
