#!/bin/bash
# make proof: the bounded proofs, one a line. Each is a function prove_*() of
# tests/proof/prove_*.c; PROOFS below says how often its loops turn at most.
#
#   run.sh WORKDIR [REGEX]
#
# Unwinding assertions are on: a bound that is too small is a failure, not a gap.
set -u
cd "$(dirname "$0")/../.." || exit 1
cbmc=$(tests/proof/fetch-cbmc.sh "${1:?usage: $0 WORKDIR [REGEX]}") || exit 1
PROOFS="
ring     distance   1
ring     descriptor 9
ring     copies     4
ring     signals    1
packet   packet     4
packet   pairs      6
codec    take       14
codec    skip       10
inflight place      2
inflight taken      2
"
failed=0
while read -r file name unwind; do
	[ -n "$file" ] && [[ $name =~ ${2:-.} ]] || continue
	start=$SECONDS
	text=$(timeout "${PROOF_SECONDS:-240}" $cbmc --function "prove_$name" -D_GNU_SOURCE \
		-DHOLDFAST_SABOTAGE=0 -Itests/proof -I. --bounds-check --pointer-check \
		--unwind "$unwind" --unwinding-assertions "tests/proof/prove_$file.c" 2>&1)
	if grep -q '^VERIFICATION SUCCESSFUL' <<<"$text"; then
		checks=$(sed -n 's/^\*\* 0 of \([0-9]*\) failed.*/\1/p' <<<"$text")
		printf 'proved  %-10s %-11s %4s properties %4ds\n' "$file" "$name" "$checks" $((SECONDS - start))
	else
		failed=1
		printf 'FAILED  %-10s %-11s %4ds\n' "$file" "$name" $((SECONDS - start))
		grep -E 'FAILURE|error' <<<"$text" | head -n 8 | sed 's/^/        | /'
	fi
done <<<"$PROOFS"
exit $failed
