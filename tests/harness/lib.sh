# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# For scenarios, demo and benchmark: a network of namespaces with a DC and nodes in it. Source it, then e2e_begin NAME.
#
# Everything made here has a name that no other scenario has, and is removed when the script ends, however it ends:
# daemons, namespaces, resolver files, mounts and the directory $T. Failures print the end of each daemon's log.
#
#   topology of mk_net (routed; both families):
#
#       dc 192.0.2.1             alice 198.51.100.1          bob 203.0.113.1          carol 192.0.3.1 ...
#          2001:db8:1::1               2001:db8:2::1             2001:db8:3::1             2001:db8:4::1
#        |eth0                    |eth0                     |eth0
#        |                        |                         |
#        +--dc--------- net (.254, ::fe) routes ----alice---+--bob

set -euo pipefail

HARNESS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HARNESS/../.." && pwd)
B=${NTM_BUILD:-build}
[[ $B = /* ]] || B=$TOP/$B
ZONE=ntm.example
VIP4_POOL=100.96.0.0/12
VIP6_POOL=fd4e:544d::/48

declare -A PID=() ADDR4=() ADDR6=() DIR=() WIRED=()
NAMESPACES=() JOBS=() NET_HOSTS=() RELAYS=()
AT_EXIT=() # commands, when the script ends, before all that is done here by itself
FAMILIES="4 6"
PREFIX=

say() { printf '%s\n' "$*"; }
fail() {
	REASON=$*
	say "FAILED: $REASON"
	exit 1
}
skip() {
	say "$*"
	exit 77
}

# A command that has to succeed; its output shows only if it does not.
expect() {
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then
		say "  ok: $what"
	else
		say "$out"
		fail "$what ($*)"
	fi
}
expect_not() {
	local what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		fail "$what ($*)"
	fi
	say "  ok: $what"
}
expect_eq() { # WHAT GOT WANTED
	[ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"
	say "  ok: $1"
}

# times MS...: how many, their median, the most
times() {
	printf '%s\n' "$@" | sort -n | awk '
		{ v[NR] = $1 }
		END { printf "%d times: median %d ms, at most %d ms\n", NR, (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[NR] }'
}

# wait_for SECONDS WHAT COMMAND...: looks often, returns at once when it holds. The limit is for a machine with nothing else
# to do, and is given three times: a test is not the place to measure.
wait_for() {
	local limit=$(($1 * 3 * ${NTM_TIME_SCALE:-1})) what=$2 end
	shift 2
	end=$(($(date +%s%N) + limit * 1000000000))
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s%N)" -lt "$end" ] || fail "not within $limit s: $what ($*)"
		sleep 0.03
	done
}

e2e_begin() {
	[ "$(id -u)" = 0 ] || skip "needs root for network namespaces and BPF"
	local p
	for p in ip jq ethtool tcpdump ping nc python3; do
		command -v "$p" >/dev/null || skip "$p is not installed"
	done
	[ -x "$B/ntm-node" ] || fail "$B/ntm-node is not built"
	PREFIX=nt$1-$$
	T=$(mktemp -d "${TMPDIR:-/tmp}/ntm-$1.XXXXXX")
	chmod 711 "$T"
	trap cleanup EXIT
	trap 'exit 143' TERM
	trap 'exit 130' INT
	[ -n "${QUIET:-}" ] || say "== $1"
}

# shellcheck disable=SC2317 # called by the trap
cleanup() {
	local status=$? name pid f
	trap - EXIT
	trap '' TERM INT
	set +e
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		for f in "$T"/*/log; do
			[ -s "$f" ] && say "--- $f" && tail -n "${NTM_LOG_LINES:-40}" "$f"
		done
		for name in "${!PID[@]}"; do
			[ -S "$T/$name/run/ctl.sock" ] || continue
			say "--- $name: paths, and packets by reason"
			timeout 5 "$B/ntm" -r "$T/$name/run" paths --json 2>/dev/null | jq -c '.[:20][]'
			timeout 5 "$B/ntm" -r "$T/$name/run" status --json 2>/dev/null | jq -c '.counters // {} | map_values(.packets? // .) | with_entries(select(.value != 0))'
		done
	fi
	for name in "${AT_EXIT[@]}"; do
		eval "$name"
	done
	# once more, as the last that is said: reports are cut at their beginning
	[ -z "${REASON:-}" ] || say "FAILED: $REASON"
	for name in "${!PID[@]}"; do # a relay would drain
		[ ! -e "$T/$name/relay.conf" ] || { kill -KILL "${PID[$name]}" && wait "${PID[$name]}"; } 2>/dev/null
	done
	for pid in "${JOBS[@]}" "${PID[@]}"; do
		kill -TERM "$pid" 2>/dev/null
	done
	for pid in "${JOBS[@]}" "${PID[@]}"; do
		gone "$pid" 3 || kill -KILL "$pid" 2>/dev/null
	done
	for name in "${NAMESPACES[@]}"; do
		ip netns pids "$PREFIX-$name" 2>/dev/null | xargs -r kill -KILL 2>/dev/null
	done
	for name in "${!DIR[@]}"; do
		[ -e "${DIR[$name]}/relay.conf" ] && in_ns "$name" "$B/ntm-relay" -c "${DIR[$name]}/relay.conf" --down >/dev/null 2>&1
		grep -qs '^datapath = user' "${DIR[$name]}/node.conf" && in_ns "$name" "$B/ntm-node" -c "${DIR[$name]}/node.conf" --down >/dev/null 2>&1
		[ -e "${DIR[$name]}/run/bpf" ] && in_ns "$name" "$B/ntm-node" -c "${DIR[$name]}/node.conf" --down >/dev/null 2>&1
		umount -l "${DIR[$name]}/run/bpf" "${DIR[$name]}/run/gateway/bpf" "${DIR[$name]}/run" 2>/dev/null
	done
	for name in "${NAMESPACES[@]}"; do
		ip netns del "$PREFIX-$name" 2>/dev/null
		rm -rf "/etc/netns/$PREFIX-$name"
	done
	rmdir /etc/netns 2>/dev/null
	if [ -n "${NTM_KEEP:-}" ]; then say "kept: $T"; else rm -rf "$T"; fi
	exit "$status"
}

gone() { # PID SECONDS
	local end
	end=$(($(date +%s%N) + $2 * 1000000000))
	while kill -0 "$1" 2>/dev/null; do
		# a zombie of ours is gone
		[ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ] && return 0
		[ "$(date +%s%N)" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# --- namespaces ---

nsn() { printf '%s-%s' "$PREFIX" "$1"; }
in_ns() {
	local ns=$1
	shift
	ip netns exec "$(nsn "$ns")" "$@"
}
mk_ns() {
	local name
	for name in "$@"; do
		ip netns add "$(nsn "$name")"
		NAMESPACES+=("$name")
		# before the first `exec`, which mounts it over /etc/resolv.conf
		mkdir -p "/etc/netns/$(nsn "$name")"
		printf 'nameserver 127.0.0.54\noptions timeout:3 attempts:1\n' >"/etc/netns/$(nsn "$name")/resolv.conf"
		in_ns "$name" sh -c 'ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
			net.ipv4.ping_group_range="0 2147483647" net.ipv6.conf.default.accept_ra=0 \
			net.ipv4.conf.all.promote_secondaries=1'
	done
}

# wire NS-A IF-A NS-B IF-B [MTU]: what XDP on veth needs is on (GRO only once it is up: redirects to the other end
# are refused otherwise)
wire() {
	ip link add "$2" netns "$(nsn "$1")" mtu "${5:-1500}" type veth peer name "$4" netns "$(nsn "$3")" mtu "${5:-1500}"
	in_ns "$1" sh -c "ip link set dev $2 up; ethtool -K $2 gro on tx-udp-segmentation off >/dev/null 2>&1"
	in_ns "$3" sh -c "ip link set dev $4 up; ethtool -K $4 gro on tx-udp-segmentation off >/dev/null 2>&1"
	WIRED[$1:$2]="$3 $4" WIRED[$3:$4]="$1 $2"
}

# as_nic NS IF: IF's wire is one as a NIC sees it: real checksums come from it, and it takes what XDP sends
as_nic() {
	local ns iface
	read -r ns iface <<<"${WIRED[$1:$2]}"
	in_ns "$ns" sh -c "ethtool -K $iface tx off >/dev/null 2>&1; ip link set dev $iface xdp obj $B/tests/bpf/pass.bpf.o sec xdp"
}

# mk_net HOST...: each host's eth0 to the router, with both families, or those of FAMILIES_<host>
mk_net() {
	mk_ns net "$@"
	in_ns net sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	local host
	for host in "$@"; do
		plug "$host"
	done
}

host_index() {
	local i
	for i in "${!NET_HOSTS[@]}"; do
		[ "${NET_HOSTS[$i]}" = "$1" ] && echo $((i + 1)) && return
	done
	return 1
}

plug() {
	local host=$1 i net4 families var=FAMILIES_$1
	NET_HOSTS+=("$host")
	i=$(host_index "$host")
	case $i in
	1) net4=192.0.2 ;;
	2) net4=198.51.100 ;;
	3) net4=203.0.113 ;;
	*) net4=192.0.$((i - 1)) ;;
	esac
	families=${!var:-$FAMILIES}
	wire "$host" eth0 net "$host"
	if [[ $families = *4* ]]; then
		ADDR4[$host]=$net4.1
		in_ns "$host" ip addr add "$net4.1/24" dev eth0
		in_ns net ip addr add "$net4.254/24" dev "$host"
		in_ns "$host" ip route add default via "$net4.254"
	fi
	if [[ $families = *6* ]]; then
		ADDR6[$host]=2001:db8:$i::1
		in_ns "$host" ip addr add "2001:db8:$i::1/64" dev eth0 nodad
		in_ns net ip addr add "2001:db8:$i::fe/64" dev "$host" nodad
		in_ns "$host" ip route add default via "2001:db8:$i::fe"
	fi
}

# --- daemons ---

# start_daemon NAME COMMAND...: in the namespace NAME; $T/NAME/log gets its output
start_daemon() {
	local name=$1
	shift
	ip netns exec "$(nsn "$name")" "$@" >>"${DIR[$name]}/log" 2>&1 </dev/null &
	PID[$name]=$!
}
alive() { kill -0 "${PID[$1]}" 2>/dev/null; }

# end NAME [SIGNAL]: sends it, waits, and leaves the exit status in ENDED
end() {
	local pid=${PID[$1]} sig=${2:-TERM}
	ENDED=0
	kill "-$sig" "$pid"
	wait "$pid" 2>/dev/null || ENDED=$?
	unset "PID[$1]"
}

mk_key() { # DIR/NAME: a private key, and its public one in .pub
	(umask 077 && "$B/ntm" genkey >"$1")
	"$B/ntm" pubkey <"$1" >"$1.pub"
}

endpoints() { # HOST
	local list=()
	[ -z "${ADDR4[$1]:-}" ] || list+=("${ADDR4[$1]}:4680")
	[ -z "${ADDR6[$1]:-}" ] || list+=("[${ADDR6[$1]}]:4680")
	local IFS=,
	echo "${list[*]}"
}
dc_endpoints() { endpoints dc; }

# start_dc [LINE...]: LINEs go into its [dc] section; the hosts in RELAYS, set before, are relays that it knows
start_dc() {
	local d=$T/dc relay
	DIR[dc]=$d
	mkdir -p "$d"
	[ -s "$d/dc.key" ] || mk_key "$d/dc.key"
	{
		echo "[dc]"
		echo "zone = $ZONE"
		echo "listen = $(dc_endpoints)"
		echo "private_key_file = dc.key"
		echo "vip4_pool = $VIP4_POOL"
		echo "vip6_pool = $VIP6_POOL"
		echo "store = sqlite:$d/dc.db"
		echo "runtime_dir = $d/run"
		printf '%s\n' "$@"
		for relay in "${RELAYS[@]}"; do
			relay_section "$relay"
		done
	} >"$d/dc.conf"
	run_dc
}
# DC_AS: a command that runs the one that follows it
DC_AS=()
run_dc() {
	start_daemon dc "${DC_AS[@]}" "$B/ntm-dc" -c "$T/dc/dc.conf"
	wait_for 10 "the DC answers" dc_ready
}
dc_ready() {
	alive dc || fail "ntm-dc ended"
	ntm dc dc nodes
}

# ntm HOST COMMAND...: the command line tool on that host
ntm() {
	local host=$1
	shift
	in_ns "$host" timeout 20 "$B/ntm" -r "${DIR[$host]}/run" "$@"
}
# json HOST FILTER COMMAND...: jq -r FILTER on the output of ntm COMMAND --json
json() {
	local host=$1 filter=$2
	shift 2
	ntm "$host" "$@" --json | jq -r "$filter"
}
counter() { json "$1" ".counters.$2.packets" status; }

token() { # [OPTION...] of `dc token create`
	ntm dc dc token create "$@" | tail -n 1
}

# prepare_node NAME [LINE...]: key, token, configuration; LINEs go into its [node] section. DATAPATH_<node>, or
# NTM_DATAPATH for all, makes it one without BPF; its runtime directory is in memory then, as /run is.
prepare_node() {
	local name=$1 d=$T/$1 var=DATAPATH_$1
	local datapath=${!var:-${NTM_DATAPATH:-bpf}}
	shift
	DIR[$name]=$d
	mkdir -p "$d"
	if [ "$datapath" = user ] && [ ! -e "$d/run" ]; then
		mkdir "$d/run"
		mount -t tmpfs -o mode=755 run "$d/run"
	fi
	if [ ! -s "$d/node.key" ]; then
		mk_key "$d/node.key"
		token --name "$name" >"$d/token"
	fi
	{
		echo "[node]"
		echo "name = $name"
		echo "private_key_file = node.key"
		echo "runtime_dir = $d/run"
		[ "$datapath" = bpf ] || echo "datapath = $datapath"
		[ -z "${NTM_XDP_MODE:-}" ] || [[ $* = *xdp_mode* ]] || echo "xdp_mode = $NTM_XDP_MODE"
		printf '%s\n' "$@"
		echo "[dc]"
		echo "endpoint = $(dc_endpoints)"
		echo "public_key = $(cat "$T/dc/dc.key.pub")"
		echo "token = $(cat "$d/token")"
		echo "[dns]"
		# not auto: the hook would be on the host's cgroup
		[[ ${NODE_DNS:-} = *mode* ]] || echo "mode = stub"
		[ -z "${NODE_DNS:-}" ] || printf '%s\n' "$NODE_DNS"
	} >"$d/node.conf"
}
start_node() {
	prepare_node "$@"
	run_node "$1"
}
launch_node() { start_daemon "$1" "$B/ntm-node" -c "$T/$1/node.conf"; }
run_node() {
	launch_node "$1"
	wait_for 10 "$1 is registered" registered "$1"
}
registered() {
	alive "$1" || fail "ntm-node of $1 ended"
	[ "$(json "$1" .dc.connected status)" = true ] && [ "$(json "$1" .vip6 status)" != null ]
}
dc_knows() { [ "$(ntm dc dc nodes --json | jq -r ".[] | select(.name == \"$1.$ZONE\") | .online")" = true ]; }
vip4() { json "$1" .vip4 status; }
vip6() { json "$1" .vip6 status; }
path() { json "$1" ".[] | select(.peer == \"$2.$ZONE\") | $3" paths; } # HOST PEER FIELD
logged() { grep -qE -- "$2" "${DIR[$1]}/log"; }                     # HOST REGEX

# --- relays: ntm-relay on a host of mk_net, by its name in RELAYS ---

relay_key() { # NAME
	mkdir -p "$T/$1"
	[ -s "$T/$1/relay.key" ] || mk_key "$T/$1/relay.key"
}
relay_section() { # NAME: of dc.conf
	relay_key "$1"
	printf '[relay %s]\npublic_key = %s\nendpoint = %s\n' "$1" "$(cat "$T/$1/relay.key.pub")" "$(endpoints "$1")"
}
# prepare_relay NAME [LINE...]: configuration; LINEs go into its [relay] section
prepare_relay() {
	local name=$1 d=$T/$1
	shift
	DIR[$name]=$d
	relay_key "$name"
	local mode=auto # generic on a veth
	if [ -n "${WIRED[$name:eth0]:-}" ] && [ -e "$B/tests/bpf/pass.bpf.o" ]; then
		as_nic "$name" eth0
		mode=native
	fi
	{
		echo "[relay]"
		echo "name = $name"
		echo "private_key_file = relay.key"
		[[ $* = *interfaces* ]] || echo "interfaces = auto"
		[[ $* = *xdp_mode* ]] || echo "xdp_mode = $mode"
		echo "runtime_dir = $d/run"
		printf '%s\n' "$@"
		echo "[dc]"
		echo "endpoint = $(dc_endpoints)"
		echo "public_key = $(cat "$T/dc/dc.key.pub")"
	} >"$d/relay.conf"
}
start_relay() {
	prepare_relay "$@"
	run_relay "$1"
}
launch_relay() { start_daemon "$1" "$B/ntm-relay" -c "$T/$1/relay.conf"; }
run_relay() {
	launch_relay "$1"
	wait_for 10 "$1 is registered" relay_registered "$1"
}
relay_registered() {
	alive "$1" || fail "ntm-relay of $1 ended"
	[ "$(json "$1" .dc.connected status)" = true ]
}

# --- traffic ---

ping_name() { in_ns "$1" ping "-$2" -c "${4:-3}" -i 0.2 -W 3 "$3.$ZONE"; } # FROM FAMILY TO [COUNT]

# capture NS IFACE FILE FILTER: tcpdump as a job, ready when this returns
capture() {
	# not in_ns: this process itself is to become tcpdump
	ip netns exec "$(nsn "$1")" tcpdump --immediate-mode -B 32768 -i "$2" -U -s 0 -w "$3" "$4" 2>"$3.err" &
	JOBS+=($!)
	CAPTURE=$! CAPTURE_FILE=$3
	wait_for 5 "tcpdump listens" grep -q 'listening on' "$3.err"
}
end_capture() {
	local before=-1
	while [ "$before" != "$(stat -c %s "$CAPTURE_FILE")" ]; do # it may lag behind
		before=$(stat -c %s "$CAPTURE_FILE")
		sleep 0.2
	done
	kill -TERM "$CAPTURE" # a background job of a script ignores SIGINT
	wait "$CAPTURE" 2>/dev/null || true
}

# tcp_transfer FROM TO ADDRESS BYTES [PORT]: sends random bytes, compares checksums, prints seconds
tcp_transfer() {
	local from=$1 to=$2 addr=$3 bytes=$4 port=${5:-5001} begin end a b
	[ -e "$T/data.$bytes" ] || head -c "$bytes" /dev/urandom >"$T/data.$bytes"
	# shellcheck disable=SC2016 # the inner shell's
	in_ns "$to" timeout 60 "$HARNESS/tcp.py" serve "$addr" "$port" >"$T/sum" 2>"$T/sum.err" &
	JOBS+=($!)
	local server=$!
	wait_for 15 "the server listens" listening "$to" "$port"
	begin=$(date +%s%N)
	in_ns "$from" timeout 60 "$HARNESS/tcp.py" send "$addr" "$port" <"$T/data.$bytes" || fail "TCP $from to $to at $addr"
	gone "$server" 30 || fail "TCP server does not end"
	end=$(date +%s%N)
	a=$(sha256sum <"$T/data.$bytes" | cut -d' ' -f1)
	b=$(cat "$T/sum")
	[ "$a" = "$b" ] || fail "TCP $from to $to at $addr: checksum $b, sent $a ($(cat "$T/sum.err"))"
	TCP_SUM=$b
	TCP_MS=$(((end - begin) / 1000000))
}
listening() { in_ns "$1" ss -Hltn "sport = :$2" | grep -q .; }

# ntm_run_user NAME: an unprivileged user (nobody) of that host has an identity, programs and configuration in $T/run-NAME
ntm_run_user() {
	local d=$T/$1
	DIR[$1]=$d
	mkdir -p "$d" "$T/bin"
	mk_key "$d/node.key"
	# nobody may not be let into the directory of this tree
	cp "$B/ntm-run" "$B/libntm-run.so" "$HARNESS/tcp.py" "$HARNESS/udp.py" "$T/bin/"
	chmod 755 "$T/bin" "$T/bin"/*
	{
		echo "[node]"
		echo "name = $1"
		echo "private_key_file = node.key"
		echo "[dc]"
		echo "endpoint = $(dc_endpoints)"
		echo "public_key = $(cat "$T/dc/dc.key.pub")"
		echo "token = $(token --name "$1")"
	} >"$d/node.conf"
	chown -R nobody "$d"
}
# ntm_run NAME PROGRAM...: as that user, with no capability
ntm_run() {
	local name=$1
	shift
	ip netns exec "$(nsn "$name")" setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps=-all --bounding-set=-all \
		env -i PATH="$PATH" HOME="$T/$name" XDG_RUNTIME_DIR="$T/$name" "$T/bin/ntm-run" -c "$T/$name/node.conf" "$@"
}
