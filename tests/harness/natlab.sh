# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Sites behind NATs and firewalls for scenarios; source it after lib.sh, once mk_net made the network.
#
#   nat_site KIND NAME: a host NAME, with routers NAME_r (and NAME_c) before it where its KIND has them
#
#   none          net ------------------------------------ host     IPv4 only, nothing between
#   onetoone      net ---- NAME_r ------------------------ host     all of one address to all of another, both ways
#   independent   net ---- NAME_r ------------------------ host     one port outside, whoever is spoken to; lets in
#   hard          net ---- NAME_r ------------------------ host     another random port for each  | whom the host
#   firewall      net ---- NAME_r ------------------------ host     no translation                | spoke to
#   double        net ---- NAME_c ---- NAME_r ------------ host     independent, twice            | before
#   dual          net ------------------------------------ host     both families, nothing between
#   v6            net ------------------------------------ host     IPv6 only, nothing between
#   nat_lan NAME A B:   net ---- NAME_r ---+--- A                   independent, both with their own port
#                                          +--- B
#
# Every host behind a NAT has the address 192.168.1.10 (the second of a LAN .20): one site's address is also the other's.

LAN_NET=192.168.1

# public_of NAME: the IPv4 address by which the world knows the host, or the router before it
declare -A NAT_OUTSIDE=()
public_of() { echo "${ADDR4[${NAT_OUTSIDE[$1]:-$1}]}"; }

# nat_router NAME RULES...: a router at the network; RULES go into its table, eth0 is outside
nat_router() {
	local router=$1
	shift
	mk_ns "$router"
	FAMILIES=4 plug "$router"
	nat_rules "$router" "$@"
}
# A NAT box takes nothing itself, or a packet that comes too early would take the mapping of one that goes out.
nat_rules() { # NAME RULE...
	local router=$1
	shift
	in_ns "$router" sysctl -qw net.ipv4.ip_forward=1
	{
		echo "table ip nat_lab"
		echo "delete table ip nat_lab"
		echo "table ip nat_lab {"
		echo "chain input { type filter hook input priority 0; policy accept; iifname eth0 meta l4proto udp ct state new drop; }"
		printf '%s\n' "$@"
		echo "}"
	} | in_ns "$router" nft -f - || fail "nft in $router"
}

# behind HOST ROUTER DEVICE [ADDRESS]: a host on a router's inner side
behind() {
	local addr=${4:-$LAN_NET.10}
	mk_ns "$1"
	wire "$1" eth0 "$2" "$3"
	in_ns "$1" sh -c "ip addr add $addr/24 dev eth0; ip route add default via $LAN_NET.254"
	NAT_OUTSIDE[$1]=$2
}
inner_address() { in_ns "$1" ip addr add "$LAN_NET.254/24" dev "$2"; }

nat_stateful="chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; oifname eth0 accept; }"
nat_masquerade="chain out { type nat hook postrouting priority 100; oifname eth0 masquerade; }"
nat_random="chain out { type nat hook postrouting priority 100; oifname eth0 masquerade fully-random; }"

nat_site() {
	local kind=$1 name=$2 outside
	case $kind in
	none) mk_ns "$name" && FAMILIES=4 plug "$name" ;;
	dual) mk_ns "$name" && FAMILIES="4 6" plug "$name" ;;
	v6) mk_ns "$name" && FAMILIES=6 plug "$name" ;;
	onetoone)
		nat_router "${name}_r"
		outside=${ADDR4[${name}_r]}
		nat_rules "${name}_r" \
			"chain in { type nat hook prerouting priority -100; iifname eth0 dnat to $LAN_NET.10; }" \
			"chain out { type nat hook postrouting priority 100; oifname eth0 snat to $outside; }"
		behind "$name" "${name}_r" eth1
		inner_address "${name}_r" eth1
		;;
	independent | hard)
		nat_router "${name}_r" "$nat_stateful" "$([ "$kind" = hard ] && echo "$nat_random" || echo "$nat_masquerade")"
		behind "$name" "${name}_r" eth1
		inner_address "${name}_r" eth1
		;;
	firewall)
		nat_router "${name}_r" "$nat_stateful"
		nat_routed "$name" "${name}_r"
		;;
	double)
		nat_router "${name}_c" "$nat_stateful" "$nat_masquerade"
		mk_ns "${name}_r"
		wire "${name}_r" eth0 "${name}_c" eth1
		in_ns "${name}_c" ip addr add 100.64.0.254/24 dev eth1
		in_ns "${name}_r" sh -c "ip addr add 100.64.0.10/24 dev eth0; ip route add default via 100.64.0.254"
		nat_rules "${name}_r" "$nat_stateful" "$nat_masquerade"
		behind "$name" "${name}_r" eth1
		inner_address "${name}_r" eth1
		NAT_OUTSIDE[$name]=${name}_c
		;;
	*) fail "no kind of site is called $kind" ;;
	esac
}

# nat_routed HOST ROUTER: a host with a public address of its own behind the router
nat_routed() {
	local i net
	NET_HOSTS+=("$1")
	i=$(host_index "$1")
	net=192.0.$((i - 1))
	mk_ns "$1"
	wire "$1" eth0 "$2" eth1
	ADDR4[$1]=$net.1
	in_ns "$2" ip addr add "$net.254/24" dev eth1
	in_ns "$1" sh -c "ip addr add $net.1/24 dev eth0; ip route add default via $net.254"
	in_ns net ip route add "$net.0/24" via "${ADDR4[$2]}"
}

# Two hosts that share a NAT use the same port inside. Linux gives the second another one outside only while both speak
# to the same peer, which is no NAT that RFC 4787 knows; so each has its own port outside here.
nat_lan() {
	local name=$1 a=$2 b=$3
	nat_router "${name}_r" "$nat_stateful" "chain out { type nat hook postrouting priority 100;
		oifname eth0 ip saddr $LAN_NET.10 udp sport 4680 masquerade to :24680
		oifname eth0 ip saddr $LAN_NET.20 udp sport 4680 masquerade to :24681
		oifname eth0 masquerade; }"
	in_ns "${name}_r" sh -c "ip link add br0 type bridge; ip link set br0 up
		# what stays in the LAN is not the router's to filter
		[ ! -e /proc/sys/net/bridge ] || sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0"
	inner_address "${name}_r" br0
	behind "$a" "${name}_r" lan1
	behind "$b" "${name}_r" lan2 "$LAN_NET.20"
	in_ns "${name}_r" sh -c "ip link set lan1 master br0; ip link set lan2 master br0"
}
