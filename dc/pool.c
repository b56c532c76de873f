/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t low32(const uint8_t ip[16])
{
	return (uint32_t)ip[12] << 24 | (uint32_t)ip[13] << 16 | (uint32_t)ip[14] << 8 | ip[15];
}

static void put32(uint8_t out[4], uint32_t v)
{
	out[0] = (uint8_t)(v >> 24);
	out[1] = (uint8_t)(v >> 16);
	out[2] = (uint8_t)(v >> 8);
	out[3] = (uint8_t)v;
}

/* Highest index that fits the host part, leaving out all ones. */
static uint32_t last_index(unsigned prefix_len)
{
	unsigned host = 128 - prefix_len;

	return host >= 32 ? UINT32_MAX - 1 : (uint32_t)((1ULL << host) - 2);
}

int ntm_pool_init(struct ntm_pool *p, const struct ntm_prefix *v4, const struct ntm_prefix *v6, char *why, size_t cap)
{
	struct ntm_prefix again;
	char text[NTM_ADDR_STRLEN];

	if (!ntm_ip_is_v4(v4->ip) || v4->len < 96 || v4->len > 126) {
		snprintf(why, cap, "vip4_pool must be an IPv4 prefix of length 30 or shorter");
		return -EINVAL;
	}
	if (ntm_ip_is_v4(v6->ip) || v6->len > 126) {
		snprintf(why, cap, "vip6_pool must be an IPv6 prefix of length 126 or shorter");
		return -EINVAL;
	}
	if (ntm_prefix_parse(ntm_prefix_format(v4, text), &again) ||
	    ntm_prefix_parse(ntm_prefix_format(v6, text), &again)) {
		snprintf(why, cap, "host bits of the pool's prefix %s are not zero", text);
		return -EINVAL;
	}
	p->v4 = *v4;
	p->v6 = *v6;
	p->last = last_index(v4->len) < last_index(v6->len) ? last_index(v4->len) : last_index(v6->len);
	return 0;
}

void ntm_pool_addresses(const struct ntm_pool *p, uint32_t index, uint8_t vip4[4], uint8_t vip6[16])
{
	put32(vip4, low32(p->v4.ip) + index);
	memcpy(vip6, p->v6.ip, 12);
	put32(vip6 + 12, low32(p->v6.ip) + index);
}

uint32_t ntm_pool_index(const struct ntm_pool *p, const uint8_t ip[16])
{
	const struct ntm_prefix *pool = ntm_ip_is_v4(ip) ? &p->v4 : &p->v6;
	uint32_t index;

	if (memcmp(ip, pool->ip, 12) || !ntm_prefix_contains(pool, ip))
		return 0;
	index = low32(ip) - low32(pool->ip);
	return index <= p->last ? index : 0;
}

bool ntm_pool_contains(const struct ntm_pool *p, const uint8_t ip[16])
{
	return ntm_prefix_contains(ntm_ip_is_v4(ip) ? &p->v4 : &p->v6, ip);
}
