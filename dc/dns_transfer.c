/* SPDX-License-Identifier: BSD-2-Clause */
/* AXFR (RFC 5936): SOA, what the apex and the zone's own names have, the nodes in the source's order, SOA. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns_answer_int.h"

enum { NODES_A_MESSAGE = 64 };

struct ntm_dns_transfer {
	struct ntm_dns_answerer *a;
	ldns_pkt *query;
	struct ntm_dns_spot at; /* the apex */
	ldns_rr_list *soa;      /* as it was at the beginning: what changes meanwhile is news for the next transfer */
	uint32_t cursor;
	enum { BEGIN, NODES, DONE } state;
};

void ntm_dns_transfer_end(struct ntm_dns_transfer *t)
{
	if (!t)
		return;
	ldns_pkt_free(t->query);
	ldns_rr_list_deep_free(t->soa);
	free(t);
}

int ntm_dns_transfer_begin(struct ntm_dns_answerer *a, const uint8_t *query, size_t len, struct ntm_dns_transfer **out)
{
	struct ntm_dns_transfer *t = calloc(1, sizeof(*t));
	const ldns_rdf *apex;
	int err = -ENOMEM;

	if (!t)
		return -ENOMEM;
	t->a = a;
	t->soa = ldns_rr_list_new();
	if (t->soa && ldns_wire2pkt(&t->query, query, len) == LDNS_STATUS_OK) {
		apex = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(t->query), 0));
		ntm_dns_locate(a->z, ldns_rdf_data(apex), ldns_rdf_size(apex), &t->at);
		err = ntm_dns_soa(a->z, apex, NTM_DNS_APEX_TTL_S, t->soa);
		if (t->at.place == NTM_DNS_REVERSE_APEX) {
			uint32_t first = ntm_pool_index(&a->z->s.pool, t->at.net.ip);

			t->cursor = first ? first - 1 : 0;
		}
	}
	if (err) {
		ntm_dns_transfer_end(t);
		return err;
	}
	*out = t;
	return 0;
}

static int own_names(const struct ntm_dns_transfer *t, ldns_rr_list *out)
{
	const struct ntm_dns_zone *z = t->a->z;
	const ldns_rdf *apex = ldns_rr_owner(ldns_rr_list_rr(ldns_pkt_question(t->query), 0));
	struct ntm_dns_spot dc = {.place = NTM_DNS_AT_DC}, ns = {.place = NTM_DNS_AT_NS},
			    srv = {.place = NTM_DNS_AT_SRV};
	bool exists;
	int err = ntm_dns_records(z, &t->at, apex, LDNS_RR_TYPE_NS, out, &exists);

	if (err || t->at.place != NTM_DNS_APEX)
		return err;
	err = ntm_dns_records(z, &ns, z->ns, LDNS_RR_TYPE_ANY, out, &exists);
	if (!err)
		err = ntm_dns_records(z, &dc, z->dc, LDNS_RR_TYPE_ANY, out, &exists);
	return err ? err : ntm_dns_records(z, &srv, z->srv, LDNS_RR_TYPE_ANY, out, &exists);
}

/* The records that a node has in the zone at hand; -ENOENT: it is behind the zone's end. */
static int node_records(const struct ntm_dns_transfer *t, const struct ntm_dns_node *node, ldns_rr_list *out)
{
	const struct ntm_dns_zone *z = t->a->z;
	bool forward = t->at.place == NTM_DNS_APEX, exists;
	uint8_t name[NTM_DNS_WIRE_MAX], ip[16];
	ldns_rdf *owner;
	int err;

	/* names that are the zone's own win over nodes */
	if (forward && ntm_dns_reserved(node->label))
		return 0;
	if (ntm_ip_is_v4(t->at.net.ip))
		ntm_ip_from_v4(ip, node->vip4);
	else
		memcpy(ip, node->vip6, 16);
	if (forward)
		owner = ntm_dns_node_name(z, node->label);
	else if (ntm_prefix_contains(&t->at.net, ip))
		owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, ntm_dns_reverse_name(ip, name), name);
	else
		return -ENOENT;
	if (!owner)
		return -ENOMEM;
	if (forward)
		err = ntm_dns_node_records(z, node, owner, LDNS_RR_TYPE_ANY, out, &exists);
	else
		err = ntm_dns_ptr(z, node, owner, out);
	ldns_rdf_deep_free(owner);
	return err;
}

static int add_nodes(struct ntm_dns_transfer *t, ldns_rr_list *out)
{
	const struct ntm_dns_source *src = &t->a->z->source;
	struct ntm_dns_node node;
	int err = t->a->z->s.publish == NTM_DNS_NONE ? -ENOENT : 0;

	for (int n = 0; !err && n < NODES_A_MESSAGE; n++) {
		err = src->next(src->arg, &t->cursor, &node);
		if (!err)
			err = node_records(t, &node, out);
	}
	if (err != -ENOENT)
		return err;
	t->state = DONE;
	return 0;
}

static int push_soa(const struct ntm_dns_transfer *t, ldns_rr_list *out)
{
	ldns_rr *soa = ldns_rr_clone(ldns_rr_list_rr(t->soa, 0));

	if (soa && ldns_rr_list_push_rr(out, soa))
		return 0;
	ldns_rr_free(soa);
	return -ENOMEM;
}

int ntm_dns_transfer_next(struct ntm_dns_transfer *t, uint8_t *out, size_t cap)
{
	ldns_pkt *r;
	size_t len = 0;
	int err = 0;

	if (t->state == DONE)
		return 0;
	r = ntm_dns_response(t->query, t->state == BEGIN);
	if (!r)
		return -ENOMEM;
	if (t->state == BEGIN) {
		err = push_soa(t, ldns_pkt_answer(r));
		if (!err)
			err = own_names(t, ldns_pkt_answer(r));
		t->state = NODES;
	}
	if (!err)
		err = add_nodes(t, ldns_pkt_answer(r));
	if (!err && t->state == DONE)
		err = push_soa(t, ldns_pkt_answer(r));
	if (!err) {
		len = ntm_dns_encode(t->a, r, out, cap);
		err = len ? (int)len : -EMSGSIZE;
	}
	ldns_pkt_free(r);
	return err;
}
