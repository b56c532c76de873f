/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ECN through the tunnel, RFC 6040. Into it: normal mode, both bits are copied to the outer header (section 4.1), as is
 * the DSCP (RFC 2983, uniform at the ingress). Out of it: the table of section 4.2; the inner DSCP stays. The agent
 * uses this same code.
 */
#ifndef NTM_LIB_ECN_H
#define NTM_LIB_ECN_H

#ifndef NTM_LIKELY
#define NTM_LIKELY(x) (x)
#endif

enum ntm_ecn {
	NTM_ECN_NOT_ECT = 0,
	NTM_ECN_ECT1 = 1,
	NTM_ECN_ECT0 = 2,
	NTM_ECN_CE = 3,
	NTM_ECN_DROP = 4,
};

/* The inner ECN field after decapsulation (RFC 6040, figure 4), or NTM_ECN_DROP. */
static __always_inline __u32 ntm_ecn_decap(__u32 inner, __u32 outer)
{
	if (NTM_LIKELY(inner == outer || outer == NTM_ECN_NOT_ECT))
		return inner;
	if (inner == NTM_ECN_NOT_ECT)
		return outer == NTM_ECN_CE ? NTM_ECN_DROP : inner;
	if (outer == NTM_ECN_CE)
		return NTM_ECN_CE;
	if (inner == NTM_ECN_ECT0 && outer == NTM_ECN_ECT1)
		return NTM_ECN_ECT1;
	return inner;
}

static __always_inline void ntm_ecn_set_ipv4(struct iphdr *ip, __u32 ecn)
{
	__u16 tos = ip->tos, changed = (tos & ~3u) | ecn;
	/* RFC 1624, equation 3. TOS is the low byte of the header's first word. */
	__u32 sum = (__u16)~bpf_ntohs(ip->check) + (__u16)~tos + changed;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = bpf_htons(~sum);
	ip->tos = changed;
}

static __always_inline void ntm_ecn_set_ipv6(struct ipv6hdr *ip6, __u32 ecn)
{
	__u8 *b = (__u8 *)ip6 + 1;

	*b = (*b & 0xcf) | ecn << 4;
}

#endif
