/* SPDX-License-Identifier: BSD-2-Clause */
/* What answers and transfers share. */
#ifndef NTM_DC_DNS_ANSWER_INT_H
#define NTM_DC_DNS_ANSWER_INT_H

#include "dns_cache.h"

struct ntm_dns_answerer {
	const struct ntm_dns_zone *z;
	ldns_buffer *wire;
	struct ntm_dns_cache *cache; /* NULL: none */
	uint64_t hits;               /* answers out of it */
	uint8_t bare[NTM_DNS_TCP_MAX];
};

/* A response to query: its ID, RD and CD; AA. NULL: no memory. */
ldns_pkt *ntm_dns_response(const ldns_pkt *query, bool with_question);
/* Encodes r to out. The length, or 0: does not fit in limit, or no memory. */
size_t ntm_dns_encode(struct ntm_dns_answerer *a, ldns_pkt *r, uint8_t *out, size_t limit);
/* A copy of the zone's apex, out of the name asked for. */
ldns_rdf *ntm_dns_apex_of(const ldns_rdf *owner, const struct ntm_dns_spot *at);

#endif
