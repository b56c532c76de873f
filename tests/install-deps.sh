#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# install-deps.sh SET...: installs through apt what is missing for build, demo, test, check, vm, fuzz, valgrind, bench. Does nothing, and
# quickly, when all is there. --missing SET... only prints the packages that are not installed.
set -euo pipefail

build="gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libssl-dev libuv1-dev libmnl-dev
	libinih-dev libldns-dev libjson-c-dev libsqlite3-dev libpq-dev libcap-dev libsystemd-dev liblwip-dev libc6-dev"
# Faster AES-GCM; Debian has it for amd64 alone.
[ "$(uname -m)" != x86_64 ] || build="$build libipsec-mb-dev"
demo="iproute2 iputils-ping ethtool tcpdump jq netcat-openbsd procps util-linux python3 nftables curl"
test_="$demo libcriterion-dev iperf3 bind9 bind9-dnsutils sqlite3 libcap2-bin postgresql dbus-daemon"
check="git clang-format clang-tidy cppcheck shellcheck"
vm="$test_ qemu-system-x86 udev kmod file bsdutils busybox-static python3-requests python3-argcomplete python3-pkg-resources"
fuzz="libcriterion-dev libclang-rt-dev"
bench="$demo iperf3 wireguard-go wireguard-tools nebula coturn sqlite3 dnsperf bind9 knot postgresql"

only_print=
if [ "${1:-}" = --missing ]; then
	only_print=1
	shift
fi
want=
for set in "$@"; do
	case $set in
	build) want+=" $build" ;;
	demo) want+=" $demo" ;;
	test) want+=" $test_" ;;
	check) want+=" $check" ;;
	vm) want+=" $vm" ;;
	fuzz) want+=" $fuzz" ;;
	valgrind) want+=" valgrind libc6-dbg" ;;
	bench) want+=" $bench" ;;
	*) echo "install-deps.sh: no set $set" >&2; exit 2 ;;
	esac
done
# Another distribution: whoever builds there knows its package names.
command -v dpkg-query >/dev/null || exit 0

# shellcheck disable=SC2086
missing=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' $want 2>/dev/null |
	awk -v want="$want" '$2 == "installed" { have[$1] = 1 }
		END { n = split(want, w, /[ \t\n]+/)
		      for (i = 1; i <= n; i++) if (w[i] != "" && !have[w[i]]++) printf "%s ", w[i] }' || true)
missing=${missing% }
[ -n "$missing" ] || exit 0
if [ -n "$only_print" ]; then
	echo "$missing"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "Some packages are missing; as root: apt-get install --no-install-recommends $missing" >&2
	exit 1
fi
echo "installing: $missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
if ! { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } </dev/null >"$log" 2>&1; then
	cat "$log" >&2
	echo "install-deps.sh: apt-get failed" >&2
	exit 1
fi
