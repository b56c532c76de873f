# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# A UDP and a TCP flow that go on while a scenario does things to the network; source it after lib.sh.

# flow_start FROM TO ADDRESS
flow_start() {
	ip netns exec "$(nsn "$2")" "$HARNESS/flow.py" serve "$3" 5005 >"$T/flow.serve" 2>&1 &
	JOBS+=($!)
	wait_for 5 "the echo server" grep -q ready "$T/flow.serve"
	rm -f "$T/flow.in"
	mkfifo "$T/flow.in"
	ip netns exec "$(nsn "$1")" "$HARNESS/flow.py" run "$3" 5005 <"$T/flow.in" >"$T/flow.out" 2>&1 &
	FLOW=$!
	JOBS+=("$FLOW")
	exec 9>"$T/flow.in"
	wait_for 10 "UDP and TCP flow" grep -q ready "$T/flow.out"
	FLOW_MARKS=0
}
# flow_mark: since the last one, SENT and LOST datagrams, and the longest time without answer, in ms. Waits for late answers.
flow_mark() {
	FLOW_MARKS=$((FLOW_MARKS + 1))
	echo mark >&9 || fail "the flow ended: $(cat "$T/flow.out")"
	wait_for 10 "figures of the flow" flow_has $FLOW_MARKS
	read -r SENT LOST UDP_GAP TCP_GAP < <(tail -n 1 "$T/flow.out")
}
flow_has() { [ "$(wc -l <"$T/flow.out")" -gt "$1" ]; }
# flow_nothing_lost WHAT: since the last mark
flow_nothing_lost() {
	flow_mark
	expect_eq "$1: none of $SENT datagrams lost, longest gap $UDP_GAP ms" "$LOST" 0
}
flow_end() { # TCP gave back every byte
	echo end >&9 # not by closing it: daemons that were started since have it open, too
	exec 9>&-
	wait "$FLOW" || fail "the TCP connection did not survive: $(tail -n 1 "$T/flow.out")"
	say "  ok: the TCP connection lived through all of it"
}
