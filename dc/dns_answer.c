/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dns_answer_int.h"

enum {
	FLAG_QR = 0x80,
	FLAG_TC = 0x02,
	KEPT_FLAGS = 0x79,  /* opcode and RD */
	ADDITIONAL_MAX = 8, /* OPT, and what others may add that we ignore */
};

struct ntm_dns_answerer *ntm_dns_answerer_new(const struct ntm_dns_zone *z, size_t cache)
{
	struct ntm_dns_answerer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->z = z;
	a->wire = ldns_buffer_new(NTM_DNS_TCP_MAX);
	a->cache = cache ? ntm_dns_cache_new(cache) : NULL;
	if (!a->wire || (cache && !a->cache)) {
		ntm_dns_answerer_free(a);
		return NULL;
	}
	return a;
}

void ntm_dns_answerer_free(struct ntm_dns_answerer *a)
{
	if (!a)
		return;
	ldns_buffer_free(a->wire);
	ntm_dns_cache_free(a->cache);
	free(a);
}

uint64_t ntm_dns_answerer_hits(const struct ntm_dns_answerer *a)
{
	return a->hits;
}

void ntm_dns_answerer_forget(struct ntm_dns_answerer *a, const char *label, const uint8_t vip4[4],
			     const uint8_t vip6[16])
{
	uint8_t name[1 + NTM_LABEL_MAX + NTM_DNS_WIRE_MAX], ip4[16];
	size_t n = strlen(label);

	if (!a->cache || n > NTM_LABEL_MAX)
		return;
	name[0] = (uint8_t)n;
	memcpy(name + 1, label, n);
	memcpy(name + 1 + n, ldns_rdf_data(a->z->origin), ldns_rdf_size(a->z->origin));
	ntm_dns_cache_forget(a->cache, name, 1 + n + ldns_rdf_size(a->z->origin));
	ntm_ip_from_v4(ip4, vip4);
	ntm_dns_cache_forget(a->cache, name, ntm_dns_reverse_name(ip4, name));
	ntm_dns_cache_forget(a->cache, name, ntm_dns_reverse_name(vip6, name));
}

void ntm_dns_answerer_forget_all(struct ntm_dns_answerer *a)
{
	if (a->cache)
		ntm_dns_cache_clear(a->cache);
}

static unsigned word(const uint8_t *query, size_t at)
{
	return (unsigned)query[at] << 8 | query[at + 1];
}

/* The shortest response: a header. */
static size_t answer_short(const uint8_t *query, ldns_pkt_rcode rcode, uint8_t *out)
{
	memset(out, 0, NTM_DNS_HEADER);
	memcpy(out, query, 2);
	out[2] = (uint8_t)((query[2] & KEPT_FLAGS) | FLAG_QR);
	out[3] = (uint8_t)rcode;
	return NTM_DNS_HEADER;
}

size_t ntm_dns_answer_truncated(const uint8_t *query, size_t len, uint8_t *out)
{
	size_t end = NTM_DNS_HEADER;

	if (len < NTM_DNS_HEADER || query[2] & FLAG_QR || query[2] >> 3 & 15 || word(query, 4) != 1)
		return 0;
	while (end < len && query[end] && query[end] <= NTM_LABEL_MAX)
		end += 1U + query[end];
	end += 1 + 4; /* root, type, class */
	if (end > len || query[end - 5] || end > NTM_DNS_HEADER + NTM_DNS_WIRE_MAX + 4)
		return 0;
	answer_short(query, LDNS_RCODE_NOERROR, out);
	out[2] |= FLAG_TC;
	out[5] = 1;
	memcpy(out + NTM_DNS_HEADER, query + NTM_DNS_HEADER, end - NTM_DNS_HEADER);
	return end;
}

ldns_pkt *ntm_dns_response(const ldns_pkt *query, bool with_question)
{
	ldns_pkt *r = ldns_pkt_new();
	ldns_rr *question = with_question ? ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(query), 0)) : NULL;

	if (!r || (with_question && (!question || !ldns_pkt_push_rr(r, LDNS_SECTION_QUESTION, question)))) {
		ldns_rr_free(question);
		ldns_pkt_free(r);
		return NULL;
	}
	ldns_pkt_set_id(r, ldns_pkt_id(query));
	ldns_pkt_set_qr(r, true);
	ldns_pkt_set_aa(r, true);
	ldns_pkt_set_rd(r, ldns_pkt_rd(query));
	ldns_pkt_set_cd(r, ldns_pkt_cd(query));
	return r;
}

size_t ntm_dns_encode(struct ntm_dns_answerer *a, ldns_pkt *r, uint8_t *out, size_t limit)
{
	size_t len;

	ldns_pkt_set_ancount(r, (uint16_t)ldns_rr_list_rr_count(ldns_pkt_answer(r)));
	ldns_pkt_set_nscount(r, (uint16_t)ldns_rr_list_rr_count(ldns_pkt_authority(r)));
	ldns_pkt_set_arcount(r, (uint16_t)ldns_rr_list_rr_count(ldns_pkt_additional(r)));
	ldns_buffer_clear(a->wire);
	if (ldns_pkt2buffer_wire(a->wire, r) != LDNS_STATUS_OK)
		return 0;
	len = ldns_buffer_position(a->wire);
	if (len > limit)
		return 0;
	memcpy(out, ldns_buffer_begin(a->wire), len);
	return len;
}

ldns_rdf *ntm_dns_apex_of(const ldns_rdf *owner, const struct ntm_dns_spot *at)
{
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, ldns_rdf_size(owner) - at->apex,
				     ldns_rdf_data(owner) + at->apex);
}

static bool is_transfer(ldns_rr_type type)
{
	return type == LDNS_RR_TYPE_AXFR || type == LDNS_RR_TYPE_IXFR;
}

/* No data (RFC 6895 3.1). */
static bool is_meta(unsigned type)
{
	return type >= 128 && type <= 255;
}

/* What is wrong with a query before one looks at its name; NOERROR if nothing. */
static ldns_pkt_rcode check(const ldns_pkt *q, size_t n_opt, bool *badvers)
{
	const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(q), 0);
	ldns_rr_type type = ldns_rr_get_type(question);

	*badvers = n_opt && ldns_pkt_edns_version(q) > 0;
	if (n_opt > 1 || type == 0 || type == LDNS_RR_TYPE_OPT) /* RFC 6891 6.1.1 */
		return LDNS_RCODE_FORMERR;
	if (*badvers)
		return LDNS_RCODE_NOERROR;
	if (ldns_rr_get_class(question) != LDNS_RR_CLASS_IN)
		return LDNS_RCODE_REFUSED;
	if (is_meta(type) && type != LDNS_RR_TYPE_ANY && !is_transfer(type))
		return LDNS_RCODE_NOTIMPL;
	/* only an IXFR says which version it has */
	if (ldns_pkt_nscount(q) && type != LDNS_RR_TYPE_IXFR)
		return LDNS_RCODE_FORMERR;
	return LDNS_RCODE_NOERROR;
}

/* RFC 8482 4.1: one RRset is answer enough. */
static void keep_first_rrset(ldns_rr_list *l)
{
	while (ldns_rr_list_rr_count(l) > 1) {
		const ldns_rr *last = ldns_rr_list_rr(l, ldns_rr_list_rr_count(l) - 1);

		if (ldns_rr_get_type(last) == ldns_rr_get_type(ldns_rr_list_rr(l, 0)))
			return;
		ldns_rr_free(ldns_rr_list_pop_rr(l));
	}
}

/* Addresses of the servers that an answer names. */
static int add_glue(const struct ntm_dns_zone *z, ldns_pkt *r)
{
	const ldns_rr *first = ldns_rr_list_rr(ldns_pkt_answer(r), 0);
	ldns_rr_type type = first ? ldns_rr_get_type(first) : 0;
	struct ntm_dns_spot at = {.place = type == LDNS_RR_TYPE_NS ? NTM_DNS_AT_NS : NTM_DNS_AT_DC};
	bool exists;

	if (type != LDNS_RR_TYPE_NS && type != LDNS_RR_TYPE_SRV)
		return 0;
	return ntm_dns_records(z, &at, type == LDNS_RR_TYPE_NS ? z->ns : z->dc, LDNS_RR_TYPE_ANY,
			       ldns_pkt_additional(r), &exists);
}

/* RFC 2308 3: the SOA, with the time that "no" may be remembered. */
static int add_negative(const struct ntm_dns_zone *z, const ldns_rdf *owner, const struct ntm_dns_spot *at, ldns_pkt *r)
{
	ldns_rdf *apex = ntm_dns_apex_of(owner, at);
	int err = apex ? ntm_dns_soa(z, apex, NTM_DNS_NEGATIVE_TTL_S, ldns_pkt_authority(r)) : -ENOMEM;

	ldns_rdf_deep_free(apex);
	return err;
}

/* Fills r with the answer. 0 or -errno: it cannot be known now. */
static int resolve(const struct ntm_dns_zone *z, const ldns_rr *question, const struct ntm_dns_spot *at, ldns_pkt *r)
{
	ldns_rr_type type = ldns_rr_get_type(question);
	const ldns_rdf *owner = ldns_rr_owner(question);
	bool exists;
	int err = ntm_dns_records(z, at, owner, type == LDNS_RR_TYPE_IXFR ? LDNS_RR_TYPE_SOA : type, ldns_pkt_answer(r),
				  &exists);

	if (err)
		return err;
	if (type == LDNS_RR_TYPE_ANY)
		keep_first_rrset(ldns_pkt_answer(r));
	if (!exists)
		ldns_pkt_set_rcode(r, LDNS_RCODE_NXDOMAIN);
	return ldns_rr_list_rr_count(ldns_pkt_answer(r)) ? add_glue(z, r) : add_negative(z, owner, at, r);
}

static void empty(ldns_rr_list *l)
{
	while (ldns_rr_list_rr_count(l))
		ldns_rr_free(ldns_rr_list_pop_rr(l));
}

static void fail(ldns_pkt *r, ldns_pkt_rcode rcode)
{
	empty(ldns_pkt_answer(r));
	empty(ldns_pkt_authority(r));
	empty(ldns_pkt_additional(r));
	ldns_pkt_set_rcode(r, rcode);
	ldns_pkt_set_aa(r, false);
}

/* What does not fit is left out: first what nobody asked for, then all of it (RFC 2181 9). */
static size_t finish(struct ntm_dns_answerer *a, ldns_pkt *r, uint8_t *out, size_t limit)
{
	size_t len = ntm_dns_encode(a, r, out, limit);

	if (!len && ldns_rr_list_rr_count(ldns_pkt_additional(r))) {
		empty(ldns_pkt_additional(r));
		len = ntm_dns_encode(a, r, out, limit);
	}
	if (!len) {
		empty(ldns_pkt_answer(r));
		empty(ldns_pkt_authority(r));
		ldns_pkt_set_tc(r, true);
		len = ntm_dns_encode(a, r, out, limit);
	}
	return len;
}

static size_t udp_limit(const ldns_pkt *q, bool edns)
{
	size_t offered = edns ? ldns_pkt_edns_udp_size(q) : NTM_DNS_UDP_PLAIN;

	if (offered < NTM_DNS_UDP_PLAIN)
		return NTM_DNS_UDP_PLAIN;
	return offered > NTM_DNS_UDP_MAX ? NTM_DNS_UDP_MAX : offered;
}

/* r's contents, by what was asked. True: no response, a transfer begins. */
static bool fill(struct ntm_dns_answerer *a, const struct ntm_dns_client *from, const ldns_pkt *q, size_t n_opt,
		 ldns_pkt *r)
{
	const ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(q), 0);
	ldns_rr_type type = ldns_rr_get_type(question);
	struct ntm_dns_spot at;
	bool badvers;
	ldns_pkt_rcode rcode = check(q, n_opt, &badvers);

	if (n_opt) {
		ldns_pkt_set_edns_udp_size(r, NTM_DNS_UDP_MAX);
		ldns_pkt_set_edns_do(r, ldns_pkt_edns_do(q)); /* RFC 3225 3 */
	}
	if (badvers && rcode == LDNS_RCODE_NOERROR) {
		ldns_pkt_set_edns_extended_rcode(r, 1); /* BADVERS is 16 */
		ldns_pkt_set_aa(r, false);
		return false;
	}
	ntm_dns_locate(a->z, ldns_rdf_data(ldns_rr_owner(question)), ldns_rdf_size(ldns_rr_owner(question)), &at);
	if (rcode == LDNS_RCODE_NOERROR && at.place == NTM_DNS_OUTSIDE)
		rcode = LDNS_RCODE_REFUSED;
	if (rcode == LDNS_RCODE_NOERROR && is_transfer(type)) {
		bool apex = at.place == NTM_DNS_APEX || at.place == NTM_DNS_REVERSE_APEX;

		if (!ntm_dns_may_transfer(a->z, from->ip) || (!from->tcp && type == LDNS_RR_TYPE_AXFR))
			rcode = LDNS_RCODE_REFUSED;
		else if (!apex)
			rcode = LDNS_RCODE_NOTAUTH; /* RFC 5936 2.2.1 */
		else if (from->tcp)
			return true;
		/* an IXFR over UDP gets the SOA alone: come by TCP (RFC 1995 2) */
	}
	if (rcode != LDNS_RCODE_NOERROR)
		fail(r, rcode);
	else if (resolve(a->z, question, &at, r))
		fail(r, LDNS_RCODE_SERVFAIL);
	return false;
}

/* As ntm_dns_answer(), from what the zone's source says now. */
static size_t answer_now(struct ntm_dns_answerer *a, const struct ntm_dns_client *from, const uint8_t *query,
			 size_t len, uint8_t *out, size_t cap, bool *transfer)
{
	size_t limit = from->tcp ? NTM_DNS_TCP_MAX : NTM_DNS_UDP_PLAIN, n_opt, answered = 0;
	ldns_pkt *q = NULL, *r;

	*transfer = false;
	if (len < NTM_DNS_HEADER || query[2] & FLAG_QR || cap < NTM_DNS_HEADER)
		return 0;
	if ((query[2] >> 3 & 15) != LDNS_PACKET_QUERY)
		return answer_short(query, LDNS_RCODE_NOTIMPL, out);
	/* one question, no answers; authority: of an IXFR only */
	if (word(query, 4) != 1 || word(query, 6) || word(query, 8) > 1 || word(query, 10) > ADDITIONAL_MAX ||
	    query[2] & FLAG_TC || ldns_wire2pkt(&q, query, len) != LDNS_STATUS_OK)
		return answer_short(query, LDNS_RCODE_FORMERR, out);
	n_opt = word(query, 10) - ldns_pkt_arcount(q);
	r = ntm_dns_response(q, true);
	if (r) {
		*transfer = fill(a, from, q, n_opt, r);
		if (!from->tcp)
			limit = udp_limit(q, n_opt > 0);
		if (!*transfer)
			answered = finish(a, r, out, limit < cap ? limit : cap);
	}
	ldns_pkt_free(q);
	ldns_pkt_free(r);
	if (!answered && !*transfer)
		return answer_short(query, LDNS_RCODE_SERVFAIL, out);
	return answered;
}

/* How long a resolver may keep what is said of nodes. */
static uint32_t lifetime_s(const struct ntm_dns_zone *z, const uint8_t *answer)
{
	if (!word(answer, 6))
		return NTM_DNS_NEGATIVE_TTL_S;
	return z->s.publish == NTM_DNS_REAL ? NTM_DNS_REAL_TTL_S : NTM_DNS_TTL_S;
}

/* The answer to the bare query: a kept one, or made now and kept. False: it has none that all may have. */
static bool bare_answer(struct ntm_dns_answerer *a, const struct ntm_dns_plain *p, uint64_t now_ms,
			struct ntm_dns_cached *out)
{
	const struct ntm_dns_client nobody = {.tcp = true}; /* nothing is left out for want of room */
	uint32_t serial = a->z->source.serial(a->z->source.arg);
	uint8_t query[NTM_DNS_HEADER + NTM_DNS_WIRE_MAX + 4];
	bool transfer;
	unsigned rcode;

	if (ntm_dns_cache_find(a->cache, p, serial, now_ms, out)) {
		a->hits++;
		return true;
	}
	out->wire = a->bare;
	out->len = answer_now(a, &nobody, query, ntm_dns_plain_bare(p, query), a->bare, sizeof(a->bare), &transfer);
	rcode = out->len ? out->wire[3] & 15 : LDNS_RCODE_SERVFAIL;
	if (rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN)
		ntm_dns_cache_keep(a->cache, p, out, serial, now_ms, lifetime_s(a->z, out->wire) * 1000);
	return (rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN || rcode == LDNS_RCODE_REFUSED) &&
	       out->len <= NTM_DNS_CACHED_MAX;
}

size_t ntm_dns_answer(struct ntm_dns_answerer *a, const struct ntm_dns_client *from, const uint8_t *query, size_t len,
		      uint8_t *out, size_t cap, bool *transfer)
{
	struct ntm_dns_cached answer;
	struct ntm_dns_plain p;
	size_t limit, n;

	*transfer = false;
	if (a->cache && ntm_dns_plain_read(&p, query, len) && bare_answer(a, &p, from->now_ms, &answer)) {
		limit = from->tcp || p.udp_limit > cap ? cap : p.udp_limit;
		n = ntm_dns_plain_dress(&p, query, answer.wire, answer.len, out, limit);
		if (n)
			return n;
	}
	return answer_now(a, from, query, len, out, cap, transfer);
}
