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

/* Where the answer to a question goes that came by no socket of the stub's. */
typedef void (*ntm_dns_via)(void *arg, const struct ntm_addr *client, const uint8_t *answer, size_t len);

/* One question on its way to an answer. */
struct ntm_dns_query {
	struct ntm_dnsstub *stub;
	struct ntm_dns_query *next, **link;
	struct ntm_addr client;
	struct ntm_dns_conn *conn; /* TCP; NULL for UDP, and when the client has gone */
	ntm_dns_via via;           /* NULL: a socket of the stub's */
	void *via_arg;
	bool tcp;
	bool held; /* waits for a direction: `pending` is dnszone.c's, else dnsforward.c's */
	void *pending;
	bool verbatim; /* for the server that was asked, whatever it says: see ntm_dnsforward_verbatim() */
	struct ntm_addr asked;
	size_t len;
	uint8_t wire[];
};

/* 0 or -errno with a sentence in why. */
int ntm_dnsstub_open(struct ntm_dnsstub **out, struct ntm_node *n, char *why, size_t cap); /* at dns.listen */
int ntm_dnsstub_open_at(struct ntm_dnsstub **out, struct ntm_node *n, const struct ntm_addr *addr, char *why,
			size_t cap);
/* Without sockets: questions come by ntm_dnsstub_query(). 0 or -errno. */
int ntm_dnsstub_open_bare(struct ntm_dnsstub **out, struct ntm_node *n);
/* A question (borrowed) out of such a message; via is called once, perhaps within the call, or never. */
void ntm_dnsstub_query(struct ntm_dnsstub *s, const struct ntm_addr *client, bool tcp, const uint8_t *wire, size_t len,
		       ntm_dns_via via, void *arg);
void ntm_dnsstub_forget(struct ntm_dnsstub *s, const void *arg); /* via with this arg is not called any more */
void ntm_dnsstub_close(struct ntm_dnsstub *s);
uint16_t ntm_dnsstub_port(const struct ntm_dnsstub *s);               /* host order */
const struct ntm_addr *ntm_dnsstub_addr(const struct ntm_dnsstub *s); /* that it is bound to */
struct ntm_node *ntm_dnsstub_node(const struct ntm_dnsstub *s);

/* Both end the query. answer: wire format, whole, with the client's ID. */
void ntm_dns_reply(struct ntm_dns_query *q, const uint8_t *answer, size_t len);
void ntm_dns_reply_rcode(struct ntm_dns_query *q, unsigned rcode); /* header and question only */

/* One answer of several; q goes on. True: the client lags behind, ntm_dnsforward_resume() says when it no longer does.
 */
bool ntm_dns_reply_part(struct ntm_dns_query *q, const uint8_t *answer, size_t len);
/* Ends the query as a server that says nothing: TCP is closed once what was said is sent. */
void ntm_dns_drop(struct ntm_dns_query *q);

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
void ntm_dnsforward_resume(struct ntm_dns_query *q);
/*
 * Not for a resolver to answer (UPDATE, NOTIFY, zone transfers), and sent here by the hook: it goes to the server that
 * was asked, and all answers come back. Notes so in q.
 */
bool ntm_dnsforward_verbatim(struct ntm_dns_query *q);
/* The upstreams in use now, at most max; returns their number. */
size_t ntm_dnsforward_upstreams(struct ntm_dnsforward *f, struct ntm_addr *out, size_t max);
/* Reads "nameserver" lines of a resolv.conf, without `self`. For tests: path. */
size_t ntm_dnsforward_parse(const char *path, const struct ntm_addr *self, struct ntm_addr *out, size_t max);

#endif
