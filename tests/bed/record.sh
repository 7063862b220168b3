#!/bin/sh
# Records the traffic of the stock guest in the bed, for tests/soft/test_recorded.c.
#
# usage: record.sh BUILD-A OUT.txt
#
# OUT.txt has a line for each VMBus message and packet: '>' guest to server or '<' server to guest, 'message' or
# 'channel RELID', the bytes in hex. Of alike SCSI requests (same CDB operation and direction) the first few are kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 2 ] || { echo "usage: record.sh BUILD-A OUT.txt" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/run-bed.sh" --scenario "$here/scenario-record.sh" --out "$work" --timeout 200 --vps 2 --raw-mb 256 --build-a "$1"
{
	echo "# Traffic of a stock Linux $(sed -n 's/.*HFBED l1 kernel=\([^ ]*\).*/\1/p' "$work/console.log") guest with 2 VPs, by tests/bed/record.sh."
	python3 "$here/recorded.py" <"$work/raw.img"
} >"$2"
wc -l "$2"
