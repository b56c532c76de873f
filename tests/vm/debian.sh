# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Debian's packages of other releases than this machine's, unpacked under build/vm, never installed. Source it from the
# top of the tree. The mirror is the one that this machine's apt has for Debian.

V=$PWD/build/vm
RELEASES=(bookworm bookworm-backports trixie trixie-backports sid)
LISTS_AGE_MIN=1440

debian_apt() { # apt-get|apt-cache ARGUMENT...
	local tool=$1
	shift
	"$tool" -o "Dir::Etc::sourcelist=$V/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o "Dir::State::lists=$V/apt/lists" -o "Dir::Cache=$V/apt/cache" -o Acquire::Languages=none \
		-o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o APT::Sandbox::User=root "$@"
}

# The lists, at most a day old. What a mirror does not have is left out; none at all is an error.
debian_lists() {
	local mirror release
	mkdir -p "$V/apt/lists/partial" "$V/apt/cache/archives/partial"
	# shellcheck disable=SC2016 # apt's
	mirror=$(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" { print $1; exit }')
	[ -n "$mirror" ] || { echo "apt has no Debian mirror configured" >&2; return 1; }
	for release in "${RELEASES[@]}"; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main"
	done >"$V/apt/sources.list.new"
	if cmp -s "$V/apt/sources.list.new" "$V/apt/sources.list" &&
		find "$V/apt/updated" -mmin -$LISTS_AGE_MIN 2>/dev/null | grep -q .; then
		return 0
	fi
	mv "$V/apt/sources.list.new" "$V/apt/sources.list"
	debian_apt apt-get update -qq >&2 || echo "some of Debian's lists could not be had" >&2
	[ -n "$(debian_apt apt-cache pkgnames linux-image-)" ] || { echo "Debian's package lists could not be had" >&2; return 1; }
	touch "$V/apt/updated"
}

# debian_unpack DIRECTORY PACKAGE...: whole or not at all. Kernels lie as they always did, whatever the release: image in
# boot, modules in lib/modules.
debian_unpack() {
	local dir=$1 tmp deb image
	shift
	tmp=$(mktemp -d "$V/new.XXXXXX")
	if ! (cd "$tmp" && debian_apt apt-get download -q "$@" >&2); then
		rm -rf "$tmp"
		return 1
	fi
	for deb in "$tmp"/*.deb; do
		dpkg -x "$deb" "$tmp/tree"
	done
	[ -e "$tmp/tree/lib" ] || [ ! -e "$tmp/tree/usr/lib/modules" ] || ln -s usr/lib "$tmp/tree/lib"
	for image in "$tmp"/tree/usr/lib/modules/*/vmlinuz; do
		[ -e "$image" ] || continue
		mkdir -p "$tmp/tree/boot"
		mv "$image" "$tmp/tree/boot/vmlinuz-$(basename "$(dirname "$image")")"
	done
	rm -rf "$dir"
	mv "$tmp/tree" "$dir"
	rm -rf "$tmp"
}
