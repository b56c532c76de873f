/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_plain.h"

#include <string.h>

enum { RD = 0x01, CD = 0x10, DO = 0x80 };

static unsigned word(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* So few types that all answers to one name can be looked through (dns_cache.h). */
static bool is_usual(unsigned type)
{
	switch (type) {
	case LDNS_RR_TYPE_A:
	case LDNS_RR_TYPE_NS:
	case LDNS_RR_TYPE_SOA:
	case LDNS_RR_TYPE_PTR:
	case LDNS_RR_TYPE_MX:
	case LDNS_RR_TYPE_TXT:
	case LDNS_RR_TYPE_AAAA:
	case LDNS_RR_TYPE_SRV:
	case LDNS_RR_TYPE_HTTPS:
	case NTM_DNS_TYPE_NTM4:
	case NTM_DNS_TYPE_NTM6:
		return true;
	default:
		return false;
	}
}

/* Name, type and class at query + *at, which moves behind them. */
static bool read_question(struct ntm_dns_plain *p, const uint8_t *query, size_t len, size_t *at)
{
	const uint8_t *name = query + *at;
	size_t left = len - *at, n = 0;

	while (n < left && name[n]) {
		size_t size = name[n];

		if (size > NTM_LABEL_MAX || n + 1 + size >= left || n + 1 + size >= NTM_DNS_WIRE_MAX)
			return false;
		p->question[n++] = (uint8_t)size;
		for (; size; size--, n++)
			p->question[n] = name[n] >= 'A' && name[n] <= 'Z' ? name[n] | 0x20 : name[n];
	}
	if (n + 1 + 4 > left)
		return false;
	memcpy(p->question + n, name + n, 1 + 4);
	p->name_len = n + 1;
	p->len = p->name_len + 4;
	p->type = word(name + p->name_len);
	*at += p->len;
	return word(name + p->name_len + 2) == LDNS_RR_CLASS_IN && is_usual(p->type);
}

/* RFC 6891 6.1.2; what is in its options is not looked at. */
static bool read_opt(struct ntm_dns_plain *p, const uint8_t *opt, size_t len)
{
	size_t offered;

	if (len < NTM_DNS_OPT_LEN || opt[0] || word(opt + 1) != LDNS_RR_TYPE_OPT || opt[6] ||
	    word(opt + 9) != len - NTM_DNS_OPT_LEN)
		return false;
	offered = word(opt + 3);
	p->edns = true;
	p->dnssec_ok = opt[7] & DO;
	if (offered > NTM_DNS_UDP_PLAIN)
		p->udp_limit = offered < NTM_DNS_UDP_MAX ? offered : NTM_DNS_UDP_MAX;
	return true;
}

bool ntm_dns_plain_read(struct ntm_dns_plain *p, const uint8_t *query, size_t len)
{
	size_t at = NTM_DNS_HEADER;

	p->edns = p->dnssec_ok = false;
	p->udp_limit = NTM_DNS_UDP_PLAIN;
	if (len < NTM_DNS_HEADER || query[2] & ~RD || word(query + 4) != 1 || word(query + 6) || word(query + 8) ||
	    word(query + 10) > 1 || !read_question(p, query, len, &at))
		return false;
	return word(query + 10) ? read_opt(p, query + at, len - at) : at == len;
}

size_t ntm_dns_plain_bare(const struct ntm_dns_plain *p, uint8_t out[NTM_DNS_HEADER + NTM_DNS_WIRE_MAX + 4])
{
	memset(out, 0, NTM_DNS_HEADER);
	out[5] = 1;
	memcpy(out + NTM_DNS_HEADER, p->question, p->len);
	return NTM_DNS_HEADER + p->len;
}

size_t ntm_dns_plain_dress(const struct ntm_dns_plain *p, const uint8_t *query, const uint8_t *bare, size_t len,
			   uint8_t *out, size_t cap)
{
	if (len + (p->edns ? NTM_DNS_OPT_LEN : 0) > cap)
		return 0;
	memcpy(out, bare, len);
	memcpy(out, query, 2);
	out[2] |= query[2] & RD;
	out[3] |= query[3] & CD;
	memcpy(out + NTM_DNS_HEADER, query + NTM_DNS_HEADER, p->len);
	if (p->edns) {
		const uint8_t opt[NTM_DNS_OPT_LEN] = {
		    0, 0, LDNS_RR_TYPE_OPT, NTM_DNS_UDP_MAX >> 8, NTM_DNS_UDP_MAX & 255, 0, 0, p->dnssec_ok ? DO : 0,
		};

		memcpy(out + len, opt, sizeof(opt));
		len += sizeof(opt);
		out[11]++; /* the answer to a bare query has room for 40 records at most */
	}
	return len;
}
