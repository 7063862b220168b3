#!/bin/sh
# statemachines/test_purity.sh NM LIBRARY - what machines can reach.
#
# A machine reads no clock, allocates nothing and does no I/O: of all that is
# not defined in the library itself only the names below may be wanted. Only
# meaningful on a plain build: sanitizers and coverage add names of their own.
set -eu
export LC_ALL=C
allowed='memcpy memset memcmp memmove strlen fact_failed
sm_always sm_blob_append sm_blob_clear sm_blob_len sm_blob_read sm_blob_set sm_effect sm_find
sm_holds_always sm_level sm_nothing sm_post sm_post_all sm_raise_level sm_retire sm_room sm_spawn
world_blob_room world_registry world_spawn_fixed
__stack_chk_fail __memcpy_chk __memset_chk _GLOBAL_OFFSET_TABLE_'
"$1" --defined-only "$2" | awk 'NF == 3 { print $3 }' | sort -u >purity.defined.$$
trap 'rm -f purity.defined.$$ purity.wanted.$$' EXIT
"$1" --undefined-only "$2" | awk '$1 == "U" { print $2 }' | sort -u >purity.wanted.$$
bad=0
for name in $(comm -23 purity.wanted.$$ purity.defined.$$); do
	if ! echo "$allowed" | tr ' ' '\n' | grep -qx "$name"; then
		echo "machines reach $name" >&2
		bad=1
	fi
done
exit $bad
