/* SPDX-License-Identifier: BSD-2-Clause */
#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

bool ntm_ip_is_v4(const uint8_t ip[16])
{
	return !memcmp(ip, mapped, sizeof(mapped));
}

void ntm_ip_from_v4(uint8_t ip[16], const void *v4)
{
	memmove(ip + 12, v4, 4);
	memcpy(ip, mapped, sizeof(mapped));
}

bool ntm_ip_is_zero(const uint8_t ip[16])
{
	static const uint8_t zero[16];

	return !memcmp(ip, zero, sizeof(zero));
}

bool ntm_ip_is_usable(const uint8_t ip[16])
{
	static const uint8_t loopback[16] = {[15] = 1};

	if (ntm_ip_is_v4(ip)) {
		const uint8_t *a = ip + 12;

		/* RFC 1122 3.2.1.3 (0/8, 127/8, broadcast), RFC 3927 (169.254/16), RFC 5771 (224/4) */
		return a[0] != 0 && a[0] != 127 && !(a[0] == 169 && a[1] == 254) && (a[0] & 0xf0) != 224 &&
		       memcmp(a, "\xff\xff\xff\xff", 4) != 0;
	}
	/* RFC 4291 2.4 */
	return !ntm_ip_is_zero(ip) && memcmp(ip, loopback, 16) != 0 && ip[0] != 0xff &&
	       !(ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80);
}

bool ntm_addr_equal(const struct ntm_addr *a, const struct ntm_addr *b)
{
	return a->port == b->port && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

int ntm_ip_parse(const char *text, uint8_t out[16])
{
	uint8_t ip[16];

	if (inet_pton(AF_INET6, text, ip) == 1) {
		memcpy(out, ip, 16);
		return 0;
	}
	if (inet_pton(AF_INET, text, ip) == 1) {
		ntm_ip_from_v4(out, ip);
		return 0;
	}
	return -EINVAL;
}

/* Decimal digits only: no sign, no blanks, at most max. */
static int parse_number(const char *text, unsigned max, unsigned *out)
{
	unsigned v = 0;

	if (!*text)
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || p - text > 4)
			return -EINVAL;
		v = v * 10 + (unsigned)(*p - '0');
	}
	if (v > max)
		return -EINVAL;
	*out = v;
	return 0;
}

int ntm_addr_parse(const char *text, uint16_t dflt_port, struct ntm_addr *out)
{
	char host[INET6_ADDRSTRLEN];
	unsigned port = dflt_port;
	const char *start = text, *end, *rest;
	struct ntm_addr a;

	if (*text == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (!end)
			return -EINVAL;
		rest = end + 1;
	} else {
		end = rest = text + strcspn(text, ":");
	}
	if ((size_t)(end - start) >= sizeof(host))
		return -EINVAL;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = 0;

	if (*rest == ':') {
		if (parse_number(rest + 1, 65535, &port))
			return -EINVAL;
	} else if (*rest || !dflt_port) {
		return -EINVAL;
	}
	/* Brackets for IPv6 and only for it: "2001:db8::1:4680" would have two meanings. */
	if ((*text == '[') != (strchr(host, ':') != NULL) || ntm_ip_parse(host, a.ip))
		return -EINVAL;
	a.port = htons((uint16_t)port);
	*out = a;
	return 0;
}

/* The first `len` bits kept, the others zero. */
static void mask(uint8_t ip[16], unsigned len)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = len > 8 * i ? len - 8 * i : 0;

		if (bits < 8)
			ip[i] &= (uint8_t)(0xff00 >> bits);
	}
}

int ntm_prefix_parse(const char *text, struct ntm_prefix *out)
{
	const char *slash = strchr(text, '/');
	char host[INET6_ADDRSTRLEN];
	uint8_t masked[16];
	struct ntm_prefix p;
	unsigned len;
	bool dotted;

	if (!slash || (size_t)(slash - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = 0;
	dotted = !strchr(host, ':');
	if (ntm_ip_parse(host, p.ip) || parse_number(slash + 1, dotted ? 32 : 128, &len))
		return -EINVAL;
	p.len = (uint8_t)(dotted ? len + 96 : len);
	memcpy(masked, p.ip, 16);
	mask(masked, p.len);
	if (memcmp(masked, p.ip, 16) != 0)
		return -EINVAL;
	*out = p;
	return 0;
}

bool ntm_prefix_contains(const struct ntm_prefix *p, const uint8_t ip[16])
{
	uint8_t masked[16];

	memcpy(masked, ip, 16);
	mask(masked, p->len);
	return !memcmp(masked, p->ip, 16);
}

const char *ntm_ip_format(const uint8_t ip[16], char out[NTM_ADDR_STRLEN])
{
	const char *s = ntm_ip_is_v4(ip) ? inet_ntop(AF_INET, ip + 12, out, NTM_ADDR_STRLEN)
					 : inet_ntop(AF_INET6, ip, out, NTM_ADDR_STRLEN);

	if (!s)
		out[0] = 0;
	return out;
}

const char *ntm_addr_format(const struct ntm_addr *a, char out[NTM_ADDR_STRLEN])
{
	bool v4 = ntm_ip_is_v4(a->ip);
	char ip[NTM_ADDR_STRLEN];

	/* 45 + "[]:65535" fits; the precision says so to the compiler. */
	snprintf(out, NTM_ADDR_STRLEN, v4 ? "%.45s:%u" : "[%.45s]:%u", ntm_ip_format(a->ip, ip), ntohs(a->port));
	return out;
}

const char *ntm_prefix_format(const struct ntm_prefix *p, char out[NTM_ADDR_STRLEN])
{
	bool v4 = ntm_ip_is_v4(p->ip) && p->len >= 96;
	char ip[NTM_ADDR_STRLEN];

	snprintf(out, NTM_ADDR_STRLEN, "%.45s/%u", ntm_ip_format(p->ip, ip), v4 ? p->len - 96u : p->len);
	return out;
}

socklen_t ntm_addr_to_sockaddr(const struct ntm_addr *a, int family, struct sockaddr_storage *out)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	struct sockaddr_in *in = (struct sockaddr_in *)out;

	if (family == AF_INET6) {
		memset(in6, 0, sizeof(*in6));
		in6->sin6_family = AF_INET6;
		in6->sin6_port = a->port;
		memcpy(&in6->sin6_addr, a->ip, 16);
		return sizeof(*in6);
	}
	if (family == AF_INET && ntm_ip_is_v4(a->ip)) {
		memset(in, 0, sizeof(*in));
		in->sin_family = AF_INET;
		in->sin_port = a->port;
		memcpy(&in->sin_addr, a->ip + 12, 4);
		return sizeof(*in);
	}
	return 0;
}

int ntm_addr_from_sockaddr(struct ntm_addr *out, const struct sockaddr *sa)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

	switch (sa->sa_family) {
	case AF_INET:
		ntm_ip_from_v4(out->ip, &in->sin_addr);
		out->port = in->sin_port;
		return 0;
	case AF_INET6:
		memcpy(out->ip, &in6->sin6_addr, 16);
		out->port = in6->sin6_port;
		return 0;
	default:
		return -EINVAL;
	}
}
