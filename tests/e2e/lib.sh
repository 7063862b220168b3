# Helpers of the end-to-end tests on the soft back end: source it.
#   A, B         the two builds' holdfast
#   start_vm     VM in the background; $STATE, $DISK, $REPORT
# Nothing here or in a test is a matter of speed: what somebody else makes is waited for
# with a bound that only a failure meets, and a load ends when it is told to.
set -eu
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
for given in "${1:?usage: $0 BUILD-A BUILD-B}" "${2:?usage: $0 BUILD-A BUILD-B}"; do
	[ -f "$given/holdfast" ] && [ -x "$given/holdfast" ] ||
		{ echo "$0: $given: no holdfast was built there; give the folders of two builds (make, or meson setup and ninja)" >&2; exit 2; }
done
BUILD_A=$(realpath "${1:?usage: $0 BUILD-A BUILD-B}")
BUILD_B=$(realpath "${2:?usage: $0 BUILD-A BUILD-B}")
A=$BUILD_A/holdfast B=$BUILD_B/holdfast
SOFTLOAD=$BUILD_A/tests/soft/softload SOFTCHK=$BUILD_A/tests/soft/softchk
WORK=$(mktemp -d)
STATE=$WORK/state DISK=$WORK/disk REPORT=$WORK/report
TOLD="seconds=1200 until=$WORK/enough" # words of a load that goes on until enough() is said
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

# await SECONDS COMMAND...: until it succeeds; 1: it never did.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.05
	done
}

# paravisor: the process that serves; 0 or nothing: nobody does.
paravisor() {
	field paravisor_pid "$("$A" list --state "$STATE" 2>/dev/null)"
}

# another OLD: somebody else than process OLD serves.
another() {
	local now
	now=$(paravisor)
	[ "${now:-0}" -ne 0 ] && [ "$now" != "$1" ]
}

until_owner() {
	await 60 another "$1" || fail "nobody serves behind process $1"
}

# kill_owner [--inflight]: and another one serves.
kill_owner() {
	local line
	line=$("$A" kill --state "$STATE" "$@") || return 1
	until_owner "$(field pid "$line")"
}

# stands PID: each thread of it is stopped (the kernel's own workers in it do not count), or
# it is gone.
stands() {
	[ ! -d "/proc/$1" ] ||
		awk '/^Name:/ {name = $2} /^State:/ && $2 !~ /[TZ]/ && name !~ /^iou-/ {exit 1}' "/proc/$1/task/"*/status 2>/dev/null
}

# stop PID: it does nothing more.
stop() {
	kill -STOP "$1"
	await 30 stands "$1" || fail "process $1 does not stop"
}

# until_up: the VM whose run is $RUN_PID answers, and somebody serves.
until_up() {
	local end=$((SECONDS + 60))
	until another 0; do
		if ! kill -0 "$RUN_PID" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
			cat "$WORK/console"
			fail "the VM did not start"
		fi
		sleep 0.05
	done
	BEGAN=$SECONDS
}

# start_vm VPS DISK-BYTES CMDLINE [OPTION...]: the guest is softload.
start_vm() {
	rm -f "$WORK/enough"
	truncate -s "$2" "$DISK"
	"$A" run --backend soft --kernel "$SOFTLOAD" --cmdline "$3 report=$REPORT" --vps "$1" \
		--memory 64M --disk "$DISK" --state "$STATE" "${@:4}" >"$WORK/console" 2>&1 </dev/null &
	RUN_PID=$!
	until_up
}

# enough [SECONDS]: a load of $TOLD ends, but not before it has lasted so long.
enough() {
	while [ $((SECONDS - BEGAN)) -lt "${1:-0}" ]; do
		sleep 0.1
	done
	touch "$WORK/enough"
}

# field NAME TEXT: value of NAME=VALUE in a line.
field() {
	sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" <<<"$2"
}

# wait_vm: the guest ends by itself; its verdict is run's.
wait_vm() {
	if wait "$RUN_PID"; then RUN_PID=; else RUN_PID=; cat "$WORK/console"; fail "the guest was not content"; fi
}
