# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154,SC2034
# A part of tests/demo.sh, which sources it: the two lanes of a path, with the agent killed in mid-transfer.
lane_is() { [ "$(path "$1" "$2" .lane)" = "$3" ]; }
lanes() { # HOST PEER: what came by each lane
	json "$1" ".[] | select(.peer == \"$2.$ZONE\") | \"kernel lane \(.lanes.kernel.rx_bytes) bytes, bulk lane (\(.lanes.bulk.cipher)) \(.lanes.bulk.rx_bytes) bytes\"" paths
}
came() { [ "$(path bob alice ".lanes.$1.rx_bytes")" -gt "$2" ]; }
more() { # LANE BYTES: so many more, from now on
	wait_for 30 "$2 more bytes on the $1 lane" came "$1" $(($(path bob alice ".lanes.$1.rx_bytes") + $2))
}

step "Two lanes: alice sends bob a stream by TCP. Large packets go through the agents, many at once; small ones stay in the kernel"
ping_name alice 4 bob 1 >/dev/null
wait_for 15 "the bulk lane" lane_is alice bob bulk
b4=$(vip4 bob)
show "bob: so far" lanes bob alice
in_ns bob timeout 120 "$HARNESS/tcp.py" serve "$b4" 5009 >"$T/lanes.sum" &
server=$!
JOBS+=("$server")
wait_for 10 "the server listens" listening bob 5009
in_ns alice timeout 120 "$HARNESS/tcp.py" flood "$b4" 5009 "$T/lanes.enough" >"$T/lanes.sent" &
sender=$!
JOBS+=("$sender")
more bulk 30000000
show "bob: under way" lanes bob alice
say "  alice's agent is killed (SIGKILL), in the midst of it"
end alice KILL
more kernel 3000000
show "bob: without it" lanes bob alice
begin=$(date +%s%N)
run_node alice
wait_for 15 "the bulk lane again" lane_is alice bob bulk
say "  alice's agent is back, with the lane $((($(date +%s%N) - begin) / 1000000)) ms after it was started"
more bulk 30000000
show "bob: with it again" lanes bob alice
touch "$T/lanes.enough"
wait "$sender" || fail "the TCP connection did not survive"
wait "$server" || fail "the TCP connection did not survive"
[ "$(cat "$T/lanes.sum")" = "$(cat "$T/lanes.sent")" ] || fail "what arrived is not what was sent"
say "  every byte arrived, SHA-256 as it was"
shown "a transfer on the bulk lane went on in the kernel while the agent was dead, and came back to the lane with it"
