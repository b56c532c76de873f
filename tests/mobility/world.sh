# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# A network to walk through, with a round trip of 20 ms between any two parties; source it after lib.sh,
# begin with world_begin.
#
#   mobile                 air                                      net (routes)
#    wlan0 ---- delay --+   ... networks g1, g2 (global) ------------+
#    wwan0 ---- delay --+-> ... network a (private) ---- nat_a ------+---- delay --- dc, rs, cn, cn4, web
#                       |        +-- delay -- cna                    |
#                       |   ... network b (private) ---- nat_b ------+
#                       +-> ... network c (private) ---- nat_c ------+
#
# Each of mobile's interfaces is a port of one of the bridges ap_NETWORK in "air"; whoever moves it changes that. delay:
# netdelay, 5 ms each way; of wwan0 WWAN_DELAY_US. nat_a: endpoint-independent; nat_b, nat_c: endpoint-dependent, random ports.
# dc, rs (relay and gateway), cn and web have both families, cn4 only IPv4, cna a private address behind nat_a. web runs
# no NTMobile. What DHCP, router advertisements and ARP would have told all sides is there before an interface comes up.

# shellcheck source=../harness/natlab.sh
. "$HARNESS/natlab.sh"

MOBILITY=$TOP/tests/mobility
WIRE_DELAY_US=${WIRE_DELAY_US:-5000}
WWAN_DELAY_US=${WWAN_DELAY_US:-$WIRE_DELAY_US}
# 1: only the wires of hosts beyond "net" have a delay
WIRE_ONE_HOP=${WIRE_ONE_HOP:-}

# PLACE NETWORK INTERFACE IPV4 IPV6: an address (or two) that the mobile node can have; -: none
PLACES="g1    g1 wlan0 198.51.101.10 -
g2    g2 wlan0 198.51.102.10 -
g1v6  g1 wlan0 - 2001:db8:101::10
g2v6  g2 wlan0 - 2001:db8:102::10
g1x   g1 wlan0 198.51.101.11 2001:db8:101::11
g2v4  g2 wlan0 198.51.102.12 -
a1    a wlan0 192.168.1.10 -
a2    a wlan0 192.168.1.11 -
b     b wlan0 192.168.2.10 -
c     c wlan0 192.168.3.10 -
home  a wlan0 192.168.1.12 -
lte   g2 wwan0 198.51.102.20 -
ltec  c wwan0 192.168.3.20 -"
declare -A MAC=([wlan0]=02:00:00:00:00:01 [wwan0]=02:00:00:00:00:02 [cna]=02:00:00:00:00:03)
GATEWAY_MAC=02:00:00:00:00:fe # of the router of each network
CNA=192.168.1.50
DELAYS=()

bare() { # NS IF: frames leave as they will be on a wire, and arrive one by one
	in_ns "$1" sh -c "ethtool -K $2 tx off tso off gso off gro off >/dev/null 2>&1; sysctl -qw net.ipv6.conf.$2.disable_ipv6=${3:-0}"
}
# delayed NS IF NS IF NAME: a wire with the delay in it; NAME_h and NAME_n are its two ends in "air"
delayed() {
	if [ "$3$WIRE_ONE_HOP" = air1 ]; then
		wire "$1" "$2" air "$4"
		in_ns "$1" ethtool -K "$2" tx off tso off gso off >/dev/null 2>&1
		bare air "$4"
		return
	fi
	wire "$1" "$2" air "${5}_h"
	if [ "$3" = air ]; then
		ip link add "$4" netns "$(nsn air)" type veth peer name "${5}_n" netns "$(nsn air)"
		in_ns air sh -c "ip link set $4 up; ip link set ${5}_n up"
	else
		wire air "${5}_n" "$3" "$4"
	fi
	in_ns "$1" ethtool -K "$2" tx off tso off gso off >/dev/null 2>&1
	bare air "${5}_h" 1
	bare air "${5}_n" 1
	bare "$3" "$4"
	DELAYS+=("${5}_h" "${5}_n")
}

# far HOST INDEX FAMILIES: a host beyond a delay, 192.0.INDEX.1 and 2001:db8:INDEX::1
far() {
	local host=$1 i=$2
	mk_ns "$host"
	delayed "$host" eth0 net "$host" "$host"
	[ -z "$WIRE_ONE_HOP" ] || bare "$host" eth0
	if [[ $3 = *4* ]]; then
		ADDR4["$host"]=192.0.$i.1
		in_ns "$host" sh -c "ip addr add 192.0.$i.1/24 dev eth0; ip route add default via 192.0.$i.254"
		in_ns net ip addr add "192.0.$i.254/24" dev "$host"
	fi
	if [[ $3 = *6* ]]; then
		ADDR6["$host"]=2001:db8:$i::1
		in_ns "$host" sh -c "ip addr add 2001:db8:$i::1/64 dev eth0 nodad; ip route add default via 2001:db8:$i::fe"
		in_ns net ip addr add "2001:db8:$i::fe/64" dev "$host" nodad
	fi
}

# access NETWORK NS IF: the bridge of a network, and its router's interface there
access() {
	wire air "$1_r" "$2" "$3"
	bare air "$1_r" 1
	bare "$2" "$3"
	# frames pass no firewall; not there without the module
	in_ns air sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
	in_ns air sh -c "ip link add ap_$1 type bridge; sysctl -qw net.ipv6.conf.ap_$1.disable_ipv6=1; ip link set ap_$1 up
		ip link set $1_r master ap_$1"
	in_ns "$2" ip link set "$3" address "$GATEWAY_MAC"
}
global_net() { # NETWORK NUMBER
	access "$1" net "$1"
	in_ns net sh -c "ip addr add 198.51.$2.254/24 dev $1; ip addr add 2001:db8:$2::fe/64 dev $1 nodad"
}
private_net() { # NETWORK NUMBER NAT-RULE
	local router=nat_$1
	nat_router "$router" "$nat_stateful" "$3"
	access "$1" "$router" eth1
	in_ns "$router" ip addr add "192.168.$2.254/24" dev eth1
}
gateway4() { echo "${1%.*}.254"; }
gateway6() { echo "${1%::*}::fe"; }

# who would be asked by ARP and neighbour discovery knows already
introduce() {
	local place network iface v4 v6 router dev
	while read -r place network iface v4 v6; do
		case $network in
		g*) router=net dev=$network ;;
		*) router=nat_$network dev=eth1 ;;
		esac
		for addr in "$v4" "$v6"; do
			[ "$addr" = - ] || in_ns "$router" ip neigh replace "$addr" lladdr "${MAC[$iface]}" dev "$dev" nud permanent
		done
		[ "$network" != a ] || in_ns cna ip neigh replace "$v4" lladdr "${MAC[$iface]}" dev eth0 nud permanent
	done <<<"$PLACES"
}

delay() { # NAME MICROSECONDS INTERFACES...: what it says is in $T/NAME
	ip netns exec "$(nsn air)" "$B/tests/harness/netdelay" "${@:2}" >"$T/$1" 2>&1 &
	JOBS+=($!)
	wait_for 5 "the delays are there" grep -q ready "$T/$1"
}

# world_begin: all of the above; the mobile node is nowhere yet
world_begin() {
	command -v nft >/dev/null || skip "nft is not installed"
	mk_ns net air mobile cna
	in_ns net sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	far dc 11 "4 6"
	far rs 12 "4 6"
	far cn 13 "4 6"
	far web 14 "4 6"
	far cn4 15 4
	global_net g1 101
	global_net g2 102
	# each host of the LAN has a port of its own outside, see nat_lan
	private_net a 1 "chain out { type nat hook postrouting priority 100;
		oifname eth0 ip saddr 192.168.1.10 udp sport 4680 masquerade to :24680
		oifname eth0 ip saddr 192.168.1.11 udp sport 4680 masquerade to :24681
		oifname eth0 ip saddr 192.168.1.12 udp sport 4680 masquerade to :24682
		oifname eth0 ip saddr $CNA udp sport 4680 masquerade to :24683
		oifname eth0 masquerade; }"
	private_net b 2 "$nat_random"
	private_net c 3 "$nat_random"
	delayed cna eth0 air cna_b cna
	in_ns air ip link set cna_b master ap_a
	in_ns cna sh -c "ip link set eth0 address ${MAC[cna]}; ip addr add $CNA/24 dev eth0; ip route add default via 192.168.1.254"
	in_ns nat_a ip neigh replace $CNA lladdr "${MAC[cna]}" dev eth1 nud permanent
	local iface
	for iface in wlan0 wwan0; do
		delayed mobile $iface air ${iface}_b $iface
		in_ns mobile sh -c "ip link set $iface down; ip link set $iface address ${MAC[$iface]}"
	done
	introduce
	echo "$PLACES" >"$T/places"
	if [ "$WWAN_DELAY_US" != "$WIRE_DELAY_US" ]; then
		delay wwan "$WWAN_DELAY_US" "${DELAYS[@]: -2}"
		DELAYS=("${DELAYS[@]::${#DELAYS[@]}-2}")
	fi
	delay netdelay "$WIRE_DELAY_US" "${DELAYS[@]}"
	NETDELAY=${JOBS[-1]}
}

# arrive PLACE: the mobile node's first, from nothing
arrive() {
	local place network iface v4 v6
	read -r place network iface v4 v6 < <(awk -v p="$1" '$1 == p' "$T/places")
	in_ns air ip link set "${iface}_b" master "ap_$network"
	in_ns mobile ip link set "$iface" up
	[ "$v4" = - ] || in_ns mobile sh -c "ip addr add $v4/24 dev $iface; ip route replace default via $(gateway4 "$v4") metric 100"
	[ "$v6" = - ] || in_ns mobile sh -c "ip addr add $v6/64 dev $iface nodad; ip route replace default via $(gateway6 "$v6") metric 100"
}
