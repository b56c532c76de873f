/* SPDX-License-Identifier: BSD-2-Clause */
/* The internet checksum (RFC 1071) over packets in memory. Sums are kept unfolded, in host order of the words as they
 * lie there; a folded one is stored as it is. */
#ifndef NTM_ENGINE_CSUM_H
#define NTM_ENGINE_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Adds len bytes at p; only the last part of what is summed may have an odd length. */
static inline uint64_t ntm_sum(const uint8_t *p, size_t len, uint64_t sum)
{
	uint64_t a = 0, b = 0, c = 0, d = 0, w[4];
	while (len >= 32) {
		memcpy(w, p, 32);
		a += (uint32_t)w[0];
		b += w[0] >> 32;
		c += (uint32_t)w[1];
		d += w[1] >> 32;
		a += (uint32_t)w[2];
		b += w[2] >> 32;
		c += (uint32_t)w[3];
		d += w[3] >> 32;
		p += 32;
		len -= 32;
	}
	sum += a + b + c + d;
	while (len >= 2) {
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
