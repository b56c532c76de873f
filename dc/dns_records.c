/* SPDX-License-Identifier: BSD-2-Clause */
/* What records a name has. */
#include <errno.h>
#include <string.h>

#include "dns_zone.h"

/* Adds an RR of the rdata given, which it takes in any case; a NULL among them: no memory. */
static int push(ldns_rr_list *out, const ldns_rdf *owner, ldns_rr_type type, uint32_t ttl, ldns_rdf **rdata, size_t n)
{
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *name = ldns_rdf_clone(owner);
	bool failed = !rr || !name;

	for (size_t i = 0; i < n; i++)
		failed = failed || !rdata[i];
	if (failed) {
		for (size_t i = 0; i < n; i++)
			ldns_rdf_deep_free(rdata[i]);
		ldns_rdf_deep_free(name);
		ldns_rr_free(rr);
		return -ENOMEM;
	}
	ldns_rr_set_owner(rr, name);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_ttl(rr, ttl);
	for (size_t i = 0; i < n; i++)
		failed = !ldns_rr_push_rdf(rr, rdata[i]) || failed;
	if (failed || !ldns_rr_list_push_rr(out, rr)) {
		ldns_rr_free(rr);
		return -ENOMEM;
	}
	return 0;
}

static ldns_rdf *integer16(uint16_t v)
{
	return ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, v);
}

static ldns_rdf *integer32(uint32_t v)
{
	return ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, v);
}

static int push_ip(ldns_rr_list *out, const ldns_rdf *owner, const uint8_t ip[16], uint32_t ttl)
{
	bool v4 = ntm_ip_is_v4(ip);
	ldns_rdf *rdata =
	    v4 ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_A, 4, ip + 12) : ldns_rdf_new_frm_data(LDNS_RDF_TYPE_AAAA, 16, ip);

	return push(out, owner, v4 ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA, ttl, &rdata, 1);
}

/* A wildcard address is where a server listens, not where it is. */
static bool is_somewhere(const uint8_t ip[16])
{
	uint8_t any4[16], zero[4] = {0};

	ntm_ip_from_v4(any4, zero);
	return !ntm_ip_is_zero(ip) && memcmp(ip, any4, 16) != 0;
}

static bool wants(ldns_rr_type asked, ldns_rr_type type)
{
	return asked == type || asked == LDNS_RR_TYPE_ANY;
}

static int server_records(const struct ntm_addr *a, size_t n, const ldns_rdf *owner, ldns_rr_type type,
			  ldns_rr_list *out)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		bool said = !is_somewhere(a[i].ip);

		for (size_t j = 0; j < i; j++) /* on two ports */
			said = said || !memcmp(a[i].ip, a[j].ip, 16);
		if (!said && wants(type, ntm_ip_is_v4(a[i].ip) ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA))
			err = push_ip(out, owner, a[i].ip, NTM_DNS_APEX_TTL_S);
	}
	return err;
}

int ntm_dns_soa(const struct ntm_dns_zone *z, const ldns_rdf *apex, uint32_t ttl, ldns_rr_list *out)
{
	/* refresh, retry, expire, minimum: RFC 1035 3.3.13, RFC 2308 4 */
	ldns_rdf *rdata[] = {
	    ldns_rdf_clone(z->ns),
	    ldns_rdf_clone(z->hostmaster),
	    integer32(z->source.serial(z->source.arg)),
	    integer32(300),
	    integer32(60),
	    integer32(604800),
	    integer32(NTM_DNS_NEGATIVE_TTL_S),
	};

	return push(out, apex, LDNS_RR_TYPE_SOA, ttl, rdata, sizeof(rdata) / sizeof(rdata[0]));
}

static int apex_records(const struct ntm_dns_zone *z, const ldns_rdf *owner, ldns_rr_type type, ldns_rr_list *out)
{
	int err = 0;

	if (wants(type, LDNS_RR_TYPE_SOA))
		err = ntm_dns_soa(z, owner, NTM_DNS_APEX_TTL_S, out);
	if (!err && wants(type, LDNS_RR_TYPE_NS)) {
		ldns_rdf *ns = ldns_rdf_clone(z->ns);

		err = push(out, owner, LDNS_RR_TYPE_NS, NTM_DNS_APEX_TTL_S, &ns, 1);
	}
	return err;
}

static int push_srv(const struct ntm_dns_zone *z, const ldns_rdf *owner, ldns_rr_list *out)
{
	int err = 0;

	for (size_t i = 0; !err && i < z->s.n_dc; i++) {
		ldns_rdf *rdata[4];
		bool said = false;

		for (size_t j = 0; j < i; j++)
			said = said || z->s.dc[i].port == z->s.dc[j].port;
		if (said)
			continue;
		rdata[0] = integer16(0);
		rdata[1] = integer16(0);
		rdata[2] = integer16(ntohs(z->s.dc[i].port));
		rdata[3] = ldns_rdf_clone(z->dc);
		err = push(out, owner, LDNS_RR_TYPE_SRV, NTM_DNS_APEX_TTL_S, rdata, 4);
	}
	return err;
}

static void put(uint8_t **p, const void *data, size_t len)
{
	memcpy(*p, data, len);
	*p += len;
}

static void put_addr(uint8_t **p, const struct ntm_addr *a, bool v4)
{
	put(p, a->ip + (v4 ? 12 : 0), v4 ? 4 : 16);
	put(p, &a->port, 2);
}

static struct ntm_addr dc_address(const struct ntm_dns_zone *z, bool v4)
{
	for (size_t i = 0; i < z->s.n_dc; i++) {
		if (ntm_ip_is_v4(z->s.dc[i].ip) == v4 && is_somewhere(z->s.dc[i].ip))
			return z->s.dc[i];
	}
	return (struct ntm_addr){0};
}

static int push_ntm(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner, bool v4,
		    ldns_rr_list *out)
{
	static const struct ntm_addr none;
	const struct ntm_addr *real = v4 ? &node->real4 : &node->real6, *nat = v4 ? &node->nat4 : &node->nat6;
	const struct ntm_addr dc = dc_address(z, v4);
	uint8_t data[NTM_DNS_WIRE_MAX + 4 * sizeof(struct ntm_addr)], *p = data;
	size_t label = strlen(node->label);
	ldns_rdf *rdata;

	if (1 + label + ldns_rdf_size(z->origin) > NTM_DNS_WIRE_MAX)
		return 0;
	*p++ = (uint8_t)label;
	put(&p, node->label, label);
	put(&p, ldns_rdf_data(z->origin), ldns_rdf_size(z->origin));
	put_addr(&p, node->online ? real : &none, v4);
	put(&p, v4 ? node->vip4 : node->vip6, v4 ? 4 : 16);
	put_addr(&p, node->online ? nat : &none, v4);
	put_addr(&p, &dc, v4);
	rdata = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN, (size_t)(p - data), data);
	return push(out, owner, (ldns_rr_type)(v4 ? NTM_DNS_TYPE_NTM4 : NTM_DNS_TYPE_NTM6), NTM_DNS_REAL_TTL_S, &rdata,
		    1);
}

static int virtual_records(const struct ntm_dns_node *node, const ldns_rdf *owner, ldns_rr_type type, ldns_rr_list *out)
{
	uint8_t ip4[16];
	int err = 0;

	ntm_ip_from_v4(ip4, node->vip4);
	if (wants(type, LDNS_RR_TYPE_A))
		err = push_ip(out, owner, ip4, NTM_DNS_TTL_S);
	if (!err && wants(type, LDNS_RR_TYPE_AAAA))
		err = push_ip(out, owner, node->vip6, NTM_DNS_TTL_S);
	return err;
}

static int real_records(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner,
			ldns_rr_type type, ldns_rr_list *out)
{
	const struct ntm_addr *seen[] = {
	    node->nat4.port ? &node->nat4 : &node->real4,
	    node->nat6.port ? &node->nat6 : &node->real6,
	};
	int err = 0;

	for (int i = 0; !err && i < 2; i++) {
		if (node->online && seen[i]->port && wants(type, i ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A))
			err = push_ip(out, owner, seen[i]->ip, NTM_DNS_REAL_TTL_S);
	}
	if (!err && wants(type, (ldns_rr_type)NTM_DNS_TYPE_NTM4))
		err = push_ntm(z, node, owner, true, out);
	if (!err && wants(type, (ldns_rr_type)NTM_DNS_TYPE_NTM6))
		err = push_ntm(z, node, owner, false, out);
	return err;
}

int ntm_dns_node_records(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner,
			 ldns_rr_type type, ldns_rr_list *out, bool *exists)
{
	*exists = z->s.publish != NTM_DNS_NONE;
	switch (z->s.publish) {
	case NTM_DNS_VIRTUAL:
		return virtual_records(node, owner, type, out);
	case NTM_DNS_REAL:
		return real_records(z, node, owner, type, out);
	case NTM_DNS_NONE:
		break;
	}
	return 0;
}

int ntm_dns_ptr(const struct ntm_dns_zone *z, const struct ntm_dns_node *node, const ldns_rdf *owner, ldns_rr_list *out)
{
	ldns_rdf *name = ntm_dns_node_name(z, node->label);

	return push(out, owner, LDNS_RR_TYPE_PTR, NTM_DNS_TTL_S, &name, 1);
}

static int node_at(const struct ntm_dns_zone *z, const struct ntm_dns_spot *at, const ldns_rdf *owner,
		   ldns_rr_type type, ldns_rr_list *out, bool *exists)
{
	const struct ntm_dns_source *src = &z->source;
	struct ntm_dns_node node;
	int err = 0;

	*exists = false;
	if (z->s.publish == NTM_DNS_NONE)
		return 0;
	if (at->place == NTM_DNS_AT_NODE)
		err = src->by_label(src->arg, at->label, &node);
	else
		err = src->by_address(src->arg, at->net.ip, &node);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (at->place == NTM_DNS_AT_NODE)
		return ntm_dns_node_records(z, &node, owner, type, out, exists);
	*exists = true;
	return wants(type, LDNS_RR_TYPE_PTR) ? ntm_dns_ptr(z, &node, owner, out) : 0;
}

int ntm_dns_records(const struct ntm_dns_zone *z, const struct ntm_dns_spot *at, const ldns_rdf *owner,
		    ldns_rr_type type, ldns_rr_list *out, bool *exists)
{
	*exists = true;
	switch (at->place) {
	case NTM_DNS_APEX:
	case NTM_DNS_REVERSE_APEX:
		return apex_records(z, owner, type, out);
	case NTM_DNS_AT_NODE:
	case NTM_DNS_AT_PTR:
		return node_at(z, at, owner, type, out, exists);
	case NTM_DNS_AT_DC:
		return server_records(z->s.dc, z->s.n_dc, owner, type, out);
	case NTM_DNS_AT_NS:
		return server_records(z->s.ns, z->s.n_ns, owner, type, out);
	case NTM_DNS_AT_SRV:
		return wants(type, LDNS_RR_TYPE_SRV) ? push_srv(z, owner, out) : 0;
	case NTM_DNS_EMPTY:
		return 0;
	case NTM_DNS_OUTSIDE:
	case NTM_DNS_NOWHERE:
		break;
	}
	*exists = false;
	return 0;
}
