#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Prints where a systemd-resolved is that runs here: the one that is installed, or Debian's, unpacked under build/. It is
# not to be installed for tests: its package takes over the host's /etc/resolv.conf. NTM_RESOLVED names another.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=build/resolved
for p in "${NTM_RESOLVED:-}" /lib/systemd/systemd-resolved $dir/{,usr/}lib/systemd/systemd-resolved; do
	[ -x "$p" ] && exec realpath "$p"
done
command -v apt-get >/dev/null || { echo "systemd-resolved is not installed"; exit 1; }
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
chmod 755 "$new" # apt downloads as another user
if ! (cd "$new" && apt-get -qq download systemd-resolved && dpkg-deb -x systemd-resolved_*.deb root) >"$new/log" 2>&1; then
	echo "systemd-resolved is neither installed nor to be fetched: $(tail -n 1 "$new/log")"
	exit 1
fi
for p in "$new"/root/{,usr/}lib/systemd/systemd-resolved; do [ -x "$p" ] && break; done
# It is of the same version as systemd's shared library, or does not start.
if ! libraries=$(ldd "$p" 2>&1) || [[ $libraries = *"not found"* ]]; then
	echo "systemd-resolved does not run here: $(grep -m 1 'not' <<<"$libraries")"
	exit 1
fi
mkdir -p build
rm -rf "$dir"
mv "$new/root" "$dir"
realpath "$dir${p#"$new/root"}"
