/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers to bare queries (dns_plain.h), in wire format, for who asks the same again. Bounded by their bytes; negative
 * ones have a share of their own, so that names which somebody makes up don't push out those of nodes. The oldest goes
 * first, and none is kept longer than a resolver may keep it. Whatever changes what the source says of a name must
 * forget that name; an answer with an SOA record holds as long as its serial.
 */
#ifndef NTM_DC_DNS_CACHE_H
#define NTM_DC_DNS_CACHE_H

#include "dns_plain.h"

enum { NTM_DNS_CACHED_MAX = NTM_DNS_UDP_PLAIN }; /* longer answers are not kept */

struct ntm_dns_cache;

struct ntm_dns_cached {
	const uint8_t *wire; /* until the next call */
	size_t len;
};

struct ntm_dns_cache *ntm_dns_cache_new(size_t bytes); /* NULL: no memory */
void ntm_dns_cache_free(struct ntm_dns_cache *c);      /* may be NULL */

/* now_ms: monotonic. False: there is none. */
bool ntm_dns_cache_find(const struct ntm_dns_cache *c, const struct ntm_dns_plain *p, uint32_t serial, uint64_t now_ms,
			struct ntm_dns_cached *out);
/*
 * Keeps an answer, in place of the one that there is, until now_ms + ttl_ms or one of the calls below. serial: what the
 * zone's was when it was made. Without memory it is not kept.
 */
void ntm_dns_cache_keep(struct ntm_dns_cache *c, const struct ntm_dns_plain *p, const struct ntm_dns_cached *answer,
			uint32_t serial, uint64_t now_ms, uint32_t ttl_ms);
/* All answers to questions for a name; wire format, lower case. */
void ntm_dns_cache_forget(struct ntm_dns_cache *c, const uint8_t *name, size_t len);
void ntm_dns_cache_clear(struct ntm_dns_cache *c);

#endif
