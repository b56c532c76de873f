/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A DNS zone over a table of nodes n1, n2, ... in pools 100.96.0.0/12 and fd4e:544d::/48, for inclusion by tests. Node
 * i has index i. The first ones are what tests ask for: n1 on its public address, n2 behind a NAT, n3 offline.
 */
#ifndef NTM_TEST_DNS_RIG_H
#define NTM_TEST_DNS_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dc/dns_answer.h"

struct dns_rig {
	unsigned n;    /* nodes */
	unsigned gone; /* index that was revoked */
	int err;       /* what the source fails with */
	uint32_t serial;
	struct ntm_dns_zone zone;
	struct ntm_addr dc[2], ns[64];
	struct ntm_prefix transfer;
};

static inline struct ntm_addr rig_addr(const char *text)
{
	struct ntm_addr a;

	if (ntm_addr_parse(text, 53, &a))
		abort();
	return a;
}

static inline int rig_node(const struct dns_rig *r, unsigned index, struct ntm_dns_node *out)
{
	if (r->err)
		return r->err;
	if (!index || index > r->n || index == r->gone)
		return -ENOENT;
	memset(out, 0, sizeof(*out));
	snprintf(out->label, sizeof(out->label), "n%u", index);
	ntm_pool_addresses(&r->zone.s.pool, index, out->vip4, out->vip6);
	out->online = index != 3;
	out->real4 = rig_addr("198.51.100.1:4680");
	out->real6 = rig_addr("[2001:db8:2::1]:4680");
	if (index == 2) {
		out->real4 = rig_addr("10.0.0.2:4680");
		out->nat4 = rig_addr("203.0.113.9:30001");
		memset(&out->real6, 0, sizeof(out->real6));
	}
	return 0;
}

static inline int rig_by_label(void *arg, const char *label, struct ntm_dns_node *out)
{
	char *end;
	unsigned long index = label[0] == 'n' && label[1] != '0' ? strtoul(label + 1, &end, 10) : 0;
	const struct dns_rig *r = arg;

	return index && !*end ? rig_node(r, (unsigned)index, out) : r->err ? r->err : -ENOENT;
}

static inline int rig_by_address(void *arg, const uint8_t vip[16], struct ntm_dns_node *out)
{
	const struct dns_rig *r = arg;

	return rig_node(r, ntm_pool_index(&r->zone.s.pool, vip), out);
}

static inline int rig_next(void *arg, uint32_t *cursor, struct ntm_dns_node *out)
{
	const struct dns_rig *r = arg;

	if (r->err)
		return r->err;
	while (++*cursor <= r->n) {
		if (*cursor != r->gone)
			return rig_node(r, *cursor, out);
	}
	return -ENOENT;
}

static inline uint32_t rig_serial(void *arg)
{
	return ((struct dns_rig *)arg)->serial;
}

/* n_ns: addresses of ns.ZONE, to make an answer long */
static inline int rig_init(struct dns_rig *r, enum ntm_dns_publish publish, unsigned n, size_t n_ns)
{
	struct ntm_dns_source source = {rig_by_label, rig_by_address, rig_next, rig_serial, r};
	struct ntm_dns_settings s = {.zone = "ntm.example", .publish = publish, .dc = r->dc, .n_dc = 2, .ns = r->ns};
	struct ntm_prefix v4, v6;
	char why[128];

	memset(r, 0, sizeof(*r));
	r->n = n;
	r->serial = 7;
	r->dc[0] = rig_addr("192.0.2.1:4680");
	r->dc[1] = rig_addr("[2001:db8::1]:4680");
	for (size_t i = 0; i < n_ns; i++) {
		r->ns[i] = rig_addr("[2001:db8::53]:53");
		r->ns[i].ip[14] = (uint8_t)i;
	}
	s.n_ns = n_ns;
	s.transfer = &r->transfer;
	s.n_transfer = 1;
	if (ntm_prefix_parse("192.0.2.128/25", &r->transfer) || ntm_prefix_parse("100.96.0.0/12", &v4) ||
	    ntm_prefix_parse("fd4e:544d::/48", &v6) || ntm_pool_init(&s.pool, &v4, &v6, why, sizeof(why)))
		return -EINVAL;
	return ntm_dns_zone_init(&r->zone, &s, &source);
}

/* A query for a name in presentation form; edns: UDP size offered, 0: no EDNS. Returns its length. */
static inline size_t rig_query(uint8_t *out, size_t cap, const char *name, unsigned type, unsigned edns)
{
	ldns_rdf *owner = ldns_dname_new_frm_str(name);
	ldns_pkt *q = ldns_pkt_new();
	ldns_rr *rr = ldns_rr_new();
	uint8_t *wire;
	size_t len;

	if (!owner || !q || !rr)
		abort();
	ldns_rr_set_owner(rr, owner);
	ldns_rr_set_type(rr, (ldns_rr_type)type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_question(rr, true);
	ldns_pkt_push_rr(q, LDNS_SECTION_QUESTION, rr);
	ldns_pkt_set_id(q, 0x1234);
	ldns_pkt_set_rd(q, true);
	if (edns)
		ldns_pkt_set_edns_udp_size(q, (uint16_t)edns);
	if (ldns_pkt2wire(&wire, q, &len) != LDNS_STATUS_OK || len > cap)
		abort();
	memcpy(out, wire, len);
	free(wire);
	ldns_pkt_free(q);
	return len;
}

#endif
