# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154,SC2034
# A part of tests/demo.sh, which sources it: a Relay Server, NATs, two families, the gateway.
step "A Relay Server starts, and four nodes in worse places: carol and dave, each behind a NAT that gives every
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
step "carol and dave: no packet gets from one NAT to the other, so the Relay Server passes them on, unopened"
show "carol\$ ping -4 dave.$ZONE" ping_name carol 4 dave
show "carol\$ ntm paths" ntm carol paths
goes carol dave relay || fail "carol and dave do not use the relay"
tcp_transfer carol dave "$(vip4 dave)" 20000000
say "  20000000 bytes by TCP through it, SHA-256 as it was, $((160000 / (TCP_MS > 0 ? TCP_MS : 1))) Mbit/s"

step "erin and frank: the outer packets are IPv6 on her side and IPv4 on his, the inner ones what they like"
show "erin\$ ping -4 frank.$ZONE" ping_name erin 4 frank
show "erin\$ ntm paths" ntm erin paths
goes erin frank relay || fail "erin and frank do not use the relay"

step "From the relay to the direct way: at first the router drops all between alice and frank"
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

step "carol looks at a web server that has no NTMobile, through the Relay Server as her gateway: by IPv4, and by
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

shown "two nodes behind hard NATs, and an IPv6-only with an IPv4-only one, through a Relay Server; a path that found the
direct way without losing a packet; the web through a gateway"
