# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154,SC2034
# A part of tests/demo.sh, which sources it: two nodes, a tunnel, a restart.
secret="attack at dawn, and bring the good coffee"

step "Three hosts on a routed network, each in its own namespace: a DC, alice and bob"
RELAYS=(rs1)
mk_net dc alice bob rs1 web
say "  dc     ${ADDR4[dc]}  ${ADDR6[dc]}"
say "  alice  ${ADDR4[alice]}  ${ADDR6[alice]}"
say "  bob    ${ADDR4[bob]}  ${ADDR6[bob]}"
capture net alice "$T/wire1.pcap" ""
say "  tcpdump records all that passes on alice's wire"

step "The Direction Coordinator starts; it gives out a token for each node"
start_dc
say "  ntm-dc runs for the zone $ZONE"

step "Two nodes start with their keys and tokens, and register"
start_node alice
start_node bob
show "ntm dc nodes" ntm dc dc nodes
[ "$(ntm dc dc nodes --json | jq '[.[] | select(.online)] | length')" = 2 ] || fail "two nodes are not online"
b4=$(vip4 bob) b6=$(vip6 bob)

step "alice pings bob by name; looking the name up makes the tunnel"
show "ping -4 bob.$ZONE" ping_name alice 4 bob
show "ping -6 bob.$ZONE" ping_name alice 6 bob
show "ntm paths" ntm alice paths

end_capture

step "TCP through the tunnel"
bytes=${NTM_DEMO_BYTES:-200000000}
for to in "$b4" "$b6"; do
	tcp_transfer alice bob "$to" "$bytes"
	say "  $bytes bytes to $to in $TCP_MS ms, $((bytes / 125 / (TCP_MS > 0 ? TCP_MS : 1))) Mbit/s, arrived with the SHA-256 they had:"
	say "  $TCP_SUM"
done

step "What is on the wire? tcpdump again"
capture net alice "$T/wire2.pcap" ""
in_ns bob timeout 20 nc -l "$b4" 7000 >"$T/got" &
server=$!
wait_for 5 "nc listens" listening bob 7000
say "  alice sends bob a text, a hundred times: \"$secret\""
for _ in $(seq 100); do echo "$secret"; done | in_ns alice timeout 20 nc -N "$b4" 7000
wait "$server"
[ "$(grep -cF "$secret" "$T/got")" = 100 ] || fail "the text did not arrive"
say "  bob got it $(grep -cF "$secret" "$T/got") times; a file of a million bytes follows"
tcp_transfer alice bob "$b6" 1000000
end_capture
records() { # FILTER: what of both captures it matches
	tcpdump -nr "$T/wire1.pcap" "$1" 2>/dev/null
	tcpdump -nr "$T/wire2.pcap" "$1" 2>/dev/null
}
outer=$(records "udp port 4680 and (host ${ADDR4[bob]} or host ${ADDR6[bob]})" | wc -l)
say "  between alice and bob $outer packets were captured, the last of them:"
records "udp port 4680" | tail -n 3 | sed 's/^/    /'
[ "$outer" -gt 500 ] || fail "only $outer outer packets were captured"
on_wire() { grep -qaF -- "$1" "$T/wire1.pcap" "$T/wire2.pcap"; }
on_wire "$secret" && fail "the text is readable on the wire"
on_wire "${secret:0:12}" && fail "a part of the text is readable on the wire"
on_wire example && fail "a name is readable on the wire"
head -c 4096 "$T/data.1000000" | tail -c 32 >"$T/piece"
python3 -c 'import sys; sys.exit(open(sys.argv[1], "rb").read() in open(sys.argv[2], "rb").read())' "$T/piece" "$T/wire2.pcap" ||
	fail "a piece of the file is readable on the wire"
other=$(records 'not (udp port 4680) and not arp and not (icmp6 and ip6[40] >= 130 and ip6[40] <= 143) and not (ip6[6] = 0 and dst net ff02::/16)')
[ -z "$other" ] || fail "packets on the wire are neither the tunnel's nor ARP or neighbour discovery: $other"
say "  neither the text nor a piece of the file nor a name is in it, and nothing but UDP port 4680"

step "alice's agent is killed in the middle of a ping every 10 ms, and started again"
in_ns alice ping -i 0.01 -c 500 -W 2 "$b4" >"$T/ping" 2>&1 &
ping=$!
some_pings() { [ "$(wc -l <"$T/ping")" -gt 100 ]; }
wait_for 10 "the ping runs" some_pings
end alice KILL
say "  killed (SIGKILL) after ping $(($(wc -l <"$T/ping") - 1)); the BPF programs go on"
sleep 1 # a while without an agent is what is to be shown
run_node alice
say "  started again before ping $(wc -l <"$T/ping"); paths taken over: $(json alice length paths)"
[ "$(json alice .adopted status)" = true ] || fail "the new agent did not adopt the running data path"
wait "$ping" || true
tail -n 2 "$T/ping" | sed 's/^/  /'
grep -q '500 packets transmitted, 500 received, 0% packet loss' "$T/ping" || fail "a packet was lost while the agent was away"

shown "two nodes registered with a DC; a name became a tunnel; ping over virtual IPv4 and IPv6; a TCP transfer with its
checksum and rate; ciphertext only on the wire; an agent killed and restarted without one lost packet"
