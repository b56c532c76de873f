#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Regenerates vmlinux.h of one architecture from a kernel's type information.
#
#   vmlinux/gen.sh x86|arm64 FILE LABEL
#
# FILE: /sys/kernel/btf/vmlinux, a vmlinux with a .BTF section, raw BTF, or an uncompressed kernel image.
# LABEL: where FILE is from; goes into VERSION.
#
# A full dump has 130,000 lines. Kept are the types below and what they hold by value; types that are only pointed to
# become forward declarations. All of them are uapi, so nothing needs relocation when a program is loaded.
set -eu

roots="
__s8 __u8 __s16 __u16 __s32 __u32 __s64 __u64 u8 u16 u32 u64 bool
__be16 __be32 __be64 __le16 __le32 __le64 __sum16 __wsum size_t
__sk_buff xdp_md xdp_action bpf_sock_addr bpf_sock bpf_fib_lookup bpf_redir_neigh bpf_sock_tuple bpf_map_type
bpf_adj_room_mode BPF_F_ADJ_ROOM_FIXED_GSO BPF_ANY BPF_F_NO_PREALLOC BPF_RB_NO_WAKEUP BPF_F_RECOMPUTE_CSUM
BPF_F_INGRESS BPF_CSUM_LEVEL_QUERY BPF_FIB_LOOKUP_DIRECT BPF_FIB_LKUP_RET_SUCCESS
BPF_F_PSEUDO_HDR IPPROTO_IP
ethhdr vlan_hdr iphdr ipv6hdr ipv6_opt_hdr frag_hdr udphdr tcphdr icmphdr icmp6hdr
"

[ $# -eq 3 ] || {
	echo "usage: gen.sh x86|arm64 FILE LABEL" >&2
	exit 2
}
arch=$1 file=$2 label=$3
dir=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# A kernel image carries its BTF as it is: magic eb9f, version 1, flags 0, header length 24 (little endian).
if ! bpftool btf dump file "$file" format c >"$tmp/full.h" 2>/dev/null; then
	at=$(LC_ALL=C grep -abo -P '\x9f\xeb\x01\x00\x18\x00\x00\x00' "$file" | head -n 1 | cut -d: -f1)
	[ -n "$at" ] || {
		echo "gen.sh: no type information in $file" >&2
		exit 1
	}
	tail -c +$((at + 1)) "$file" >"$tmp/btf"
	bpftool btf dump file "$tmp/btf" format c >"$tmp/full.h"
fi

{
	printf '/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n'
	printf '/* Made by gen.sh from %s. Do not edit. */\n' "$label"
	printf '#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\n'
	# One paragraph a definition. Pass 1 learns who defines what, pass 2 prints the closure of the roots in the
	# order of the dump, which is the order that C needs.
	awk -v roots="$roots" -v RS= '
	function define(name) { if (!(name in at)) at[name] = NR }
	function find(name) {
		if (("typedef " name) in at) return "typedef " name
		if (("struct " name) in at) return "struct " name
		if (("enum " name) in at) return "enum " name
		return "constant " name
	}
	function need(name,    para, n, i, line, w) {
		if (!(name in at)) return
		para = at[name]
		if (para in keep) return
		keep[para] = 1
		n = split(text[para], line, /\n/)
		for (i = 1; i <= n; i++) {
			sub(/^\t*(typedef )?((const|volatile) )*/, "", line[i])
			split(line[i], w, /[ ;]/)
			if (w[1] ~ /^(struct|union|enum)$/) {
				if (w[3] !~ /^\*/) need(w[1] " " w[2])
			} else if (w[2] != "=")
				need("typedef " w[1])
		}
	}
	/^#/ { next }
	{
		text[NR] = $0
		head = $0
		sub(/\n.*/, "", head)
		if (head ~ /^(struct|union|enum) [A-Za-z0-9_]+ \{/) {
			split(head, w, " ")
			define(w[1] " " w[2])
		}
		if (head ~ /^enum/) {
			n = split($0, line, /\n/)
			for (i = 2; i < n; i++) {
				split(line[i], w, /[ \t]+/)
				define("constant " w[2])
			}
		}
		if (head ~ /^typedef/) {
			last = $0
			sub(/.*\n/, "", last)
			if (match(last, /[A-Za-z0-9_]+(\[[0-9]+\])*;$/)) {
				name = substr(last, RSTART, RLENGTH)
				sub(/(\[.*)?;$/, "", name)
				define("typedef " name)
			}
		}
	}
	END {
		n = split(roots, root, /[ \n]+/)
		for (i = 1; i <= n; i++) {
			if (root[i] == "") continue
			if (!(find(root[i]) in at))
				print "gen.sh: not in this kernel: " root[i] >"/dev/stderr"
			need(find(root[i]))
		}
		for (i = 1; i <= NR; i++) if (i in keep) print "\n" text[i]
	}' "$tmp/full.h"
	printf '\n#endif\n'
} >"$tmp/vmlinux.h"

mkdir -p "$dir/$arch"
mv "$tmp/vmlinux.h" "$dir/$arch/vmlinux.h"
touch "$dir/VERSION"
{
	grep -v "^$arch " "$dir/VERSION" || true
	echo "$arch $label"
} | sort >"$tmp/VERSION"
mv "$tmp/VERSION" "$dir/VERSION"
