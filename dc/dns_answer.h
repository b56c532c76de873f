/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Query in, response out: RFC 1034, 1035, 2181, 2308 (negative answers), 6891 (EDNS), 8482 (ANY), 5936 (AXFR), 9619
 * (one question). Authoritative only: no recursion, no referrals.
 */
#ifndef NTM_DC_DNS_ANSWER_H
#define NTM_DC_DNS_ANSWER_H

#include "dns_zone.h"

enum {
	NTM_DNS_HEADER = 12,
	NTM_DNS_UDP_PLAIN = 512, /* without EDNS, RFC 1035 4.2.1 */
	/* With EDNS never more than this, whatever the client offers: no fragments (RFC 9715), little to amplify. */
	NTM_DNS_UDP_MAX = NTM_SIGNAL_MAX,
	NTM_DNS_TCP_MAX = 65535,
};

struct ntm_dns_client {
	uint8_t ip[16];
	bool tcp;
	uint64_t now_ms; /* monotonic: when the query came */
};

struct ntm_dns_answerer; /* room for the messages at work, and answers to be given again; one a thread */
/* z must outlive it. cache: bytes that answers to be given again may have, 0: none. NULL: no memory. */
struct ntm_dns_answerer *ntm_dns_answerer_new(const struct ntm_dns_zone *z, size_t cache);
void ntm_dns_answerer_free(struct ntm_dns_answerer *a);
/* What the source says of a node, by its label or its addresses, is no longer what it was. */
void ntm_dns_answerer_forget(struct ntm_dns_answerer *a, const char *label, const uint8_t vip4[4],
			     const uint8_t vip6[16]);
void ntm_dns_answerer_forget_all(struct ntm_dns_answerer *a);
/* How many answers were given again. */
uint64_t ntm_dns_answerer_hits(const struct ntm_dns_answerer *a);

/*
 * Returns the length of the response written to out (cap: NTM_DNS_UDP_MAX, for TCP NTM_DNS_TCP_MAX); 0: none, as to
 * what is no query at all. *transfer: a zone transfer that this client may have was asked for, nothing is written.
 */
size_t ntm_dns_answer(struct ntm_dns_answerer *a, const struct ntm_dns_client *from, const uint8_t *query, size_t len,
		      uint8_t *out, size_t cap, bool *transfer);
/*
 * "Come by TCP": TC and the question, never longer than the query; out has room for that. 0: not a query with one
 * question.
 */
size_t ntm_dns_answer_truncated(const uint8_t *query, size_t len, uint8_t *out);

/* AXFR, message by message: never the whole zone at once. */
struct ntm_dns_transfer;
int ntm_dns_transfer_begin(struct ntm_dns_answerer *a, const uint8_t *query, size_t len, struct ntm_dns_transfer **out);
/* The next message; 0: that was the last one. -errno: cannot go on, and the connection must be closed. */
int ntm_dns_transfer_next(struct ntm_dns_transfer *t, uint8_t *out, size_t cap);
void ntm_dns_transfer_end(struct ntm_dns_transfer *t);

#endif
