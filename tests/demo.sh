#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# A tunnel between two nodes, from nothing, in namespaces of this machine. `sudo make demo` runs it. Exit status 0: all
# that it says was seen to be true; 1: something was not, and what.
#
#     dc  192.0.2.1          alice  198.51.100.1         bob  203.0.113.1      real addresses
#       |                      |                           |
#       +------------------- router -----------------------+                   the wire
#                              ^ captured here
# and then
#
#     rs1, a Relay Server and gateway      web, which has no NTMobile
#       |                                    |
#       +----------- router -----------------+----------+--------------+
#                      |          |                     |              |
#                     NAT        NAT, both "hard"      erin           frank
#                      |          |                    IPv6 only      IPv4 only
#                    carol      dave
# shellcheck source=harness/lib.sh
. "$(dirname "$0")/harness/lib.sh"
# shellcheck source=harness/natlab.sh
. "$HARNESS/natlab.sh"

if [ "$(id -u)" != 0 ]; then
	echo "The demo makes network namespaces and loads BPF programs: run it as root (sudo make demo)." >&2
	exit 1
fi
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { # a command line, and what it prints
	printf '%s$ %s%s\n' "$dim" "$1" "$plain"
	shift
	"$@" 2>&1 | sed 's/^/  /'
}

skip() { fail "$*"; } # here, what cannot be shown is a failure
QUIET=1 e2e_begin demo
secret="attack at dawn, and bring the good coffee"

step "1. Three hosts on a routed network, each in its own namespace: a DC, alice and bob"
RELAYS=(rs1)
mk_net dc alice bob rs1 web
say "  dc     ${ADDR4[dc]}  ${ADDR6[dc]}"
say "  alice  ${ADDR4[alice]}  ${ADDR6[alice]}"
say "  bob    ${ADDR4[bob]}  ${ADDR6[bob]}"
capture net alice "$T/wire1.pcap" ""
say "  tcpdump records all that passes on alice's wire"

step "2. The Direction Coordinator starts; it gives out a token for each node"
start_dc
say "  ntm-dc runs for the zone $ZONE"

step "3. Two nodes start with their keys and tokens, and register"
start_node alice
start_node bob
show "ntm dc nodes" ntm dc dc nodes
[ "$(ntm dc dc nodes --json | jq '[.[] | select(.online)] | length')" = 2 ] || fail "two nodes are not online"
b4=$(vip4 bob) b6=$(vip6 bob)

step "4. alice pings bob by name; looking the name up makes the tunnel"
show "ping -4 bob.$ZONE" ping_name alice 4 bob
show "ping -6 bob.$ZONE" ping_name alice 6 bob
show "ntm paths" ntm alice paths

end_capture

step "5. TCP through the tunnel"
bytes=${NTM_DEMO_BYTES:-200000000}
for to in "$b4" "$b6"; do
	tcp_transfer alice bob "$to" "$bytes"
	say "  $bytes bytes to $to in $TCP_MS ms, $((bytes / 125 / (TCP_MS > 0 ? TCP_MS : 1))) Mbit/s, arrived with the SHA-256 they had:"
	say "  $TCP_SUM"
done

step "6. What is on the wire? tcpdump again"
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

step "7. alice's agent is killed in the middle of a ping every 10 ms, and started again"
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

step "8. A Relay Server starts, and four nodes in worse places: carol and dave, each behind a NAT that gives every
   connection another random port; erin, who has IPv6 only; frank, who has IPv4 only"
start_relay rs1 "gateway = yes"
nat_site hard carol
nat_site hard dave
nat_site v6 erin
nat_site none frank
prepare_node carol "[gateway]" "routes = 0.0.0.0/0, ::/0"
for host in dave erin frank; do prepare_node $host; done
for host in carol dave erin frank; do launch_node $host; done
for host in carol dave erin frank; do wait_for 15 "$host is registered" registered $host; done
say "  carol and dave are both 192.168.1.10, behind $(public_of carol) and $(public_of dave)"
say "  erin is ${ADDR6[erin]}, frank ${ADDR4[frank]}"

route() { json "$1" ".[] | select(.peer == \"$2.$ZONE\" and .state == \"up\") | .route" paths; }
goes() { [ "$(route "$1" "$2")" = "$3" ]; }
step "9. carol and dave: no packet gets from one NAT to the other, so the Relay Server passes them on, unopened"
show "carol\$ ping -4 dave.$ZONE" ping_name carol 4 dave
show "carol\$ ntm paths" ntm carol paths
goes carol dave relay || fail "carol and dave do not use the relay"
tcp_transfer carol dave "$(vip4 dave)" 20000000
say "  20000000 bytes by TCP through it, SHA-256 as it was, $((160000 / (TCP_MS > 0 ? TCP_MS : 1))) Mbit/s"

step "10. erin and frank: the outer packets are IPv6 on her side and IPv4 on his, the inner ones what they like"
show "erin\$ ping -4 frank.$ZONE" ping_name erin 4 frank
show "erin\$ ntm paths" ntm erin paths
goes erin frank relay || fail "erin and frank do not use the relay"

step "11. From the relay to the direct way: at first the router drops all between alice and frank"
in_ns net nft "table inet block { chain f { type filter hook forward priority 0; iifname { alice, frank } oifname { alice, frank } drop; }
}"
ping_name alice 4 frank 1 >/dev/null
goes alice frank relay || fail "alice and frank do not use the relay"
: >"$T/ping"
ip netns exec "$(nsn alice)" ping -i 0.01 -W 2 "$(vip4 frank)" >"$T/ping" 2>&1 &
ping=$!
JOBS+=("$ping")
wait_for 10 "the ping runs" some_pings
say "  route to frank: $(route alice frank); a ping every 10 ms runs; now the router stops dropping"
in_ns net nft delete table inet block
begin=$(date +%s%N)
wait_for 20 "alice and frank find the direct way" goes alice frank direct
say "  route to frank: $(route alice frank), $((($(date +%s%N) - begin) / 1000000)) ms later"
sleep 0.2 # some pings on the new way
kill -INT "$ping"
wait "$ping" || true
tail -n 2 "$T/ping" | sed 's/^/  /'
grep -q ' 0% packet loss' "$T/ping" || fail "a packet was lost on the way from relay to direct"

step "12. carol looks at a web server that has no NTMobile, through the Relay Server as her gateway: by IPv4, and by
   IPv6, which her network does not have. That way is encrypted between her and the gateway, and no further"
for addr in "${ADDR4[web]}" "${ADDR6[web]}"; do
	ip netns exec "$(nsn web)" python3 -u -m http.server --bind "$addr" --directory "$TOP/dist" 80 >>"$T/web.log" 2>&1 &
	JOBS+=($!)
done
web_listens() { [ "$(in_ns web ss -Hltn 'sport = :80' | wc -l)" = 2 ]; }
wait_for 5 "the web server listens" web_listens
has_gateway() { [ "$(json carol .gateway.peer status)" = "rs1.$ZONE" ]; }
wait_for 15 "carol has a gateway" has_gateway
for addr in "${ADDR4[web]}" "[${ADDR6[web]}]"; do
	show "carol\$ curl http://$addr/" in_ns carol curl -sS -o /dev/null -w '%{http_code}, %{size_download} bytes from %{remote_ip}, my address was %{local_ip}\n' "http://$addr/"
done
expect "the server saw the gateway, not carol: $(awk '/GET/ { printf "%s ", $1 }' "$T/web.log")" \
	sh -c "[ \"\$(awk '/GET/ { print \$1 }' $T/web.log | sort -u | tr '\n' ' ')\" = '${ADDR4[rs1]} ${ADDR6[rs1]} ' ]"

step "Shown: two nodes registered with a DC; a name became a tunnel; ping over virtual IPv4 and IPv6; a TCP transfer
with its checksum and rate; ciphertext only on the wire; an agent killed and restarted without one lost packet; two
nodes behind hard NATs, and an IPv6-only with an IPv4-only one, through a Relay Server; a path that found the direct
way without losing a packet; and the web through a gateway."
