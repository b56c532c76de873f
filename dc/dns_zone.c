/* SPDX-License-Identifier: BSD-2-Clause */
/* Which name is what. */
#include "dns_zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V4_OCTETS = 4, V6_NIBBLES = 32, LABELS_MAX = 128 };

static ldns_rdf *name_in(const struct ntm_dns_zone *z, const char *prefix)
{
	char text[2 * NTM_NAME_MAX];

	snprintf(text, sizeof(text), "%s%s.", prefix, z->s.zone);
	return strlen(text) > NTM_NAME_MAX + 1 ? NULL : ldns_rdf_new_frm_str(LDNS_RDF_TYPE_DNAME, text);
}

ldns_rdf *ntm_dns_node_name(const struct ntm_dns_zone *z, const char *label)
{
	char prefix[NTM_LABEL_MAX + 2];

	snprintf(prefix, sizeof(prefix), "%s.", label);
	return name_in(z, prefix);
}

static int copy_addresses(struct ntm_dns_zone *z, const struct ntm_dns_settings *s)
{
	z->addrs = calloc(s->n_dc + s->n_ns + 1, sizeof(*z->addrs));
	z->prefixes = calloc(s->n_transfer + 1, sizeof(*z->prefixes));
	if (!z->addrs || !z->prefixes)
		return -ENOMEM;
	if (s->n_dc)
		memcpy(z->addrs, s->dc, s->n_dc * sizeof(*s->dc));
	if (s->n_ns)
		memcpy(z->addrs + s->n_dc, s->ns, s->n_ns * sizeof(*s->ns));
	if (s->n_transfer)
		memcpy(z->prefixes, s->transfer, s->n_transfer * sizeof(*s->transfer));
	z->s.dc = z->addrs;
	z->s.ns = z->addrs + s->n_dc;
	z->s.transfer = z->prefixes;
	return 0;
}

int ntm_dns_zone_init(struct ntm_dns_zone *z, const struct ntm_dns_settings *s, const struct ntm_dns_source *source)
{
	int err;

	memset(z, 0, sizeof(*z));
	z->s = *s;
	z->source = *source;
	err = copy_addresses(z, s);
	if (!err) {
		z->origin = name_in(z, "");
		z->ns = name_in(z, "ns.");
		z->dc = name_in(z, "dc.");
		z->hostmaster = name_in(z, "hostmaster.");
		z->srv = name_in(z, "_ntm._udp.");
		if (!z->origin || !z->ns || !z->dc || !z->hostmaster || !z->srv)
			err = -EINVAL;
	}
	if (err)
		ntm_dns_zone_free(z);
	return err;
}

void ntm_dns_zone_free(struct ntm_dns_zone *z)
{
	ldns_rdf_deep_free(z->origin);
	ldns_rdf_deep_free(z->ns);
	ldns_rdf_deep_free(z->dc);
	ldns_rdf_deep_free(z->hostmaster);
	ldns_rdf_deep_free(z->srv);
	free(z->addrs);
	free(z->prefixes);
	memset(z, 0, sizeof(*z));
}

bool ntm_dns_reserved(const char *label)
{
	return !strcmp(label, "dc") || !strcmp(label, "ns");
}

bool ntm_dns_may_transfer(const struct ntm_dns_zone *z, const uint8_t ip[16])
{
	for (size_t i = 0; i < z->s.n_transfer; i++) {
		if (ntm_prefix_contains(&z->s.transfer[i], ip))
			return true;
	}
	return false;
}

unsigned ntm_dns_reverse_bits(const struct ntm_dns_zone *z, bool v4)
{
	return v4 ? (z->s.pool.v4.len - 96U + 7) / 8 * 8 : (z->s.pool.v6.len + 3U) / 4 * 4;
}

size_t ntm_dns_reverse_name(const uint8_t ip[16], uint8_t out[NTM_DNS_WIRE_MAX])
{
	static const char digits[] = "0123456789abcdef";
	bool v4 = ntm_ip_is_v4(ip);
	size_t n = 0;

	if (v4) {
		for (int i = 15; i >= 12; i--) {
			int len = snprintf((char *)out + n + 1, 4, "%u", ip[i]);

			out[n] = (uint8_t)len;
			n += 1 + (size_t)len;
		}
		memcpy(out + n, "\7in-addr\4arpa", 14);
		return n + 14;
	}
	for (int i = V6_NIBBLES - 1; i >= 0; i--) {
		out[n++] = 1;
		out[n++] = (uint8_t)digits[i % 2 ? ip[i / 2] & 15 : ip[i / 2] >> 4];
	}
	memcpy(out + n, "\3ip6\4arpa", 10);
	return n + 10;
}

/* A name cut into labels, lower case. */
struct labels {
	uint8_t wire[NTM_DNS_WIRE_MAX];
	uint8_t at[LABELS_MAX];
	size_t n, len;
};

static bool cut(struct labels *l, const uint8_t *name, size_t len)
{
	size_t pos = 0;

	l->n = 0;
	if (!len || len > sizeof(l->wire))
		return false;
	while (pos < len && name[pos]) {
		size_t size = name[pos];

		if (size > NTM_LABEL_MAX || pos + 1 + size >= len || l->n == LABELS_MAX)
			return false;
		l->at[l->n++] = (uint8_t)pos;
		l->wire[pos++] = (uint8_t)size;
		for (; size; size--, pos++)
			l->wire[pos] = name[pos] >= 'A' && name[pos] <= 'Z' ? name[pos] | 0x20 : name[pos];
	}
	if (pos + 1 != len)
		return false;
	l->wire[pos] = 0;
	l->len = len;
	return true;
}

/* How many labels stand before suffix; SIZE_MAX: it does not end so. */
static size_t labels_before(const struct labels *l, const uint8_t *suffix, size_t len)
{
	if (l->len < len || memcmp(l->wire + l->len - len, suffix, len))
		return SIZE_MAX;
	for (size_t i = 0; i < l->n; i++) {
		if (l->at[i] == l->len - len)
			return i;
	}
	return SIZE_MAX; /* a tail that only looks like it */
}

static bool label_is(const struct labels *l, size_t i, const char *text)
{
	return l->wire[l->at[i]] == strlen(text) && !memcmp(l->wire + l->at[i] + 1, text, strlen(text));
}

/* Only what could have been enrolled is looked up: whatever else is in a name never reaches the store. */
static bool node_label(const struct labels *l, char out[NTM_LABEL_MAX + 1])
{
	const uint8_t *d = l->wire + l->at[0];
	size_t len = *d++;

	for (size_t i = 0; i < len; i++) {
		bool inner = i && i + 1 < len;

		if (!((d[i] >= 'a' && d[i] <= 'z') || (d[i] >= '0' && d[i] <= '9') || (inner && d[i] == '-')))
			return false;
		out[i] = (char)d[i];
	}
	out[len] = 0;
	return true;
}

static void locate_name(const struct labels *l, size_t before, struct ntm_dns_spot *out)
{
	out->apex = l->at[before];
	out->place = NTM_DNS_NOWHERE;
	if (!before)
		out->place = NTM_DNS_APEX;
	else if (before == 2 && label_is(l, 0, "_ntm") && label_is(l, 1, "_udp"))
		out->place = NTM_DNS_AT_SRV;
	else if (before > 1)
		return;
	else if (label_is(l, 0, "_udp"))
		out->place = NTM_DNS_EMPTY;
	else if (label_is(l, 0, "dc"))
		out->place = NTM_DNS_AT_DC;
	else if (label_is(l, 0, "ns"))
		out->place = NTM_DNS_AT_NS;
	else if (node_label(l, out->label))
		out->place = NTM_DNS_AT_NODE;
}

/* -1: not one octet (or nibble) as it is written. */
static int reverse_digit(const struct labels *l, size_t i, bool v4)
{
	const uint8_t *d = l->wire + l->at[i];
	size_t len = *d++;
	int v = 0;

	if (!v4) {
		if (len != 1)
			return -1;
		return *d >= '0' && *d <= '9' ? *d - '0' : *d >= 'a' && *d <= 'f' ? *d - 'a' + 10 : -1;
	}
	if (len > 3 || (len > 1 && *d == '0'))
		return -1;
	for (; len; len--, d++) {
		if (*d < '0' || *d > '9')
			return -1;
		v = v * 10 + *d - '0';
	}
	return v > 255 ? -1 : v;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	return !memcmp(a, b, bits / 8) && (bits % 8 == 0 || !((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)));
}

/* before: how many labels stand before in-addr.arpa or ip6.arpa. */
static void locate_reverse(const struct ntm_dns_zone *z, const struct labels *l, size_t before, bool v4,
			   struct ntm_dns_spot *out)
{
	const struct ntm_prefix *pool = v4 ? &z->s.pool.v4 : &z->s.pool.v6;
	unsigned step = v4 ? 8 : 4, all = v4 ? V4_OCTETS : V6_NIBBLES;
	unsigned base = v4 ? 96 : 0, apex = ntm_dns_reverse_bits(z, v4) / step, n = 0;

	memset(&out->net, 0, sizeof(out->net));
	if (v4)
		memcpy(out->net.ip, pool->ip, 12);
	for (; n < before && n < all; n++) {
		int v = reverse_digit(l, before - 1 - n, v4);

		if (v < 0)
			break;
		out->net.ip[(base + n * step) / 8] |= (uint8_t)(v << (v4 || n % 2 ? 0 : 4));
	}
	out->net.len = (uint8_t)(base + n * step);
	if (n < apex || !same_bits(out->net.ip, pool->ip, pool->len))
		return;
	out->apex = l->at[before - apex];
	if (n < before)
		out->place = NTM_DNS_NOWHERE;
	else if (n == all)
		out->place = NTM_DNS_AT_PTR;
	else
		out->place = n == apex ? NTM_DNS_REVERSE_APEX : NTM_DNS_EMPTY;
}

void ntm_dns_locate(const struct ntm_dns_zone *z, const uint8_t *name, size_t len, struct ntm_dns_spot *out)
{
	struct labels l;
	size_t before;

	out->place = NTM_DNS_OUTSIDE;
	out->apex = 0;
	if (!cut(&l, name, len))
		return;
	before = labels_before(&l, ldns_rdf_data(z->origin), ldns_rdf_size(z->origin));
	if (before != SIZE_MAX) {
		locate_name(&l, before, out);
		return;
	}
	before = labels_before(&l, (const uint8_t *)"\7in-addr\4arpa", 14);
	if (before != SIZE_MAX) {
		locate_reverse(z, &l, before, true, out);
		return;
	}
	before = labels_before(&l, (const uint8_t *)"\3ip6\4arpa", 10);
	if (before != SIZE_MAX)
		locate_reverse(z, &l, before, false, out);
}
