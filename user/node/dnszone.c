/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of the zone, and reverse names of virtual addresses: answered here, never forwarded. The wire format is ldns's.
 * Nothing is remembered beyond the paths that are up: a name is as good as the path to it.
 */
#include <errno.h>
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dnsstub.h"
#include "node.h"

struct held {
	struct ntm_dns_query *q;
	ldns_pkt *pkt;
};

static void finish(struct ntm_dns_query *q, ldns_pkt *query, ldns_pkt_rcode rcode, ldns_rr *answer)
{
	ldns_pkt *r = ldns_pkt_new();
	ldns_rr_list *question;
	uint8_t *wire = NULL;
	size_t len = 0;

	if (!r) {
		ldns_rr_free(answer);
		ntm_dns_reply_rcode(q, LDNS_RCODE_SERVFAIL);
		return;
	}
	ldns_pkt_set_id(r, ldns_pkt_id(query));
	ldns_pkt_set_qr(r, true);
	ldns_pkt_set_aa(r, true);
	ldns_pkt_set_rd(r, ldns_pkt_rd(query));
	ldns_pkt_set_ra(r, true);
	ldns_pkt_set_rcode(r, rcode);
	question = ldns_rr_list_clone(ldns_pkt_question(query));
	ldns_pkt_push_rr_list(r, LDNS_SECTION_QUESTION, question);
	ldns_rr_list_free(question);
	if (answer)
		ldns_pkt_push_rr(r, LDNS_SECTION_ANSWER, answer);
	if (ldns_pkt_edns(query)) /* RFC 6891, 6.1.1 */
		ldns_pkt_set_edns_udp_size(r, NTM_DNS_UDP_PAYLOAD);
	if (ldns_pkt2wire(&wire, r, &len) == LDNS_STATUS_OK)
		ntm_dns_reply(q, wire, len);
	else
		ntm_dns_reply_rcode(q, LDNS_RCODE_SERVFAIL);
	free(wire);
	ldns_pkt_free(r);
}

/* An A, AAAA or PTR record named as the question is, case and all. */
static ldns_rr *record(ldns_pkt *query, ldns_rr_type type, ldns_rdf *rdata)
{
	const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(query), 0);
	ldns_rr *rr = rdata ? ldns_rr_new() : NULL;

	if (!rr) {
		ldns_rdf_deep_free(rdata);
		return NULL;
	}
	ldns_rr_set_owner(rr, ldns_rdf_clone(ldns_rr_owner(question)));
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, NTM_DNS_TTL_S);
	ldns_rr_push_rdf(rr, rdata);
	return rr;
}

static void answer_addresses(struct ntm_dns_query *q, ldns_pkt *query, const uint8_t vip4[4], const uint8_t vip6[16])
{
	ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(ldns_pkt_question(query), 0));
	ldns_rr *rr = NULL;

	if (type == LDNS_RR_TYPE_A)
		rr = record(query, type, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, vip4));
	else if (type == LDNS_RR_TYPE_AAAA)
		rr = record(query, type, ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, vip6));
	finish(q, query, LDNS_RCODE_NOERROR, rr);
}

static void on_direction(void *arg, int result, struct ntm_tunnel *t)
{
	struct held *h = arg;
	struct ntm_dns_query *q = h->q;
	ldns_pkt *query = h->pkt;
	ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(ldns_pkt_question(query), 0));

	q->pending = NULL;
	free(h);
	if (!result)
		answer_addresses(q, query, t->vip4, t->vip6);
	else if (result == NTM_E_NO_SUCH_NAME || result == NTM_E_BAD_NAME)
		finish(q, query, LDNS_RCODE_NXDOMAIN, NULL);
	else if (result > 0 && type != LDNS_RR_TYPE_A && type != LDNS_RR_TYPE_AAAA)
		finish(q, query, LDNS_RCODE_NOERROR, NULL); /* it exists, and has nothing but addresses */
	else
		finish(q, query, result == NTM_E_DENIED ? LDNS_RCODE_REFUSED : LDNS_RCODE_SERVFAIL, NULL);
	ldns_pkt_free(query);
}

static void hold(struct ntm_dns_query *q, ldns_pkt *query, const char *name)
{
	struct held *h = malloc(sizeof(*h));

	if (!h) {
		finish(q, query, LDNS_RCODE_SERVFAIL, NULL);
		ldns_pkt_free(query);
		return;
	}
	*h = (struct held){q, query};
	q->pending = h;
	ntm_direct(ntm_dnsstub_node(q->stub), name, NULL, 0, on_direction, h);
}

void ntm_dnszone_cancel(struct ntm_dns_query *q)
{
	struct held *h = q->pending;

	/* A forwarded query keeps its own things there; a held one has its direction's. */
	if (!h || !q->held)
		return;
	ntm_direct_forget(ntm_dnsstub_node(q->stub), h);
	ldns_pkt_free(h->pkt);
	free(h);
	q->pending = NULL;
}

/* Presentation form without the trailing dot. False: too long, or of bytes that no name of ours has. */
static bool presentation(const ldns_rdf *owner, char out[NTM_NAME_MAX + 1])
{
	const uint8_t *d = ldns_rdf_data(owner);
	size_t left = ldns_rdf_size(owner), n = 0;

	while (left && *d) {
		size_t label = *d++;

		left--;
		if (label > left || n + label + 1 > NTM_NAME_MAX)
			return false;
		if (n)
			out[n++] = '.';
		for (size_t i = 0; i < label; i++, d++) {
			if (*d <= ' ' || *d > '~' || *d == '.' || *d == '\\')
				return false;
			out[n++] = (char)(*d >= 'A' && *d <= 'Z' ? *d + 32 : *d);
		}
		left -= label;
	}
	out[n] = 0;
	return true;
}

/* name under zone: what is before it, "" for the zone itself; NULL: outside. Writes a NUL into name. */
static char *within(char *name, const char *zone)
{
	size_t len = strlen(name), zlen = strlen(zone);

	if (!zlen || len < zlen || strcasecmp(name + len - zlen, zone))
		return NULL;
	if (len == zlen)
		return name + len;
	if (name[len - zlen - 1] != '.')
		return NULL;
	return name;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The address of a whole reverse name; false: not one. */
static bool reverse_address(const char *name, uint8_t ip[16])
{
	static const char v4[] = ".in-addr.arpa", v6[] = ".ip6.arpa";
	size_t len = strlen(name);
	unsigned b[4];
	int end = 0;

	if (len == 63 + sizeof(v6) - 1 && !strcmp(name + 63, v6)) {
		for (unsigned i = 0; i < 32; i++) {
			int v = nibble(name[2 * (31 - i)]);

			if (v < 0 || (i < 31 && name[2 * (31 - i) - 1] != '.'))
				return false;
			ip[i / 2] = (uint8_t)(i % 2 ? ip[i / 2] | v : v << 4);
		}
		return true;
	}
	if (len <= sizeof(v4) - 1 || strcmp(name + len - (sizeof(v4) - 1), v4) ||
	    sscanf(name, "%3u.%3u.%3u.%3u%n", &b[3], &b[2], &b[1], &b[0], &end) != 4 ||
	    (size_t)end != len - (sizeof(v4) - 1))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (b[i] > 255)
			return false;
	ntm_ip_from_v4(ip, (uint8_t[]){(uint8_t)b[0], (uint8_t)b[1], (uint8_t)b[2], (uint8_t)b[3]});
	return true;
}

/* Reverse names of virtual addresses would leak to upstreams, which know nothing of them. */
static bool reverse(struct ntm_dns_query *q, ldns_pkt *query, const char *name)
{
	struct ntm_node *n = ntm_dnsstub_node(q->stub);
	ldns_rr_type type = ldns_rr_get_type(ldns_rr_list_rr(ldns_pkt_question(query), 0));
	const char *answer = NULL;
	struct ntm_tunnel *t;
	uint8_t ip[16];

	if (!reverse_address(name, ip) || !ntm_node_is_virtual(n, ip))
		return false;
	if (!memcmp(ip, n->id.addrs.vip6, 16) || (ntm_ip_is_v4(ip) && !memcmp(ip + 12, n->id.addrs.vip4, 4))) {
		answer = n->id.fqdn;
	} else {
		t = ntm_tunnel_by_vip(ntm_dnsstub_node(q->stub), ip);
		if (t && t->name[0])
			answer = t->name;
	}
	if (!answer)
		finish(q, query, LDNS_RCODE_NXDOMAIN, NULL);
	else if (type != LDNS_RR_TYPE_PTR)
		finish(q, query, LDNS_RCODE_NOERROR, NULL);
	else
		finish(q, query, LDNS_RCODE_NOERROR,
		       record(query, type, ldns_rdf_new_frm_str(LDNS_RDF_TYPE_DNAME, answer)));
	return true;
}

static bool zone(struct ntm_dns_query *q, ldns_pkt *query, char *name)
{
	struct ntm_node *n = ntm_dnsstub_node(q->stub);
	const char *of = n->id.zone;
	char *in = n->id.known ? within(name, of) : NULL;

	for (unsigned i = 0; !in && n->id.known && i < n->id.addrs.n_peers; i++) {
		of = n->id.peer_zones[i];
		in = within(name, of);
	}

	if (!in)
		return false;
	if (!*in) { /* the zone itself exists, and has no addresses */
		finish(q, query, LDNS_RCODE_NOERROR, NULL);
	} else if (!strcasecmp(name, n->id.fqdn)) {
		answer_addresses(q, query, n->id.addrs.vip4, n->id.addrs.vip6);
	} else if (strlen(name) - strlen(of) - 1 > NTM_LABEL_MAX || memchr(name, '.', strlen(name) - strlen(of) - 1)) {
		finish(q, query, LDNS_RCODE_NXDOMAIN, NULL); /* nodes are one label */
	} else {
		q->held = true;
		hold(q, query, name);
		return true;
	}
	ldns_pkt_free(query);
	return true;
}

bool ntm_dnszone_query(struct ntm_dns_query *q)
{
	ldns_pkt *query = NULL;
	const ldns_rr *question;
	char name[NTM_NAME_MAX + 1];

	if (ntm_dnsforward_verbatim(q))
		return false;
	if (ldns_wire2pkt(&query, q->wire, q->len) != LDNS_STATUS_OK) {
		ntm_dns_reply_rcode(q, LDNS_RCODE_FORMERR);
		return true;
	}
	if (ldns_pkt_get_opcode(query) != LDNS_PACKET_QUERY || ldns_pkt_qdcount(query) != 1) {
		unsigned rcode =
		    ldns_pkt_get_opcode(query) == LDNS_PACKET_QUERY ? LDNS_RCODE_FORMERR : LDNS_RCODE_NOTIMPL;

		ldns_pkt_free(query);
		ntm_dns_reply_rcode(q, rcode);
		return true;
	}
	question = ldns_rr_list_rr(ldns_pkt_question(query), 0);
	if (ldns_rr_get_class(question) == LDNS_RR_CLASS_IN && presentation(ldns_rr_owner(question), name)) {
		if (zone(q, query, name))
			return true;
		if (reverse(q, query, name)) {
			ldns_pkt_free(query);
			return true;
		}
	}
	ldns_pkt_free(query);
	return false;
}
