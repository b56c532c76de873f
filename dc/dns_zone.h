/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DC's DNS zone: one for names and one for each octet or nibble boundary that the virtual pools cover. Nothing of
 * it is kept: whatever is asked is looked up in the source (the DC's nodes; a table in tests), at a cost that does not
 * depend on how many there are.
 *
 *   ZONE             SOA NS                 dc.ZONE     A AAAA of the DC        LABEL.ZONE  A AAAA TYPE65280 TYPE65281
 *   _ntm._udp.ZONE   SRV to dc.ZONE         ns.ZONE     A AAAA of this server   reverse name of a virtual address  PTR
 *
 * NTMv4 is TYPE65280, NTMv6 TYPE65281 (private use, RFC 6895 3.1). Their RDATA, never compressed:
 *
 *   | FQDN of the node | real address, port | virtual address | NAT's global address, port | DC's address, port |
 *
 * Addresses have 4 bytes in NTMv4 and 16 in NTMv6, ports 2, network byte order; what there is none of is zero. They
 * disclose real addresses and so exist under the policy `real` only, but then for every node, also one that is offline.
 */
#ifndef NTM_DC_DNS_ZONE_H
#define NTM_DC_DNS_ZONE_H

#include <ldns/ldns.h>
#include <stdbool.h>
#include <stdint.h>

#include <ntm/limits.h>

#include "../user/common/conf.h"
#include "pool.h"

enum {
	NTM_DNS_TYPE_NTM4 = 65280,
	NTM_DNS_TYPE_NTM6 = 65281,
	NTM_DNS_WIRE_MAX = 255, /* a name, RFC 1035 2.3.4 */
	NTM_DNS_TTL_S = 60,     /* virtual addresses: they change when a node is revoked */
	NTM_DNS_REAL_TTL_S = 5,
	NTM_DNS_APEX_TTL_S = 3600,
	NTM_DNS_NEGATIVE_TTL_S = 10, /* a node that is about to enrol */
};

/* What A and AAAA say. Real: where a node is seen from outside, nothing while it is offline. None: nodes have no name
 * here. */
enum ntm_dns_publish { NTM_DNS_VIRTUAL, NTM_DNS_REAL, NTM_DNS_NONE };

struct ntm_dns_node {
	char label[NTM_LABEL_MAX + 1]; /* lower case */
	uint8_t vip4[4], vip6[16];
	struct ntm_addr real4, real6; /* the node's own; zero: none */
	struct ntm_addr nat4, nat6;   /* as seen from outside, if that differs */
	bool online;
};

/* Who knows the nodes. Calls must not block for long; 0, -ENOENT, or -EIO. */
struct ntm_dns_source {
	int (*by_label)(void *arg, const char *label, struct ntm_dns_node *out);
	int (*by_address)(void *arg, const uint8_t vip[16], struct ntm_dns_node *out);
	/* The node with the lowest pool index above *cursor, which becomes that; -ENOENT: no more. For transfers. */
	int (*next)(void *arg, uint32_t *cursor, struct ntm_dns_node *out);
	/* Grows with each change of what the others would say (RFC 1982), also over restarts. */
	uint32_t (*serial)(void *arg);
	void *arg;
};

struct ntm_dns_settings {
	const char *zone; /* lower case, no trailing dot */
	enum ntm_dns_publish publish;
	struct ntm_pool pool;
	const struct ntm_addr *dc; /* where nodes reach the DC */
	size_t n_dc;
	const struct ntm_addr *ns; /* where resolvers reach this server; copied, as dc is */
	size_t n_ns;
	const struct ntm_prefix *transfer; /* who may AXFR */
	size_t n_transfer;
};

struct ntm_dns_zone {
	struct ntm_dns_settings s;
	struct ntm_dns_source source;
	struct ntm_addr *addrs;
	struct ntm_prefix *prefixes;
	ldns_rdf *origin, *ns, *dc, *hostmaster, *srv;
};

/* Copies what s points to, except s->zone, which must outlive z. 0, -ENOMEM, or -EINVAL: zone has no room for names. */
int ntm_dns_zone_init(struct ntm_dns_zone *z, const struct ntm_dns_settings *s, const struct ntm_dns_source *source);
void ntm_dns_zone_free(struct ntm_dns_zone *z);

enum ntm_dns_place {
	NTM_DNS_OUTSIDE,      /* of all our zones */
	NTM_DNS_NOWHERE,      /* inside, no such name */
	NTM_DNS_EMPTY,        /* has only names below it (RFC 8020) */
	NTM_DNS_APEX,         /* of names */
	NTM_DNS_REVERSE_APEX, /* of a reverse zone */
	NTM_DNS_AT_NODE,
	NTM_DNS_AT_PTR,
	NTM_DNS_AT_DC,
	NTM_DNS_AT_NS,
	NTM_DNS_AT_SRV,
};

struct ntm_dns_spot {
	enum ntm_dns_place place;
	char label[NTM_LABEL_MAX + 1]; /* AT_NODE */
	struct ntm_prefix net;         /* reverse names: what the name covers */
	size_t apex;                   /* where in the name the name of its zone begins */
};

/* Where a name in wire format (uncompressed, any case) belongs. Looks nothing up. */
void ntm_dns_locate(const struct ntm_dns_zone *z, const uint8_t *name, size_t len, struct ntm_dns_spot *out);
/* How many bits of an address name the apex of its reverse zone: the pool's length rounded up to an octet or nibble. */
unsigned ntm_dns_reverse_bits(const struct ntm_dns_zone *z, bool v4);
/* The reverse name of an address, wire format. Returns its length. */
size_t ntm_dns_reverse_name(const uint8_t ip[16], uint8_t out[NTM_DNS_WIRE_MAX]);
/* Labels that the zone has for itself: no node may be called so. */
bool ntm_dns_reserved(const char *label);
bool ntm_dns_may_transfer(const struct ntm_dns_zone *z, const uint8_t ip[16]);

/*
 * Adds the records of type at a spot (LDNS_RR_TYPE_ANY: all) to out, under owner; SOA records are at the apexes.
 * *exists: whether the name does. 0, -ENOMEM or what the source said; out may then have some of them.
 */
int ntm_dns_records(const struct ntm_dns_zone *z, const struct ntm_dns_spot *at, const ldns_rdf *owner,
		    ldns_rr_type type, ldns_rr_list *out, bool *exists);
/* The same for a node that is at hand. */
int ntm_dns_node_records(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner,
			 ldns_rr_type type, ldns_rr_list *out, bool *exists);
int ntm_dns_soa(const struct ntm_dns_zone *z, const ldns_rdf *apex, uint32_t ttl, ldns_rr_list *out);
int ntm_dns_ptr(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner,
		ldns_rr_list *out);
/* LABEL.ZONE. NULL: no memory, or too long. */
ldns_rdf *ntm_dns_node_name(const struct ntm_dns_zone *z, const char *label);

#endif
