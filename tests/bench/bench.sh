#!/bin/bash
# make bench: figures of this build, and of fio on the same file in the same run.
# usage: bench.sh BUILD-A BUILD-B OUT.json
#   HOLDFAST_BENCH_ONLY=regex   only the parts whose names match
set -eu
[ $# -eq 3 ] || { echo "usage: $0 BUILD-A BUILD-B OUT.json"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v fio >/dev/null; then
	sudo=$([ "$(id -u)" = 0 ] || echo sudo)
	echo "installing: fio"
	$sudo apt-get update -qq &&
		DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
			$(grep -v '^#' "$here/packages.txt") >/dev/null ||
		{ echo "bench: fio could not be installed; the figures are compared with its"; exit 1; }
fi
# The rate of the fuzz targets with sanitizers; bench.py says why, where there is none.
asan=$(dirname "$1")/asan
{
	[ -f "$asan/build.ninja" ] || CC=clang meson setup "$asan" -Dvariant=a -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C "$asan" fuzz/fuzz_machine
} >"$(dirname "$3")/bench-asan.log" 2>&1 || echo "bench: no build with sanitizers, see $(dirname "$3")/bench-asan.log"
exec timeout --kill-after=20 900 python3 -B "$here/bench.py" "$@"
