#!/bin/sh
# The stock guest for longer: one round is 40 replacements and 200 kills under verified I/O in the nested bed, each kill with
# requests in flight. A round that held is one line of the record file.
# usage: bed.sh BUILD-A BUILD-B RECORD [ROUNDS [REPLACEMENTS KILLS]]
set -eu
cd "$(dirname "$0")/../.."
a=$1 b=$2 record=$3 rounds=${4:-5} replacements=${5:-40} kills=${6:-200}
commit=$(tests/soak/mark.sh)
[ -s "$record" ] || printf '# commit\tround\tfigures\n' >"$record"
out=$(mktemp -d)
n=$(awk -F'\t' -v c="$commit" '$1 == c' "$record" | wc -l)
while [ "$n" -lt "$rounds" ]; do
	n=$((n + 1))
	if ! timeout 2400 tests/bed/demo.sh --build-a "$a" --build-b "$b" --out "$out" --timeout 2100 --replacements "$replacements" --kills "$kills" >"$out/log" 2>&1; then
		cat "$out/log"
		echo "soak: round $n in the bed did not hold; all of it is in $out"
		exit 1
	fi
	printf '%s\t%d\t%s\t%s\n' "$commit" "$n" "$(sed -n 's/^demo: \(kernel=.*\)/\1/p' "$out/log")" "$(sed -n 's/^demo: \(requests=.*\)/\1/p' "$out/log")" >>"$record"
	tail -n 1 "$record"
done
rm -rf "$out"
