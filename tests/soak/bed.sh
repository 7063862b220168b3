#!/bin/sh
# The stock guest for longer: one round is 100 replacements and 100 kills under verified I/O in the nested bed. A round that
# held is one line of the record file. usage: bed.sh BUILD-A BUILD-B RECORD [ROUNDS]
set -eu
cd "$(dirname "$0")/../.."
a=$1 b=$2 record=$3 rounds=${4:-1}
commit=$(tests/soak/mark.sh)
[ -s "$record" ] || printf '# commit\tround\tfigures\n' >"$record"
out=$(mktemp -d)
n=$(awk -F'\t' -v c="$commit" '$1 == c' "$record" | wc -l)
while [ "$n" -lt "$rounds" ]; do
	n=$((n + 1))
	if ! timeout 1500 tests/bed/demo.sh --build-a "$a" --build-b "$b" --out "$out" --timeout 1200 --replacements 100 --kills 100 >"$out/log" 2>&1; then
		cat "$out/log"
		echo "soak: round $n in the bed did not hold; all of it is in $out"
		exit 1
	fi
	printf '%s\t%d\t%s\t%s\n' "$commit" "$n" "$(sed -n 's/^demo: \(kernel=.*\)/\1/p' "$out/log")" "$(sed -n 's/^demo: \(requests=.*\)/\1/p' "$out/log")" >>"$record"
	tail -n 1 "$record"
done
rm -rf "$out"
