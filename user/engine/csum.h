/* SPDX-License-Identifier: BSD-2-Clause */
/* The internet checksum (RFC 1071) over packets in memory. Sums are kept unfolded, in host order of the words as they
 * lie there; a folded one is stored as it is. */
#ifndef NTM_ENGINE_CSUM_H
#define NTM_ENGINE_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* csum.c: adds len bytes at p, a multiple of 64, by the widest vectors that this CPU has. */
uint64_t ntm_sum_blocks(const uint8_t *p, size_t len, uint64_t sum);

/* Adds len bytes at p; only the last part of what is summed may have an odd length. */
static inline uint64_t ntm_sum(const uint8_t *p, size_t len, uint64_t sum)
{
	if (len >= 64) {
		size_t blocks = len & ~(size_t)63;
		sum = ntm_sum_blocks(p, blocks, sum);
		p += blocks;
		len -= blocks;
	}
	for (uint32_t w; len >= 4; p += 4, len -= 4) {
		memcpy(&w, p, 4);
		sum += w;
	}
	if (len >= 2) {
		uint16_t h;
		memcpy(&h, p, 2);
		sum += h;
		p += 2;
		len -= 2;
	}
	if (len) {
		uint16_t h = 0;
		memcpy(&h, p, 1);
		sum += h;
	}
	return sum;
}

static inline uint16_t ntm_sum_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)((sum >> 16) + (sum & 0xffff));
}

/* Of the pseudo-header (RFC 793, RFC 8200 section 8.1) of the IP packet at ip, for len bytes of protocol proto. */
static inline uint64_t ntm_sum_pseudo(const uint8_t *ip, bool is_ipv6, uint8_t proto, size_t len)
{
	uint8_t tail[8] = {
	    (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, 0, 0, 0, proto};
	uint64_t sum = is_ipv6 ? ntm_sum(ip + 8, 32, 0) : ntm_sum(ip + 12, 8, 0);
	return ntm_sum(tail, sizeof(tail), sum);
}

#endif
