/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The zone on UDP and TCP (RFC 7766: several queries a connection, pipelined, answered in order). Everything a stranger
 * can make it keep is bounded: connections, bytes of each, and the time that one may be silent.
 */
#ifndef NTM_DC_DNS_SERVER_H
#define NTM_DC_DNS_SERVER_H

#include <uv.h>

#include "dns_answer.h"

enum {
	NTM_DNS_TCP_CONNECTIONS = 256,   /* when one more comes, the one silent longest is closed */
	NTM_DNS_TCP_PER_CLIENT = 32,     /* by address, IPv6 by /64 */
	NTM_DNS_TCP_QUERY_MAX = 2048,    /* a longer one ends its connection */
	NTM_DNS_TCP_IDLE_MS = 10000,     /* nothing complete received, nothing taken by the client */
	NTM_DNS_TCP_UNSENT_MAX = 131072, /* above that no more queries are read */
	NTM_DNS_RATE_SLOTS = 16384,
	NTM_DNS_CACHE_BYTES = 32 << 20, /* A and AAAA of some 100,000 nodes, and what nobody is called */
};

struct ntm_dns_stats {
	uint64_t udp_queries, tcp_queries, transfers;
	uint64_t repeated;     /* answers that had been given before */
	uint64_t rate_limited; /* UDP queries over the rate: half unanswered, half told to come by TCP */
	uint64_t tcp_refused, tcp_evicted, tcp_idle; /* connections closed, by reason */
};

struct ntm_dns_server;

/*
 * listen: n addresses, for UDP and TCP each; port 0 is allowed (tests). rate: UDP responses a second to one client
 * network (IPv4 /24, IPv6 /56), 0: no limit. zone must outlive the server. 0, or -errno and a sentence in why.
 */
int ntm_dns_server_start(struct ntm_dns_server **out, uv_loop_t *loop, const struct ntm_dns_zone *zone,
			 const struct ntm_addr *listen, size_t n, uint32_t rate, char *why, size_t cap);
/* Closes everything; freed when the loop has run its callbacks. */
void ntm_dns_server_stop(struct ntm_dns_server *s);
const struct ntm_addr *ntm_dns_server_bound(const struct ntm_dns_server *s, size_t i);
const struct ntm_dns_stats *ntm_dns_server_stats(struct ntm_dns_server *s);
/* What the zone's source says of a node has changed; of all of them may have. */
void ntm_dns_server_forget(struct ntm_dns_server *s, const char *label, const uint8_t vip4[4], const uint8_t vip6[16]);
void ntm_dns_server_forget_all(struct ntm_dns_server *s);

#endif
