/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071), summed in the byte order of memory: the result needs no conversion. */
#ifndef NTM_LIB_CSUM_H
#define NTM_LIB_CSUM_H

#define NTM_CSUM_BLOCK 64

static __always_inline __sum16 ntm_csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* words: how many 32-bit words, a constant. */
static __always_inline __u64 ntm_csum_add(__u64 sum, const void *p, int words)
{
	const __u32 *w = p;
	__u64 odd = 0;

#pragma unroll
	for (int i = 0; i < words; i += 2) {
		sum += w[i];
		if (i + 1 < words)
			odd += w[i + 1];
	}
	return sum + odd;
}

static __always_inline __sum16 ntm_csum_ipv4(const struct iphdr *ip)
{
	return ntm_csum_fold(ntm_csum_add(0, ip, sizeof(*ip) / 4));
}

/*
 * UDP over IPv6 (RFC 8200, section 8.1): pseudo-header, header and payload, the checksum field being 0. udp_off is from
 * the start of the packet, whose linear part holds all of the datagram and ends with it.
 */
static __noinline __attribute__((unused)) int ntm_csum_udp6(struct __sk_buff *skb, __u32 udp_off, __u32 udp_len)
{
	void *data = NTM_DATA(skb), *data_end = NTM_DATA_END(skb);
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	__u32 rest[NTM_CSUM_BLOCK / 4] = {};
	/* 1 to 64, never 0: Linux 6.1's verifier learns nothing from a comparison with 0. */
	__u32 tail = ((udp_len - 1) & (NTM_CSUM_BLOCK - 1)) + 1;
	__u64 sum;
	void *p = data + ETH_HLEN + sizeof(*ip6);

	if (p > data_end)
		return 0;
	sum = ntm_csum_add((__u64)bpf_htonl(udp_len) + bpf_htonl(IPPROTO_UDP), &ip6->saddr, 8);
	for (int i = 0; i < (NTM_INNER_MAX + 64) / NTM_CSUM_BLOCK + 1; i++) {
		if (p + NTM_CSUM_BLOCK >= data_end)
			break;
		sum = ntm_csum_add(sum, p, NTM_CSUM_BLOCK / 4);
		p += NTM_CSUM_BLOCK;
	}
	if (bpf_skb_load_bytes(skb, udp_off + udp_len - tail, rest, tail))
		return 0;
	sum = ntm_csum_add(sum, rest, NTM_CSUM_BLOCK / 4);
	return ntm_csum_fold(sum) ?: 0xffff;
}

#endif
