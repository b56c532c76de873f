/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DNS stub: UDP and TCP on dns.listen. Names of the zone are answered with virtual addresses once the path is up,
 * at most 2 s later; everything else goes to the upstreams and comes back as it is.
 */
#ifndef NTM_NODE_DNSSTUB_H
#define NTM_NODE_DNSSTUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../common/addr.h"

struct ntm_node;
struct ntm_dnsstub;
struct ntm_dns_conn;

enum {
	NTM_DNS_IN_FLIGHT = 512, /* queries, held and forwarded */
	NTM_DNS_TTL_S = 30,      /* of the zone's answers */
	NTM_DNS_MIN = 12,        /* header */
	NTM_DNS_MAX = 65535,
	NTM_DNS_UDP_PAYLOAD = 1232,
};

/* One question on its way to an answer. */
struct ntm_dns_query {
	struct ntm_dnsstub *stub;
	struct ntm_dns_query *next, **link;
	struct ntm_addr client;    /* UDP */
	struct ntm_dns_conn *conn; /* TCP; NULL for UDP, and when the client has gone */
	bool tcp;
	bool held; /* waits for a direction: `pending` is dnszone.c's, else dnsforward.c's */
	void *pending;
	size_t len;
	uint8_t wire[];
};

/* 0 or -errno with a sentence in why. */
int ntm_dnsstub_open(struct ntm_dnsstub **out, struct ntm_node *n, char *why, size_t cap);
void ntm_dnsstub_close(struct ntm_dnsstub *s);
uint16_t ntm_dnsstub_port(const struct ntm_dnsstub *s); /* host order */
struct ntm_node *ntm_dnsstub_node(const struct ntm_dnsstub *s);

/* Both end the query. answer: wire format, whole, with the client's ID. */
void ntm_dns_reply(struct ntm_dns_query *q, const uint8_t *answer, size_t len);
void ntm_dns_reply_rcode(struct ntm_dns_query *q, unsigned rcode); /* header and question only */

/* dnszone.c: answers q if it is the zone's business (or is malformed). False: forward it. */
bool ntm_dnszone_query(struct ntm_dns_query *q);
void ntm_dnszone_cancel(struct ntm_dns_query *q); /* the client has gone */

/* dnsforward.c */
struct ntm_dnsforward;
int ntm_dnsforward_open(struct ntm_dnsforward **out, struct ntm_node *n, const struct ntm_addr *self);
void ntm_dnsforward_close(struct ntm_dnsforward *f);
struct ntm_dnsforward *ntm_dnsstub_forward(const struct ntm_dnsstub *s);
void ntm_dnsforward_query(struct ntm_dnsforward *f, struct ntm_dns_query *q);
void ntm_dnsforward_cancel(struct ntm_dns_query *q);
/* The upstreams in use now, at most max; returns their number. */
size_t ntm_dnsforward_upstreams(struct ntm_dnsforward *f, struct ntm_addr *out, size_t max);
/* Reads "nameserver" lines of a resolv.conf, without `self`. For tests: path. */
size_t ntm_dnsforward_parse(const char *path, const struct ntm_addr *self, struct ntm_addr *out, size_t max);

#endif
