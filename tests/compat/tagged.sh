#!/bin/bash
# The builds that golden/tags names, made again from their commits into FOLDER/TAG; each must write its golden states
# again, byte for byte. What is there already is not built twice. Status 77: this tree has no history to build from.
# usage: tagged.sh FOLDER [TARGET]...   targets beside the test of states, of the first build only
set -eu
cd "$(dirname "$0")/../.."
mkdir -p "$1"
folder=$(realpath "$1")
shift
more=("$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

while read -r tag variant commit; do
	source=$folder/source-${commit:0:12} build=$folder/$tag
	git cat-file -e "$commit^{commit}" 2>/dev/null || { echo "commit $commit ($tag) is not in this tree"; exit 77; }
	if [ ! -d "$source" ]; then
		mkdir "$work/source"
		git archive "$commit" | tar -x -C "$work/source"
		mv "$work/source" "$source"
	fi
	[ -f "$build/build.ninja" ] || meson setup "$build" "$source" -Dvariant="$variant" >"$work/log" || { cat "$work/log"; exit 1; }
	ninja -C "$build" tests/compat/compat "${more[@]}" >"$work/log" || { cat "$work/log"; exit 1; }
	more=()
	"$build/tests/compat/compat" make "$work/states" 40 1
	gzip -dc "tests/compat/golden/states-${tag#schema-}.gz" | cmp - "$work/states" ||
		{ echo "$tag: the build of $commit writes other states than tests/compat/golden has"; exit 1; }
	echo "$tag: variant $variant of ${commit:0:12} wrote its golden states again"
done < <(grep -v '^#' tests/compat/golden/tags)
