#!/bin/bash
# Every schema version with every other, both directions: COUNT random valid
# states of each are loaded and packed by the other and come back the same,
# fields that only the first knows included. Then the golden states in the tree,
# which builds of those versions wrote once, and the golden schemas.
#   run.sh BUILD...      builds of variants, one each; COUNT=1000
set -eu
builds=()
for build in "$@"; do
	builds+=("$(realpath "$build")")
done
set -- "${builds[@]}"
cd "$(dirname "$0")"
COUNT=${COUNT:-1000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
start=$SECONDS
value() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" <<<"$2"; }

for from in "$@"; do
	"$from/tests/compat/compat" make "$work/made" "$COUNT" 1
	for to in "$@"; do
		[ "$from" != "$to" ] || continue
		passed=$("$to/tests/compat/compat" pass "$work/made" "$work/passed")
		back=$("$from/tests/compat/compat" same "$work/made" "$work/passed")
		echo "$from -> $to -> back: $passed $back"
		[ $(($(value identical "$back") + $(value equal "$back"))) -ge $((COUNT * 9 / 10)) ]
		# Whoever knows more gets every byte back from who knows less.
		if [ "$("$from/tests/compat/compat" level)" -gt "$("$to/tests/compat/compat" level)" ]; then
			[ "$(value equal "$back")" -eq 0 ] || { echo "fields were lost"; exit 1; }
		fi
	done
done
for build in "$@"; do
	for golden in golden/states-*; do
		gzip -dc "$golden" >"$work/golden"
		passed=$("$build/tests/compat/compat" pass "$work/golden" "$work/passed")
		echo "$golden in $build: $passed"
		[ "$(value failed "$passed")" -eq 0 ]
		"$build/tests/compat/compat" pass "$work/passed" "$work/again" >/dev/null || true
		cmp "$work/passed" "$work/again"
	done
done
echo "compatibility: $# schema versions in $((SECONDS - start)) s"
