#!/bin/bash
# The crash-point proof of one scenario: run.sh BUILD read|write|message|takeover [OPTION]...
set -eu
build=$(realpath "${1:?usage: $0 BUILD SCENARIO [OPTION]...}")
scenario=${2:?usage: $0 BUILD SCENARIO [OPTION]...}
shift 2
exec "$build/tests/crash/crashpoints" --holdfast "$build/holdfast" \
	--guest "$build/tests/crash/stepguest" --scenario "$scenario" \
	--json "$build/crashpoints-$scenario.json" "$@"
