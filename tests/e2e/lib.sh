# Helpers of the end-to-end tests on the soft back end: source it.
#   A, B         the two builds' holdfast
#   start_vm     VM in the background; $STATE, $DISK, $REPORT
set -eu
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD_A=$(realpath "${1:?usage: $0 BUILD-A BUILD-B}")
BUILD_B=$(realpath "${2:?usage: $0 BUILD-A BUILD-B}")
A=$BUILD_A/holdfast B=$BUILD_B/holdfast
SOFTLOAD=$BUILD_A/tests/soft/softload SOFTCHK=$BUILD_A/tests/soft/softchk
WORK=$(mktemp -d)
STATE=$WORK/state DISK=$WORK/disk REPORT=$WORK/report
RUN_PID=

cleanup() {
	if [ -n "$RUN_PID" ] && kill -0 "$RUN_PID" 2>/dev/null; then
		"$A" shutdown --state "$STATE" --power-off >/dev/null 2>&1 || true
		wait "$RUN_PID" 2>/dev/null || true
	fi
	[ -n "${KEEP:-}" ] || rm -rf "$WORK"
}
trap cleanup EXIT

fail() {
	echo "FAILED: $*"
	cat "$STATE"/*.log 2>/dev/null | tail -n 40
	KEEP=1
	echo "left in $WORK"
	exit 1
}

# start_vm VPS DISK-BYTES CMDLINE: the guest is softload.
start_vm() {
	truncate -s "$2" "$DISK"
	"$A" run --backend soft --kernel "$SOFTLOAD" --cmdline "$3 report=$REPORT" --vps "$1" \
		--memory 64M --disk "$DISK" --state "$STATE" >"$WORK/console" 2>&1 </dev/null &
	RUN_PID=$!
	for _ in $(seq 100); do
		[ -S "$STATE/control" ] && "$A" list --state "$STATE" >/dev/null 2>&1 && return 0
		sleep 0.05
	done
	cat "$WORK/console"
	fail "the VM did not start"
}

# field NAME TEXT: value of NAME=VALUE in a line.
field() {
	sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" <<<"$2"
}

# wait_vm: the guest ends by itself; its verdict is run's.
wait_vm() {
	if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$WORK/console"; fail "the guest was not content"; fi
}
