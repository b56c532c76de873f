#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Measures this tunnel against others, each between two namespaces of its own over the same kind of wire:
#
#   NAME-a eth0 ---- veth, tso off gso off gro on tx-udp-segmentation off ---- eth0 NAME-b
#
# raw: the wire itself; vxlan: the kernel's; wireguard-go and nebula: Debian's, in user space; ours: the kernel lane.
# Options go to measure.py; -h lists them. --napi-threads here: NAPI of every wire in kernel threads.
# shellcheck source=../harness/lib.sh
. "$(dirname "$0")/../harness/lib.sh"
if [ "$(id -u)" != 0 ]; then
	echo "The benchmark makes network namespaces: run it as root (sudo make bench)." >&2
	exit 1
fi
threads=
[ "${1:-}" = --napi-threads ] && threads=1 && shift
case ${1:-} in -h | --help) exec "$TOP/tests/bench/measure.py" -h ;; esac
skip() { fail "$*"; }
QUIET=1 e2e_begin bench
mkdir -p "$B/bench"

pair() { # NAME: NAME-a 10.9.0.1 and NAME-b 10.9.0.2
	mk_ns "$1-a" "$1-b"
	wire "$1-a" eth0 "$1-b" eth0
	local side n=1
	for side in a b; do
		in_ns "$1-$side" sh -c "ethtool -K eth0 tso off gso off gro on tx-udp-segmentation off >/dev/null 2>&1
			ip addr add 10.9.0.$n/24 dev eth0
			[ -z '$threads' ] || echo 1 >/sys/class/net/eth0/threaded"
		n=2
	done
}
job() { # NAMESPACE COMMAND...: in the background until the end
	local ns=$1
	shift
	ip netns exec "$(nsn "$ns")" "$@" >>"$T/jobs.log" 2>&1 </dev/null &
	JOBS+=($!)
}
reachable() { in_ns "$1" ping -c 1 -W 1 "$2"; }
contenders=()
contender() { # NAME ADDRESS-OF-B
	wait_for 15 "$1 works" reachable "$1-a" "$2"
	contenders+=("$1=$(nsn "$1-a")=$(nsn "$1-b")=$2")
}





# ours: the DC shares a's namespace, on another port; it has nothing to do while packets flow
pair ours
ADDR4[dc]=10.9.0.1
dc_endpoints() { echo 10.9.0.1:4690; }
start_daemon() { # daemons are named dc, a, b
	local name=$1 ns=ours-${1/dc/a}
	shift
	ip netns exec "$(nsn "$ns")" "$@" >>"${DIR[$name]}/log" 2>&1 </dev/null &
	PID[$name]=$!
}
ntm() {
	local host=$1
	shift
	ip netns exec "$(nsn "ours-${host/dc/a}")" timeout 20 "$B/ntm" -r "${DIR[$host]}/run" "$@"
}
start_dc
start_node a
start_node b
contender ours "$(vip4 b)"
NAMESPACES+=() DIR[ours-a]=${DIR[a]} DIR[ours-b]=${DIR[b]}

A=$(nsn ours-a) Bn=$(nsn ours-b) V=$(vip4 b)
eval "${TUNE:-:}"
for i in ${RUNS:-1 2 3}; do
ip netns exec $Bn iperf3 -s -1 -p 5201 >/dev/null & sleep 0.4
if [ -n "${PERF:-}" ]; then (sleep 2; perf record -e cpu-clock -a -g -o /tmp/lead/perf.data -- sleep 3 >/dev/null 2>&1) & fi
ip netns exec $A iperf3 -c $V -p 5201 -t ${SECS:-6} -O 1 ${EXTRA:-} | grep -E 'receiver|sender'
wait %1 2>/dev/null
done
[ -n "${PERF:-}" ] && wait
ip netns exec $A ping -q -i 0.002 -c 1000 $V | tail -1
