#!/bin/bash
# The recorded corpus, replayed by each build: every effect and the last state as
# they were recorded, or named in allowed.txt.
#
# usage: run.sh BUILD...
set -eu
builds=()
for build in "${@:?usage: $0 BUILD...}"; do
	builds+=("$(realpath "$build")")
done
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 logs=0 events=0 allowed=0
: >"$work/used"
grep -v -e '^#' -e '^$' allowed.txt >"$work/allowed" || true

# matches LOG VARIANT EFFECT.FIELD: the line that allows it, or nothing.
matches() {
	awk -v log_="$1" -v variant="$2" -v what="$3" '
		($1 == log_ || $1 == "*") && ($2 == variant || $2 == "*") && $3 == what && NF > 3 {
			print; exit
		}' "$work/allowed"
}

for build in "${builds[@]}"; do
	variant=$("$build/holdfast" --version | sed -n 's/^holdfast [^ ]*-\([a-z]*\).*/\1/p')
	for file in *.log.xz; do
		name=${file%.log.xz}
		xz -dc "$file" >"$work/log"
		status=0
		"$build/holdfast" replay "$work/log" --verify --all >"$work/out" 2>&1 || status=$?
		summary=$(tail -n 1 "$work/out")
		logs=$((logs + 1))
		case $summary in
		replay:\ events=[1-9]*) events=$((events + $(sed -n 's/.*events=\([0-9]*\).*/\1/p' <<<"$summary"))) ;;
		*) status=2 ;;
		esac
		differences=$(sed -n 's/^divergence event=\([0-9]*\) .* effect=\([^ ]*\) field=\([A-Za-z0-9_]*\).*/\2.\3 \1/p' \
			"$work/out" | awk '!($1 in first) { first[$1] = $2 } { n[$1]++ }
				END { for (what in n) print what, first[what], n[what] }' | sort)
		if [ "$status" -ne 0 ] && [ -z "$differences" ]; then
			cat "$work/out"
			echo "corpus: $name: build $(basename "$build") does not replay it to its end (above). A log that" \
				"was recorded once is replayed for ever: make this build read it again."
			failed=1
			continue
		fi
		while read -r what first n; do
			[ -n "$what" ] || continue
			line=$(matches "$name" "$variant" "$what")
			if [ -n "$line" ]; then
				echo "$line" >>"$work/used"
				allowed=$((allowed + n))
				continue
			fi
			echo "corpus: $name: build $(basename "$build") (variant $variant) comes to another $what than was" \
				"recorded, $n times, first at event $first. If that is meant, add the line" \
				"'$name $variant $what REASON' to tests/corpus/allowed.txt; if not, look at it:" \
				"xz -dk tests/corpus/$file; holdfast replay --step tests/corpus/$name.log"
			failed=1
		done <<<"$differences"
	done
done
# A reason that nobody needs any more hides the next change of that field.
if [ ${#builds[@]} -gt 1 ]; then
	while read -r line; do
		grep -qxF "$line" "$work/used" || {
			echo "corpus: nothing differs by this line any more; take it out of allowed.txt: $line"
			failed=1
		}
	done <"$work/allowed"
fi
echo "corpus: replays=$logs events=$events allowed_differences=$allowed failed=$failed"
exit $failed
