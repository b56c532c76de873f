/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The inner packet's header, on its way in and out. Of it only what the tunnel needs is checked; the receiving kernel
 * does the rest, the IPv4 header checksum among it. */
#ifndef NTM_LIB_INNER_H
#define NTM_LIB_INNER_H

struct ntm_inner {
	__u32 len; /* by its own header, bytes; at most what is there */
	__u8 is_ipv6;
	__u8 tos;
};

enum ntm_inner_result {
	NTM_INNER_OK,
	NTM_INNER_BAD,
	NTM_INNER_NOT_IP,
};

/* p: first byte of the inner header, avail: bytes from there to the end of the packet. */
static __always_inline enum ntm_inner_result ntm_inner_parse(void *p, void *end, __u32 avail, struct ntm_inner *in)
{
	struct iphdr *ip = p;
	struct ipv6hdr *ip6 = p;

	if ((void *)(ip + 1) > end || avail < sizeof(*ip))
		return NTM_INNER_BAD;
	if (ip->version == 4) {
		in->is_ipv6 = 0;
		in->len = bpf_ntohs(ip->tot_len);
		in->tos = ip->tos;
		if (ip->ihl < 5 || in->len < (__u32)ip->ihl * 4)
			return NTM_INNER_BAD;
	} else if (ip->version == 6) {
		if ((void *)(ip6 + 1) > end || avail < sizeof(*ip6))
			return NTM_INNER_BAD;
		in->is_ipv6 = 1;
		in->len = sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		in->tos = bpf_ntohs(*(__be16 *)ip6) >> 4;
	} else {
		return NTM_INNER_NOT_IP;
	}
	return in->len > avail ? NTM_INNER_BAD : NTM_INNER_OK;
}

static __always_inline int ntm_is_multicast4(__be32 addr)
{
	return (addr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || addr == bpf_htonl(0xffffffff);
}

static __always_inline int ntm_is_multicast6(const struct in6_addr *addr)
{
	return addr->in6_u.u6_addr8[0] == 0xff;
}

#endif
