# Reads console.log of the demo scenario; prints NAME=VALUE lines for demo.sh.

function value(line, key,    at, rest) {
	at = index(line, " " key "=")
	if (!at)
		return ""
	rest = substr(line, at + length(key) + 2)
	sub(/ .*/, "", rest)
	return rest
}

# A number or word of the JSON line of hfload.
function json(line, key,    at, rest) {
	at = index(line, "\"" key "\":")
	if (!at)
		return ""
	rest = substr(line, at + length(key) + 3)
	gsub(/^"/, "", rest)
	sub(/[",}].*/, "", rest)
	return rest
}

function list(line, key,    at, rest) {
	at = index(line, "\"" key "\":[")
	if (!at)
		return ""
	rest = substr(line, at + length(key) + 4)
	sub(/\].*/, "", rest)
	return rest
}

{ sub(/\r$/, "") }
/^HFEVENT / { events++; kind[events] = value($0, "kind"); from[events] = value($0, "t0"); to[events] = value($0, "t1") }
/^HFCON / && / HFGUEST ready / { kernel = value($0, "kernel"); vps = value($0, "vps"); boot = value($0, "boot_id"); boots[boot] = 1
	ready_host = $2; ready_guest = value($0, "uptime_ms") }
/^HFCON / && / HFGUEST done / { done = $0; done_host = $2; done_guest = value($0, "uptime_ms"); boots[value($0, "boot_id")] = 1 }
/^HFCON / && / HFLOAD \{.*\}$/ { load[json($0, "name")] = $0; boots[json($0, "boot_id")] = 1 }
/^HFSUMMARY / { summary = $0 }

END {
	offset = value(summary, "offset_ms")
	uptime_ok = done != "" && offset != "" && offset != "unknown"
	for (id in boots)
		different++
	if (different != 1)
		uptime_ok = 0

	io_errors = mismatches = overall = 0
	for (name in load) {
		line = load[name]
		loads++
		io_errors += json(line, "io_errors")
		mismatches += json(line, "mismatches")
		if (json(line, "stalled") != "false")
			stalled++
		if (json(line, "uptime_ok") != "true")
			uptime_ok = 0
		if (json(line, "guest_gap_us") > overall)
			overall = json(line, "guest_gap_us") + 0
		requests += json(line, "ops")
		verified += json(line, "verified_blocks")
		steps = split(list(line, "step_gap_100us"), step, ",")
		start = json(line, "step_start_ms")
		width = json(line, "step_ms")
		for (e = 1; e <= events; e++) {
			# The gap that an event makes ends after the event began.
			first = int((from[e] - offset - 100 - start) / width) + 1
			last = int((to[e] - offset + 700 - start) / width) + 1
			if (e < events && last >= int((from[e + 1] - offset - start) / width) + 1)
				last = int((from[e + 1] - offset - start) / width)
			for (i = first < 1 ? 1 : first; i <= last && i <= steps; i++)
				if (step[i] + 0 > gap[e])
					gap[e] = step[i] + 0
		}
	}
	# The guest's clock must have run on with ours: 3 % and 0.5 s are what delays of the console can explain.
	elapsed_host = done_host - ready_host
	elapsed_guest = done_guest - ready_guest
	drift = elapsed_host - elapsed_guest
	if (drift < 0)
		drift = -drift
	if (drift > 500 + elapsed_host * 0.03)
		uptime_ok = 0

	kernel_errors = value(done, "kernel_errors")
	io_errors += kernel_errors
	for (e = 1; e <= events; e++) {
		sorted[e] = gap[e] + 0
		for (i = e; i > 1 && sorted[i - 1] > sorted[i]; i--) {
			swap = sorted[i]; sorted[i] = sorted[i - 1]; sorted[i - 1] = swap
		}
	}
	complete = loads == 2 && done != "" && !stalled
	printf "kernel=%s\nvps=%s\n", kernel == "" ? "unknown" : kernel, vps == "" ? "unknown" : vps
	printf "replacements=%d\nkills=%d\n", value(summary, "replacements"), value(summary, "kills")
	printf "io_errors=%s\nmismatches=%s\n", loads ? io_errors : "unknown", loads ? mismatches : "unknown"
	if (events && loads)
		printf "p50=%.1f\nmax=%.1f\n", sorted[int((events + 1) / 2)] / 10, sorted[events] / 10
	else
		printf "p50=unknown\nmax=unknown\n"
	printf "vp_stopped=%s\nuptime_ok=%s\n", value(summary, "vp_stopped") == "" ? "unknown" : value(summary, "vp_stopped"), uptime_ok ? "yes" : "no"
	printf "complete=%s\nstatus=%s\nwarnings=%s\n", complete ? "yes" : "no", value(done, "status"), value(done, "kernel_warnings")
	printf "overall=%.1f\nrequests=%d\nverified=%d\nstalled=%d\n", overall / 1000, requests, verified, stalled
	for (e = 1; e <= events; e++)
		gaps = gaps (e > 1 ? "," : "") substr(kind[e], 1, 1) ":" sprintf("%.1f", gap[e] / 10)
	printf "gaps=%s\n", gaps
}
