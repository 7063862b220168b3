#!/bin/sh
# In a guest: does what sg-commands.txt says to a disk, and puts what was said on another one.
#
# usage: sg-run.sh DISK OUT      (OUT gets text: "begin NAME", "| line" …, "end STATUS" for each command, then "over")
D=$1

# pattern SEED KIB: /tmp/p, the same bytes for the same seed.
pattern() { yes "pattern $1" | head -c $(($2 * 1024)) >/tmp/p; }
read16() { rm -f "$3"; sg_dd if=$D of="$3" bs=512 count="$2" skip="$1" blk_sgio=1 cdbsz=16 2>/dev/null; }
# sum LBA COUNT: what lies there now.
sum() { read16 "$1" "$2" /tmp/s; echo "blocks $1 to $(($1 + $2 - 1)): $(md5sum </tmp/s)"; }

yes 'what was there' | head -c 16777216 | dd of="$D" bs=64k conv=fsync 2>/dev/null
while IFS= read -r line; do
	case $line in
	'' | '#'*) continue ;;
	esac
	echo "begin ${line%%:*}"
	(eval "${line#*: }") </dev/null >/tmp/said 2>&1
	status=$?
	sed 's/^/| /' /tmp/said
	echo "end $status"
done </sg-commands.txt >/tmp/all
echo over >>/tmp/all
dd if=/tmp/all of="$2" bs=64k conv=fsync 2>/dev/null
