# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154,SC2034
# A part of tests/demo.sh, which sources it: two zones, each with a DC of its own.
step "Somebody else's zone, lab.example, with a coordinator of its own and grace, a node behind a hard NAT. The two
   coordinators know each other's public keys, and nothing else of each other"
LAB=lab.example
mk_ns dcb
plug dcb
nat_site hard grace
mkdir -p "$T/dcb" "$T/grace"
mk_key "$T/dcb/dc.key"
mk_key "$T/grace/node.key"
DIR[dcb]=$T/dcb DIR[grace]=$T/grace
cat >"$T/dcb/dc.conf" <<CONF
[dc]
zone = $LAB
listen = $(endpoints dcb)
private_key_file = dc.key
vip4_pool = 100.112.0.0/12
vip6_pool = fd4e:544e::/48
store = sqlite:$T/dcb/dc.db
runtime_dir = $T/dcb/run
[peer $ZONE]
public_key = $(cat "$T/dc/dc.key.pub")
endpoint = $(dc_endpoints)
CONF
printf '[peer %s]\npublic_key = %s\nendpoint = %s\n' "$LAB" "$(cat "$T/dcb/dc.key.pub")" "$(endpoints dcb)" >>"$T/dc/dc.conf"
lab_ready() { alive dcb && ntm dcb dc nodes; }
start_daemon dcb "$B/ntm-dc" -c "$T/dcb/dc.conf"
wait_for 10 "the second DC answers" lab_ready
kill -HUP "${PID[dc]}"
wait_for 10 "the DCs know each other" logged dc "peer $LAB is there"
cat >"$T/grace/node.conf" <<CONF
[node]
name = grace
private_key_file = node.key
runtime_dir = $T/grace/run
[dc]
endpoint = $(endpoints dcb)
public_key = $(cat "$T/dcb/dc.key.pub")
token = $(ntm dcb dc token create --name grace | tail -n 1)
[dns]
mode = stub
CONF
run_node grace
show "dc\$ ntm dc events -n 3" ntm dc dc events -n 3
show "grace\$ ntm status" sh -c "ip netns exec $(nsn grace) $B/ntm -r $T/grace/run status | head -4"

step "carol of $ZONE and grace of $LAB: each coordinator asks the other; the relay is $ZONE's, as grace's zone has none"
carol_knows() { in_ns carol ip route show "100.112.0.0/12" dev ntm0 | grep -q .; }
wait_for 40 "carol's coordinator tells her of the zone, with its next answer to a Keep Alive" carol_knows
show "carol\$ ping -4 grace.$LAB" in_ns carol ping -4 -c 3 -i 0.2 -W 3 grace.$LAB
show "grace\$ ping -6 carol.$ZONE" in_ns grace ping -6 -c 3 -i 0.2 -W 3 "carol.$ZONE"
show "grace\$ ntm paths" ntm grace paths
lab_route() { json grace ".[] | select(.peer == \"carol.$ZONE\" and .state == \"up\") | .route" paths; }
[ "$(lab_route)" = relay ] || fail "carol and grace do not use the relay"
tcp_transfer carol grace "$(vip4 grace)" 20000000
say "  20000000 bytes by TCP, SHA-256 as it was, $((160000 / (TCP_MS > 0 ? TCP_MS : 1))) Mbit/s"
shown "two zones, each with a coordinator of its own, whose nodes reach each other by name"
