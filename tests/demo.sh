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
# and last dcb, the coordinator of lab.example, on the router, and grace, its node, behind a NAT as carol is.
# shellcheck source=harness/lib.sh
. "$(dirname "$0")/harness/lib.sh"
# shellcheck source=harness/natlab.sh
. "$HARNESS/natlab.sh"

if [ "$(id -u)" != 0 ]; then
	echo "The demo makes network namespaces and loads BPF programs: run it as root (sudo make demo)." >&2
	exit 1
fi
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
n_step=0 summary=()
step() { printf '\n%s%d. %s%s\n' "$bold" $((++n_step)) "$*" "$plain"; }
shown() { summary+=("$*"); } # what a part has shown, for the last lines
show() { # a command line, and what it prints
	printf '%s$ %s%s\n' "$dim" "$1" "$plain"
	shift
	"$@" 2>&1 | sed 's/^/  /'
}

skip() { fail "$*"; } # here, what cannot be shown is a failure
QUIET=1 e2e_begin demo

for part in "$TOP"/tests/demo/[0-9]*.sh; do
	# shellcheck source=/dev/null
	. "$part"
done

printf '\n%sShown:%s\n' "$bold" "$plain"
printf -- '- %s.\n' "${summary[@]}"
