#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# vng.sh IMAGE SECONDS COMMAND: runs a shell command as root in a VM on that kernel, over this file system (writes go to
# an overlay), and exits with its status; 125: the VM did not come up, 124: the time was up. NTM_VM_KVM=1: with KVM, else
# emulated. virtme-ng comes from the system, or, where its release does not package it, from a later one (Python only).
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/vm/debian.sh
image=$1 limit=$2 cmd=$3
mkdir -p "$V"

if command -v vng >/dev/null; then
	vng=(vng)
else
	(
		flock 9
		if [ ! -x "$V/vng/usr/bin/vng" ]; then
			debian_lists
			debian_unpack "$V/vng" virtme-ng/trixie
		fi
	) 9>"$V/lock"
	export PYTHONPATH=$V/vng/usr/lib/python3/dist-packages PATH=$V/vng/usr/bin:$PATH
	vng=(/usr/bin/python3 "$V/vng/usr/bin/vng")
fi
kvm=(--disable-kvm)
[ -z "${NTM_VM_KVM:-}" ] || kvm=()

# The command's status comes back by a file-less way: its last line of output.
out=$(mktemp "$V/out.XXXXXX")
trap 'rm -f "$out"' EXIT
script="cd $PWD; echo vm-up; ( $cmd ); s=\$?; echo; echo vm-status \$s"
printf -v line '%q ' "${vng[@]}" -r "$image" "${kvm[@]}" --force-9p --cpus 2 --memory 3G ${NTM_VM_VERBOSE:+-v} -- "$script"
# vng wants a terminal for its console
timeout --kill-after=10 "$limit" script -qec "$line" /dev/null </dev/null 2>&1 | stdbuf -oL tr -d '\r' | tee "$out" |
	grep --line-buffered -vE '^vm-(status|up)' || true
status=$(sed -n 's/^vm-status //p' "$out" | tail -n 1)
if [ -z "$status" ]; then
	status=125
	! grep -q '^vm-up' "$out" || status=124
fi
exit "$status"
