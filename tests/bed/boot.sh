#!/bin/sh
# What it costs to boot the stock guest, for make bench: exits of its VPs and milliseconds, from the start of
# `holdfast run` until the guest has found its disks. Two VPs, two disks, no load.
#
# usage: boot.sh BUILD-A OUT      (OUT/boot.json gets both figures)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 2 ] || { echo "usage: boot.sh BUILD-A OUT" >&2; exit 2; }
rm -f "$2/boot.json"
status=0
"$here/run-bed.sh" --scenario "$here/scenario-boot.sh" --out "$2" --timeout 120 --attempts 2 --vps 2 --build-a "$1" || status=$?
case $status in
0) ;;
75 | 124 | 125)
	echo "boot: the emulator lost the machine (status $status)" >&2
	exit 77
	;;
*) exit $status ;;
esac
sed -n 's/^HFBOOT exits=\([0-9]*\) to_sda_ms=\([0-9]*\)$/{"boot.exits": \1, "boot.to_sda_ms": \2}/p' "$2/console.log" >"$2/boot.json"
[ -s "$2/boot.json" ] || { echo "boot: the guest's figures are not in $2/console.log" >&2; exit 1; }
