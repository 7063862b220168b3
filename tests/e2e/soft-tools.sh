#!/bin/bash
# The tools beside a VM that works: what inspect, list, metrics, log, completion
# and help show, and that they cost the guest nothing it notices.
. "$(dirname "$0")/lib.sh"
start_vm 2 64M "load depth=16 channels=2 $TOLD region=8M serial"
sleep 1
"$A" service --state "$STATE" --to "$A" >/dev/null || fail "service"
kill_owner || fail "kill"
sleep 0.5

# owner_told: the new owner has told of itself.
owner_told() {
	"$A" inspect --state "$STATE" --json 2>/dev/null | python3 -c '
import json, sys
t = json.load(sys.stdin)
sys.exit(t["procs"][str(t["ownership"]["slot"])]["state"] != "owner")'
}
await 60 owner_told || fail "the owner does not tell of itself"

# number PATH
number() { "$A" inspect --state "$STATE" "$1" | cut -d' ' -f2; }
is_beyond() { [ "$(number "$1")" -gt "$2" ]; }
# until_beyond PATH N
until_beyond() { await 60 is_beyond "$1" "$2" || fail "$1 is $(number "$1"), not more than $2"; }

"$A" inspect --state "$STATE" --json >"$WORK/tree.json"
python3 - "$WORK/tree.json" "$DISK" <<'P' || fail "inspect --json"
import json, sys
t = json.load(open(sys.argv[1]))
p = t['partition']
assert (p['backend'], p['vps'], p['ram_bytes']) == ('soft', 2, 64 << 20), p
assert t['ownership']['state'] == 'owned' and t['ownership']['takeovers'] >= 3, t['ownership']
assert t['procs'][str(t['ownership']['slot'])]['state'] == 'owner'
assert set(t['mailboxes']) == set(t['synic']) == {'0', '1'}
for s in t['synic'].values():
    assert s['simp'] & 1 and s['siefp'] & 1 and s['sint2'] & 0xff, s
assert t['declared']['in_force'] <= t['declared']['generation']
assert {r['name'] for r in t['rows'].values()} >= {'ram', 'uring.0', 'disk.0', 'kernel', 'exe.0'}
open_channels = {i for i, c in t['channel'].items() if c['state'] == 'OPEN'}
assert len(open_channels) >= 2, t['channel']
for i in open_channels:
    c = t['channel'][i]
    assert c['in_size'] and c['packets_in'], c
    g = t['gpadl'][str(c['gpadl_index'])]
    assert g['relid'] == c['relid'] and g['pages'], g
assert len(t['doors']) >= len(open_channels)
assert t['vmbus']['0']['version'] and t['vtl']['0']['state'] and set(t['vp']) >= {'0', '1'}
assert t['storvsp']['0']['requests'] > 0
d = t['disk']['0']
assert d['blocks'] * d['block_bytes'] == 64 << 20 and d['name'] == sys.argv[2], d
for r in t['placed'].values():
    assert r['generation'] and r['epoch'] <= t['ownership']['epoch']
assert t['exits']['EXIT_POST_MESSAGE'] > 0 and t['queues']['inbox']['head'] > 0
for kind in ('channel', 'gpadl', 'storvsp', 'scsi', 'disk', 'vp', 'vtl', 'vmbus', 'servicing'):
    for m in t.get(kind, {}).values():
        assert m['state'] != '?' and 'generation' in m, m
print(f"inspect: {len(t)} parts, {len(open_channels)} open channels, {len(t['scsi'])} requests")
P

# Requests in flight are machines.
for _ in $(seq 500); do
	"$A" inspect --state "$STATE" scsi >"$WORK/scsi"
	! grep -q "^scsi.* state=SUBMITTED .* disk=0 .* bytes=4096 " "$WORK/scsi" || break
done
grep -q "state=SUBMITTED" "$WORK/scsi" || fail "no request was ever in flight"
[ "$("$A" inspect --state "$STATE" 'disk[0].name')" = "disk[0].name $DISK" ] || fail "a field by its path"
[ "$("$A" inspect --state "$STATE" partition.vps)" = "partition.vps 2" ] || fail "partition.vps"
"$A" inspect --state "$STATE" channel | grep -q '^channel\[[0-9]*\] state=OPEN ' || fail "text of a kind"
if "$A" inspect --state "$STATE" 'channel[9999]' 2>"$WORK/err"; then fail "a path that is not there"; fi
grep -q "nothing is called 'channel\[9999\]'" "$WORK/err" || fail "said: $(cat "$WORK/err")"

# --watch: it moves, and ends with its reader.
timeout 60 "$A" inspect --state "$STATE" lane.seq --watch | head -n 3 >"$WORK/watch" || true
[ "$(sort -u "$WORK/watch" | wc -l)" -eq 3 ] || fail "--watch stood still: $(cat "$WORK/watch")"

[ "$(field epoch "$("$A" list --state "$STATE")")" -ge 3 ] || fail "list"

"$A" metrics --state "$STATE" >"$WORK/metrics.1"
until_beyond stats.requests_completed "$(number stats.requests_completed)"
"$A" metrics --state "$STATE" >"$WORK/metrics.2"
python3 - "$WORK/metrics.1" "$WORK/metrics.2" <<'P' || fail "metrics"
import re, sys
def parse(path):
    typed, helped, v = {}, set(), {}
    for line in open(path):
        line = line.rstrip('\n')
        if m := re.fullmatch(r'# HELP ([a-z_]+) (\S.*)', line):
            assert m[1] not in helped; helped.add(m[1]); continue
        if m := re.fullmatch(r'# TYPE ([a-z_]+) (counter|gauge)', line):
            assert m[1] in helped and m[1] not in typed; typed[m[1]] = m[2]; last = m[1]; continue
        m = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})? (\d+(?:\.\d+)?)', line)
        assert m, line
        assert m[1] == last and m[1] in typed, line
        assert typed[m[1]] == 'gauge' or m[1].endswith('_total'), line
        assert m[1] + (m[2] or '') not in v, line
        v[m[1] + (m[2] or '')] = float(m[3])
    return typed, v
typed, a = parse(sys.argv[1])
_, b = parse(sys.argv[2])
assert a.keys() == b.keys() or len(a.keys() ^ b.keys()) <= 2
for name in a:
    if typed[name.split('{')[0]] == 'counter':
        assert b[name] >= a[name], name
assert b['holdfast_turns_total'] > a['holdfast_turns_total']
assert b['holdfast_requests_completed_total'] > a['holdfast_requests_completed_total'] > 0
assert a['holdfast_machines{machine="channel",state="OPEN"}'] >= 2
assert a['holdfast_kills_total'] == 1 and a['holdfast_exits_total{exit="POST_MESSAGE"}'] > 0
print(f'metrics: {len(a)} series')
P

seq=$(number lane.seq)
until_beyond lane.seq $((seq + 3000))
"$A" log --state "$STATE" --from "$seq" --machine channel --json 2>"$WORK/err" | head -n 50 |
	python3 -c "import json, sys; n = [json.loads(l) for l in sys.stdin]; assert len(n) == 50, n" ||
	fail "log: $(cat "$WORK/err")"

# Completion: what bash would offer.
eval "$("$A" help --completion)"
offers() { # offers WORDS... : the last is being typed
	COMP_WORDS=(holdfast "$@")
	COMP_CWORD=$#
	compopt() { :; }
	_holdfast
	echo "${COMPREPLY[*]}"
}
[ "$(offers in)" = inspect ] || fail "completion of a command: $(offers in)"
[ "$(offers run --backend "")" = "kvm soft" ] || fail "completion of a value: $(offers run --backend "")"
[ "$(offers run --kern)" = --kernel ] || fail "completion of an option"
[ "$(offers log --machine chan)" = channel ] || fail "completion of a machine"
[ "$(cd "$WORK" && offers run --disk di)" = disk ] || fail "completion of a file: $(cd "$WORK" && offers run --disk di)"
[ "$(offers service --state "$WORK/st")" = "$STATE" ] || fail "completion of a directory"

# Help: of every command, on stdout, with status 0.
for command in $("$A" help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
	"$A" "$command" --help >"$WORK/help" 2>"$WORK/err" || fail "$command --help: status $?"
	grep -q "^usage: holdfast $command" "$WORK/help" || fail "$command --help"
	[ ! -s "$WORK/err" ] || fail "$command --help wrote to stderr"
	grep -q "^## holdfast $command\$" "$ROOT/docs/cli.md" || fail "$command is not in docs/cli.md"
done
# console: what is typed comes to the guest, and ^] leaves it alone.
typed() { [ "$(number 'uart[0].rx_count')" -eq 5 ]; }
{ printf typed; await 60 typed || true; printf '\035'; } | timeout 90 "$A" console --state "$STATE" >/dev/null ||
	fail "console: status $?"
typed || fail "console: $(number 'uart[0].rx_count') bytes of 5 have come"
# What the guest prints comes out; here it is the last it does.
mkfifo "$WORK/keys"
timeout 300 "$A" console --state "$STATE" <"$WORK/keys" >"$WORK/attached" 2>&1 & attached=$!
exec 8>"$WORK/keys"
printf x >&8
typed_more() { [ "$(number 'uart[0].rx_count')" -eq 6 ]; }
await 60 typed_more || fail "the second console is not attached"
enough
wait_vm
wait "$attached" || fail "console: status $? at the end of the VM: $(cat "$WORK/attached")"
exec 8>&-
grep -q '"mismatches":0' "$WORK/attached" || fail "console: not what the guest printed: $(cat "$WORK/attached")"

# Without --state a VM has a place in /run, and `list` finds it there.
if [ -w /run ]; then
	"$A" run --backend soft --kernel "$SOFTLOAD" --cmdline idle --memory 16M --disk "$DISK" >"$WORK/console" 2>&1 </dev/null & RUN_PID=$!
	STATE=/run/holdfast-$RUN_PID
	is_listed() { "$A" list 2>/dev/null | grep -q "^state=$STATE paravisor_pid=[1-9]"; }
	await 60 is_listed || fail "list: $("$A" list)"
	"$A" shutdown --state "$STATE" --power-off
	wait_vm
	if is_listed; then fail "a VM that ended is listed"; fi
	rm -r "$STATE"
fi
