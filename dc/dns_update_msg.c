/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_update_msg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"

#define TSIG_ALGORITHM "hmac-sha256."
enum { TSIG_FUDGE_S = 300, TSIG_MAC_FIELD = 3 };

static const unsigned node_types[] = {LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA, NTM_DNS_TYPE_NTM4, NTM_DNS_TYPE_NTM6};

void ntm_dns_message_clear(struct ntm_dns_message *m)
{
	free(m->wire);
	ldns_rdf_deep_free(m->mac);
	memset(m, 0, sizeof(*m));
}

/* "Delete an RRset", RFC 2136 2.5.2 */
static int delete_rrset(ldns_rr_list *rrs, const ldns_rdf *owner, unsigned type)
{
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *name = ldns_rdf_clone(owner);

	if (!rr || !name || !ldns_rr_list_push_rr(rrs, rr)) {
		ldns_rr_free(rr);
		ldns_rdf_deep_free(name);
		return -ENOMEM;
	}
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_type(rr, (ldns_rr_type)type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_ANY);
	ldns_rr_set_ttl(rr, 0);
	return 0;
}

static int delete_types(ldns_rr_list *rrs, const ldns_rdf *owner, const unsigned *types, size_t n)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = delete_rrset(rrs, owner, types[i]);
	return err;
}

static int own_names(const struct ntm_dns_zone *z, ldns_rr_list *rrs)
{
	struct ntm_dns_spot dc = {.place = NTM_DNS_AT_DC}, srv = {.place = NTM_DNS_AT_SRV};
	bool exists;
	int err = delete_types(rrs, z->dc, node_types, 2);

	if (!err)
		err = ntm_dns_records(z, &dc, z->dc, LDNS_RR_TYPE_ANY, rrs, &exists);
	if (!err)
		err = delete_rrset(rrs, z->srv, LDNS_RR_TYPE_SRV);
	if (!err)
		err = ntm_dns_records(z, &srv, z->srv, LDNS_RR_TYPE_ANY, rrs, &exists);
	return err;
}

int ntm_dns_change_forward(const struct ntm_dns_zone *z, const struct ntm_dns_change *c, ldns_rr_list *rrs)
{
	struct ntm_dns_spot at;
	ldns_rdf *owner;
	bool exists;
	int err;

	if (!c->label[0])
		return own_names(z, rrs);
	owner = ntm_dns_node_name(z, c->label);
	if (!owner)
		return -ENOMEM;
	ntm_dns_locate(z, ldns_rdf_data(owner), ldns_rdf_size(owner), &at);
	/* a node cannot be called as what belongs to the zone itself */
	err = 0;
	if (at.place == NTM_DNS_AT_NODE) {
		err = delete_types(rrs, owner, node_types, sizeof(node_types) / sizeof(node_types[0]));
		if (!err)
			err = ntm_dns_records(z, &at, owner, LDNS_RR_TYPE_ANY, rrs, &exists);
	}
	ldns_rdf_deep_free(owner);
	return err;
}

/* The zone with the longest name that owner is in; n: none. */
static size_t zone_of(const ldns_rdf *owner, ldns_rdf *const *zones, size_t n)
{
	size_t best = n;

	for (size_t i = 0; i < n; i++) {
		if (zones[i] && ldns_dname_is_subdomain(owner, zones[i]) &&
		    (best == n || ldns_rdf_size(zones[i]) > ldns_rdf_size(zones[best])))
			best = i;
	}
	return best;
}

int ntm_dns_change_reverse(const struct ntm_dns_zone *z, const struct ntm_dns_change *c, ldns_rdf *const *zones,
			   size_t n, size_t which, ldns_rr_list *rrs)
{
	int err = 0;

	for (int i = 0; !err && c->label[0] && i < 2; i++) {
		struct ntm_dns_spot at = {.place = NTM_DNS_AT_PTR};
		uint8_t name[NTM_DNS_WIRE_MAX];
		ldns_rdf *owner;
		bool exists;

		if (i)
			memcpy(at.net.ip, c->vip6, 16);
		else
			ntm_ip_from_v4(at.net.ip, c->vip4);
		owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, ntm_dns_reverse_name(at.net.ip, name), name);
		if (!owner)
			return -ENOMEM;
		if (zone_of(owner, zones, n) == which) {
			err = delete_rrset(rrs, owner, LDNS_RR_TYPE_PTR);
			/* asked by address: it may be another node's by now */
			if (!err)
				err = ntm_dns_records(z, &at, owner, LDNS_RR_TYPE_PTR, rrs, &exists);
		}
		ldns_rdf_deep_free(owner);
	}
	return err;
}

static ldns_pkt *update(const ldns_rdf *zone, const ldns_rr_list *rrs)
{
	ldns_rdf *name = ldns_rdf_clone(zone);
	ldns_pkt *p = name ? ldns_update_pkt_new(name, LDNS_RR_CLASS_IN, NULL, rrs, NULL) : NULL;

	if (!p)
		ldns_rdf_deep_free(name);
	return p;
}

int ntm_dns_message_make(struct ntm_dns_message *m, const ldns_rdf *zone, ldns_rr_list *rrs,
			 const struct ntm_dns_signer *signer)
{
	ldns_pkt *p = update(zone, rrs);
	int err = p ? 0 : -ENOMEM;

	memset(m, 0, sizeof(*m));
	if (!err)
		err = ntm_random(&m->id, sizeof(m->id));
	if (!err) {
		ldns_pkt_set_id(p, m->id);
		if (ldns_pkt_tsig_sign(p, signer->name, signer->key, TSIG_FUDGE_S, TSIG_ALGORITHM, NULL) !=
			LDNS_STATUS_OK ||
		    ldns_pkt2wire(&m->wire, p, &m->len) != LDNS_STATUS_OK)
			err = -EIO;
	}
	if (!err) {
		m->mac = ldns_rdf_clone(ldns_rr_rdf(ldns_pkt_tsig(p), TSIG_MAC_FIELD));
		err = m->mac ? 0 : -ENOMEM;
	}
	if (err)
		ntm_dns_message_clear(m);
	ldns_pkt_free(p);
	ldns_rr_list_deep_free(rrs);
	return err;
}

int ntm_dns_message_answered(const struct ntm_dns_message *m, const struct ntm_dns_signer *signer, const uint8_t *data,
			     size_t len, int *rcode)
{
	ldns_pkt *p = NULL;
	int err = -EBADMSG;

	*rcode = -1;
	if (ldns_wire2pkt(&p, data, len) != LDNS_STATUS_OK)
		return -EBADMSG;
	if (ldns_pkt_qr(p) && ldns_pkt_id(p) == m->id && ldns_pkt_get_opcode(p) == LDNS_PACKET_UPDATE) {
		*rcode = (int)ldns_pkt_get_rcode(p);
		if (ldns_pkt_tsig(p) && ldns_pkt_tsig_verify(p, data, len, signer->name, signer->key, m->mac))
			err = *rcode == LDNS_RCODE_NOERROR   ? 0
			      : *rcode == LDNS_RCODE_NOTAUTH ? -EADDRNOTAVAIL
							     : -EREMOTEIO;
	}
	ldns_pkt_free(p);
	return err;
}
