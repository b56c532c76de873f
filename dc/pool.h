/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zone's virtual addresses. A node has one index; its VIP4 and VIP6 are the index added to the network addresses of
 * the two pools. Index 0 (IPv4 network address, IPv6 subnet-router anycast of RFC 4291 2.6.1) and the last IPv4
 * address (broadcast) are never given. Which indices are taken is the store's knowledge.
 */
#ifndef NTM_DC_POOL_H
#define NTM_DC_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../user/common/addr.h"

struct ntm_pool {
	struct ntm_prefix v4; /* v4-mapped, length 96..126 */
	struct ntm_prefix v6;
	uint32_t last; /* highest index both pools have room for; lowest is 1 */
};

/* 0, or -EINVAL with a sentence in why: wrong family, too small, host bits set. */
int ntm_pool_init(struct ntm_pool *p, const struct ntm_prefix *v4, const struct ntm_prefix *v6, char *why, size_t cap);
/* index: 1..last. VIPs in network byte order. */
void ntm_pool_addresses(const struct ntm_pool *p, uint32_t index, uint8_t vip4[4], uint8_t vip6[16]);
/* Index of a virtual address (v4-mapped or IPv6), 0 if it is none. */
uint32_t ntm_pool_index(const struct ntm_pool *p, const uint8_t ip[16]);
bool ntm_pool_contains(const struct ntm_pool *p, const uint8_t ip[16]);

#endif
