/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queries that nearly all are: one question of the class IN, uncompressed, for records that a zone may have, and at
 * most an OPT record of version 0. Two of them with the same question in lower case have the same answer, whoever asks:
 * all but the ID, RD, CD, the question's letters as they were sent, and OPT.
 */
#ifndef NTM_DC_DNS_PLAIN_H
#define NTM_DC_DNS_PLAIN_H

#include "dns_answer.h"

struct ntm_dns_plain {
	uint8_t question[NTM_DNS_WIRE_MAX + 4]; /* lower case; name, type, class */
	size_t name_len, len;                   /* of the name in it, of all */
	unsigned type;
	bool edns, dnssec_ok;
	size_t udp_limit; /* the longest response that it takes by UDP, and that we send */
};

enum { NTM_DNS_OPT_LEN = 11 };

/* False: the query is another, or malformed. */
bool ntm_dns_plain_read(struct ntm_dns_plain *p, const uint8_t *query, size_t len);
/* The query that has nothing but the question of p, in lower case, to out. Returns its length. */
size_t ntm_dns_plain_bare(const struct ntm_dns_plain *p, uint8_t out[NTM_DNS_HEADER + NTM_DNS_WIRE_MAX + 4]);
/* Makes of the answer to the bare query that to the query p was read from. Returns its length; 0: longer than cap. */
size_t ntm_dns_plain_dress(const struct ntm_dns_plain *p, const uint8_t *query, const uint8_t *bare, size_t len,
			   uint8_t *out, size_t cap);

#endif
