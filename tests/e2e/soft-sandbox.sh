#!/bin/bash
# What the processes of a VM can no longer do once it runs: calls are made in
# them as a hijacked one would make them (tests/sandbox/inject.c), and fail.
. "$(dirname "$0")/lib.sh"
INJECT=$BUILD_A/tests/sandbox/inject
[ -x "$INJECT" ] || fail "no $INJECT"
tries=0

# in_process PID WANTED CALL...: the call, made by that process.
in_process() {
	local pid=$1 wanted=$2 got
	shift 2
	got=$(timeout 60 "$INJECT" "$pid" "$@") || fail "injecting $* into $pid"
	[ "$got" = "$wanted" ] || fail "$(tr '\0' ' ' <"/proc/$pid/cmdline"): $*: $got, not $wanted"
	tries=$((tries + 1))
}

# stripped PID FILTERS: no privileges, that many filters, no core file.
stripped() {
	local status=/proc/$1/status
	grep -qx "NoNewPrivs:	1" "$status" || fail "$1 could gain privileges"
	grep -qx "Seccomp:	2" "$status" && grep -qx "Seccomp_filters:	$2" "$status" ||
		fail "$1 has other than $2 filters: $(grep Seccomp "$status")"
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		grep -qx "$set:	0*" "$status" || fail "$1 keeps capabilities: $(grep "$set" "$status")"
	done
	grep -q "^Max core file size  *0  *0 " "/proc/$1/limits" || fail "$1 writes core files"
}

# What nobody of the VM may: the partition's filter, inherited.
no_family_calls() {
	in_process "$1" EPERM unshare 0
	in_process "$1" EPERM setns -1 0
	in_process "$1" EPERM mount 0 0 0 0 0
	in_process "$1" EPERM ptrace 16 0 0 0
	in_process "$1" EPERM process_vm_readv 0 0 0 0 0 0
	in_process "$1" EPERM io_uring_setup 0 0
	in_process "$1" EPERM userfaultfd 0xffffffff
	in_process "$1" EPERM socket 2 2 0
	in_process "$1" EPERM socket 16 3 0
	in_process "$1" EPERM keyctl 0 0
	in_process "$1" EPERM chroot @/
	in_process "$1" EPERM mknodat -100 @/tmp/null 0x2180 0x103
	in_process "$1" EPERM clone 0x10000200
}

# What besides a paravisor may not.
no_paravisor_calls() {
	no_family_calls "$1"
	in_process "$1" EPERM openat -100 @/etc/passwd 0
	in_process "$1" EPERM open @/etc/passwd 0
	in_process "$1" EPERM execve @/bin/true 0 0
	in_process "$1" EPERM execveat -100 @/bin/true 0 0 0
	in_process "$1" EPERM clone 0x800
	in_process "$1" EPERM clone3 0 0
	in_process "$1" EPERM fork
	in_process "$1" EPERM socket 1 5 0
	in_process "$1" EPERM connect 0 0 0
	in_process "$1" EPERM sendmsg 0 0 0
	in_process "$1" EPERM unlink @/nothing
	in_process "$1" EPERM kill 1 0
	in_process "$1" EPERM tgkill 1 1 0
	in_process "$1" EPERM io_uring_register 0 0 0 0
	in_process "$1" EPERM ioctl 0 0 0
	in_process "$1" EPERM fcntl 0 1024 0
	in_process "$1" EPERM memfd_create @x 0
	in_process "$1" EPERM mmap 0 4096 7 0x22 -1 0
	in_process "$1" EPERM mprotect 0x1000 4096 5
	in_process "$1" EPERM prctl 38 0 0 0 0
	in_process "$1" "$1" getpid
}

# The same calls in a process that gave nothing up: they are made.
exec_sleep() { [ "$(cat "/proc/$other/comm")" = sleep ]; }
sleep 600 3>&- 4>&- & other=$!
await 30 exec_sleep || fail "no process"
in_process "$other" 3 socket 2 2 0
in_process "$other" 4 openat -100 @/etc/passwd 0
in_process "$other" 0 kill 1 0
in_process "$other" EINVAL clone 0x10000200
in_process "$other" EFAULT io_uring_setup 0 0
kill "$other"

# No watchdog: whoever calls in a process stops it as long as that takes.
start_vm 2 64M "load depth=8 channels=2 $TOLD region=8M" --watchdog 0
partition=$(cat "$STATE/partition.pid")
first=$(paravisor)
stripped "$partition" 1
stripped "$first" 2
no_family_calls "$partition"
in_process "$partition" ENOSYS clone3 0 0
in_process "$partition" "$partition" getpid
no_paravisor_calls "$first"
for ns in net ipc uts; do
	[ "$(readlink "/proc/$partition/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ] || fail "the $ns namespace is ours"
	[ "$(readlink "/proc/$partition/ns/$ns")" = "$(readlink "/proc/$first/ns/$ns")" ] || fail "the paravisor has another $ns namespace"
done
guest=$(pgrep -P "$partition" -x softload)
stripped "$guest" 1

# Servicing goes on: a successor and a taker start from the same descriptor.
"$A" service --state "$STATE" --to "$A" >/dev/null || fail "service"
second=$(paravisor)
[ "$second" != "$first" ] || fail "no replacement"
stripped "$second" 2
in_process "$second" EPERM openat -100 @/etc/passwd 0
kill_owner || fail "kill"
third=$(paravisor)
stripped "$third" 2
no_paravisor_calls "$third"

"$A" archive --state "$STATE" 2>"$WORK/archive.err" & archiver=$!
await 60 grep -q '^Seccomp:	2' "/proc/$archiver/status" || fail "the archiver is not confined"
stripped "$archiver" 1
for call in "openat -100 @/etc/passwd 0" "execve @/bin/true 0 0" "socket 2 2 0" "socket 1 1 0" "clone 0x800" \
	"kill 1 0" "unlink @/nothing" "ptrace 16 0 0 0" "io_uring_setup 0 0" "mmap 0 4096 7 0x22 -1 0"; do
	in_process "$archiver" EPERM $call
done
in_process "$archiver" "$archiver" getpid
"$A" replay --state "$STATE" --verify 2>&1 | tail -n 1
enough
wait_vm
wait "$archiver" || fail "the archiver: $(cat "$WORK/archive.err")"
! grep -h "not confined\|are kept" "$STATE"/*.log || fail "not confined"
echo "$tries calls made in other processes, all answered as wished"
