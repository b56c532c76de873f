#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# vng.sh IMAGE SECONDS COMMAND: runs a shell command as root in a VM on that kernel, over this file system (writes go to
# an overlay), and exits with its status; 125: the VM did not come up.
set -euo pipefail
cd "$(dirname "$0")/../.."
V=$PWD/build/vm
image=$1 limit=$2 cmd=$3
mkdir -p "$V"

if command -v vng >/dev/null; then
	vng=(vng)
else
	if [ ! -x "$V/vng/usr/bin/vng" ]; then
		mirror=$(grep -rhoE 'https?://[^ ]+/debian/? ' /etc/apt/sources.list /etc/apt/sources.list.d/ 2>/dev/null | head -n 1 || true)
		[ -n "$mirror" ] || mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources | head -n 1)
		A=$V/apt
		mkdir -p "$A/lists/partial" "$A/cache/archives/partial"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$A/sources.list"
		opts=(-o "Dir::Etc::sourcelist=$A/sources.list" -o Dir::Etc::sourceparts=/dev/null
			-o "Dir::State::lists=$A/lists" -o "Dir::Cache=$A/cache")
		apt-get "${opts[@]}" update -qq >&2
		(cd "$A" && apt-get "${opts[@]}" download -q virtme-ng >&2)
		dpkg -x "$A"/virtme-ng_*.deb "$V/vng"
	fi
	export PYTHONPATH=$V/vng/usr/lib/python3/dist-packages PATH=$V/vng/usr/bin:$PATH
	vng=(/usr/bin/python3 "$V/vng/usr/bin/vng")
fi

# The command's status comes back by a file-less way: its last line of output.
out=$(mktemp "$V/out.XXXXXX")
trap 'rm -f "$out"' EXIT
script="cd $PWD; ( $cmd ); s=\$?; echo; echo vm-status \$s"
printf -v line '%q ' "${vng[@]}" -r "$image" --disable-kvm --force-9p --cpus 2 --memory 3G -- "$script"
# vng wants a terminal for its console
timeout --kill-after=10 "$limit" script -qec "$line" /dev/null </dev/null 2>&1 | tr -d '\r' | tee "$out" | grep -v '^vm-status ' || true
status=$(sed -n 's/^vm-status //p' "$out" | tail -n 1)
exit "${status:-125}"
