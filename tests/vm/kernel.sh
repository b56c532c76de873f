#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Finds or fetches a kernel and prints the path of its image, modules beside it as Debian lays them out:
#   kernel.sh 6.1      Debian's newest of that line
#   kernel.sh newest   the newest that Debian serves, in any of its releases and backports
#   kernel.sh IMAGE    any vmlinuz
# Downloaded and unpacked once, under build/vm; never installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/vm/debian.sh

want=${1:?usage: kernel.sh 6.1|newest|IMAGE}
if [ -f "$want" ]; then
	realpath "$want"
	exit 0
fi
mkdir -p "$V"
exec 9>"$V/lock"
flock 9

packages() { # VERSION-REGEX: all such, oldest first
	debian_apt apt-cache pkgnames linux-image- | grep -E "^linux-image-$1[0-9a-z.+~-]*-amd64\$" |
		grep -vE -- '-(cloud|rt)-' | sort -V
}
image_in() { find "$V/$1/boot" -name 'vmlinuz-*' 2>/dev/null | head -n 1; }

case $want in
newest) version='[0-9]+\.[0-9]+[.+-]' ;;
*) version="${want//./\\.}[.+-]" ;;
esac
if [ "$want" = newest ] || [ -z "$(image_in "k$want")" ]; then
	if debian_lists; then
		package=$(packages "$version" | tail -n 1)
		[ -n "$package" ] || { echo "kernel.sh: Debian serves no kernel $want" >&2; exit 1; }
	elif [ "$want" = newest ] && [ -e "$V/newest" ]; then
		package=$(cat "$V/newest")
	else
		exit 1
	fi
	[ "$want" != newest ] || echo "$package" >"$V/newest"
	dir=k$want
	[ "$want" != newest ] || dir=k${package#linux-image-}
	if [ -z "$(image_in "$dir")" ]; then
		# The newer ones are in several packages.
		mapfile -t parts < <(debian_apt apt-cache show --no-all-versions "$package" | sed -n 's/^Depends: //p' | tr ',' '\n' |
			grep -oE '^ *linux-(base|binary|modules)-[0-9][^ ]*' | tr -d ' ')
		debian_unpack "$V/$dir" "$package" "${parts[@]}" || { echo "kernel.sh: cannot fetch $package" >&2; exit 1; }
	fi
else
	dir=k$want
fi
image=$(image_in "$dir")
[ -n "$image" ] || { echo "kernel.sh: no image in the package of $want" >&2; exit 1; }
echo "$image"
