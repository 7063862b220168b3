#!/bin/sh
# Purity, shown by the linker: what statemachines/ reaches outside itself is a
# short list of the engine's names and of memory functions. No clock, malloc,
# I/O or library can be among them.
set -eu
lib=${1:?usage: pure.sh libstatemachines.a}
allowed='^(sm_[a-z_0-9]+|rec_[a-z_0-9]+|fact_failed|memcpy|memset|memcmp|memmove|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_)$'
defined=$(nm --defined-only "$lib" 2>/dev/null | awk 'NF==3 {print $3}' | sort -u)
used=$(nm --undefined-only "$lib" 2>/dev/null | awk '$1=="U" {print $2}' | sort -u)
foreign=$(printf '%s\n' "$used" | grep -vxF "$defined" | grep -vE "$allowed" || true)
if [ -n "$foreign" ]; then
	echo "pure: statemachines/ reaches what it must not:" $foreign
	exit 1
fi
writable=$(nm "$lib" 2>/dev/null | awk 'NF==3 && $2 ~ /^[dDbBC]$/ {print $3}' | sort -u)
if [ -n "$writable" ]; then
	echo "pure: statemachines/ has writable data:" $writable
	exit 1
fi
n=$(printf '%s\n' "$used" | grep -cE "$allowed" || true)
echo "pure: $n outside names, all of them allowed; no writable data"
