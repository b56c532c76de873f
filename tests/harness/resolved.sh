#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Prints where a systemd-resolved is that runs here: the one that is installed, or Debian's, unpacked under build/. It is
# not to be installed for tests: its package takes over the host's /etc/resolv.conf.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=build/resolved
for p in "${NTM_RESOLVED:-}" /lib/systemd/systemd-resolved "$dir/lib/systemd/systemd-resolved" "$dir/usr/lib/systemd/systemd-resolved"; do
	[ -x "$p" ] && exec realpath "$p"
done
command -v apt-get >/dev/null || { echo "systemd-resolved is not installed" >&2; exit 1; }
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
chmod 755 "$new" # apt downloads as another user
if ! (cd "$new" && apt-get -qq download systemd-resolved && dpkg-deb -x systemd-resolved_*.deb root) >"$new/log" 2>&1; then
	echo "systemd-resolved is neither installed nor to be fetched: $(tail -n 1 "$new/log")" >&2
	exit 1
fi
p=$(find "$new/root" -path '*lib/systemd/systemd-resolved' -type f)
# It is of the same version as systemd's shared library, or does not start.
if missing=$(ldd "$p" | grep 'not found'); then
	echo "systemd-resolved lacks $missing" >&2
	exit 1
fi
mkdir -p build
rm -rf "$dir"
mv "$new/root" "$dir"
exec "$0"
