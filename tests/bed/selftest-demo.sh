#!/bin/sh
# Proves that the demonstration passes when all is well and fails when it is not, with a stand-in for holdfast.
#
# usage: selftest-demo.sh OUT [SABOTAGE...]      (default: none kick double flip)
set -eu
me=selftest-demo
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
[ $# -ge 1 ] || die "one argument expected: a folder for the output"
out=$1
shift
[ $# -gt 0 ] || set -- none kick double flip
"$here/../guest/build.sh" "$out/bin"
mkdir -p "$out/build"
cp "$here/mock/holdfast" "$here/mock/holdfast-partition" "$out/build/"
cp "$out/bin/hfload" "$out/build/holdfast-hfload"
chmod 755 "$out/build"/*
for sabotage in "$@"; do
	value=$sabotage
	[ "$sabotage" != none ] || value=
	status=0
	DEMO_SABOTAGE=$value "$here/demo.sh" --build-a "$out/build" --build-b "$out/build" --out "$out/$sabotage" \
		>"$out/$sabotage.log" 2>&1 || status=$?
	tail -n 2 "$out/$sabotage.log"
	if [ "$sabotage" = none ]; then
		[ $status = 0 ] || die "the demonstration failed though all is well; see $out/$sabotage.log"
	else
		[ $status != 0 ] || die "the demonstration did not notice '$sabotage'; see $out/$sabotage.log"
	fi
done
echo "$me: ok"
