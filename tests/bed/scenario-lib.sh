# For scenarios in L1 (busybox sh): . /etc/scenario-lib.sh
#
# The guest's console is a file each line of which starts with L1's uptime in milliseconds.

hf_state=/run/hf-state
hf_console=/tmp/guest.console

now_ms() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}0"; }
say() { echo "HFBED $*"; }

# guest_start BUILD [ARG…]: `holdfast run` in the background, with both disks.
guest_start() {
	build=$1
	shift
	: >"$hf_console"
	rm -f /tmp/guest.in /tmp/run.status
	mkfifo /tmp/guest.in
	(
		(
			if [ -n "${DEMO_SABOTAGE:-}" ]; then
				export HOLDFAST_SABOTAGE="$DEMO_SABOTAGE"
			fi
			status=0
			"$build/holdfast" run --kernel /guest/vmlinux --initrd /guest/initrd \
				--cmdline "console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off pci=off ${HF_CMDLINE:-}" \
				--memory "${HF_MEMORY:-512M}" --vps "${HF_VPS:-2}" --disk /dev/vda --disk /dev/vdb \
				--state "$hf_state" --backend kvm "$@" </tmp/guest.in 2>/tmp/run.err || status=$?
			echo $status >/tmp/run.status
		) | while IFS= read -r line; do
			read -r up _ </proc/uptime
			echo "${up%.*}${up#*.}0 $line"
		done >>"$hf_console"
	) &
	exec 9>/tmp/guest.in
	started=$(now_ms)
}

guest_say() { echo "$*" >&9; }

guest_running() { [ ! -e /tmp/run.status ]; }

# ended_within SECONDS PID: 1 if that process still lives then
ended_within() {
	end=$(($(now_ms) + $1 * 1000))
	while kill -0 "$2" 2>/dev/null; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		usleep 100000
	done
}

# guest_wait SECONDS PATTERN: until the guest's console has a line with it; 1 if it does not come, or the guest ended.
guest_wait() {
	end=$(($(now_ms) + $1 * 1000))
	while :; do
		if grep -q -a -E "$2" "$hf_console"; then return 0; fi
		if ! guest_running; then
			usleep 300000
			if grep -q -a -E "$2" "$hf_console"; then return 0; fi
			say "error: holdfast run ended with $(cat /tmp/run.status) while '$2' was awaited: $(tail -n 1 /tmp/run.err)"
			return 1
		fi
		if [ "$(now_ms)" -ge "$end" ]; then
			say "error: no '$2' from the guest within $1 s; its last line: $(tail -n 1 "$hf_console")"
			return 1
		fi
		usleep 50000
	done
}

guest_stalled() { grep -q -a '"stalled":true' "$hf_console"; }

# field NAME: the value of NAME=… in the line on stdin
field() { tr ' ' '\n' | sed -n "s/^$1=//p" | head -n 1; }

# guest_progress MS NAME…: true if each of these loads told, at L1's uptime MS or later, that requests were completed.
guest_progress() {
	after=$1
	shift
	tail -n 40 "$hf_console" | awk -v after="$after" -v names="$*" '
		$2 == "HFSTAT" && $1 >= after && $5 ~ /^n=[1-9]/ { seen[$3] = 1 }
		END { n = split(names, name, " "); for (i = 1; i <= n; i++) if (!(name[i] in seen)) exit 1 }'
}

vp_stopped=0

hf_list() { timeout 10 /a/holdfast list --state "$hf_state" 2>/tmp/list.err | grep -a 'paravisor_pid=' | tail -n 1; }

# owner: sets pid and its build's letter, and keeps the greatest vp_stopped
owner() {
	row=$(hf_list) || row=''
	pid=$(echo "$row" | field paravisor_pid)
	letter=$(echo "$row" | field build | sed 's/^[^-]*-\([a-z]\)-.*/\1/')
	stopped=$(echo "$row" | field vp_stopped)
	case $stopped in
	'' | *[!0-9]*) ;;
	*) if [ "$stopped" -gt "$vp_stopped" ]; then vp_stopped=$stopped; fi ;;
	esac
}

# new_owner OLD: waits for another living paravisor than OLD, at most 15 s
new_owner() {
	tries=0
	while :; do
		owner
		if [ -n "$pid" ] && [ "$pid" != 0 ] && [ "$pid" != "$1" ]; then return 0; fi
		tries=$((tries + 1))
		if [ $tries -gt 75 ] || ! guest_running; then return 1; fi
		usleep 200000
	done
}
