#!/bin/sh
# Build the guest's workload and its checker, static, into a folder. CC chooses the compiler.
#
# usage: build.sh OUT
set -eu
[ $# -eq 1 ] || { echo "build.sh: one argument expected: the folder to fill" >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
for program in hfload hfverify hfkexec hfspin; do
	if [ "$1/$program" -nt "$here/$program.c" ] && [ "$1/$program" -nt "$here/stamp.h" ]; then
		continue
	fi
	"${CC:-gcc}" -std=c17 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -static -pthread \
		-o "$1/$program.new" "$here/$program.c"
	mv "$1/$program.new" "$1/$program"
done
