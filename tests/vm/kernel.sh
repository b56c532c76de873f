#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Finds or fetches what a VM needs and prints the path of a kernel image:
#   kernel.sh 6.1      Debian 12's newest 6.1 kernel, downloaded by apt and unpacked under build/vm/, never installed
#   kernel.sh IMAGE    any vmlinuz whose modules stand beside it as Debian lays them out
# virtme-ng comes from the system, or, where its release does not package it, from Debian 13's package (Python only).
set -euo pipefail
cd "$(dirname "$0")/../.."
V=$PWD/build/vm
mkdir -p "$V"

want=${1:?usage: kernel.sh 6.1|IMAGE}
if [ -f "$want" ]; then
	realpath "$want"
	exit 0
fi

image=$(find "$V/k$want/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1 || true)
if [ -z "$image" ]; then
	pkg=$(apt-cache search "^linux-image-${want//./\\.}\\.[0-9a-z.+-]*-amd64\$" | awk '{print $1}' |
		grep -vE "cloud|-rt-|dbg|unsigned" | sort -V | tail -n 1)
	[ -n "$pkg" ] || { echo "kernel.sh: no kernel package for $want in the configured Debian release" >&2; exit 1; }
	tmp=$(mktemp -d "$V/dl.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	(cd "$tmp" && apt-get download -q "$pkg" >&2)
	rm -rf "$V/k$want"
	dpkg -x "$tmp"/*.deb "$V/k$want"
	image=$(find "$V/k$want/boot" -name 'vmlinuz-*' | head -n 1)
fi
echo "$image"
