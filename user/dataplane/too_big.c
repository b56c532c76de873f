/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An inner packet over its path's MTU, where no interface of ours told the sender before: answered as a router would
 * (RFC 792 and RFC 1191; RFC 4443, section 3.2), or fragmented (RFC 791).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "dp_user_int.h"

enum { ICMP4_MAX = 576 /* RFC 1812, section 4.3.2.3 */, TTL = 64 };

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	return len & 1 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* Errors are not answered with errors, and of fragments the first alone is (RFC 1122, section 3.2.2). */
static bool may_answer4(const struct iphdr *ip, const uint8_t *packet, size_t len)
{
	size_t header = ip->ihl * 4u;
	if (ntohs(ip->frag_off) & IP_OFFMASK)
		return false;
	if (ip->protocol != IPPROTO_ICMP)
		return true;
	if (len <= header)
		return false;
	switch (packet[header]) {
	case ICMP_ECHO:
	case ICMP_ECHOREPLY:
	case ICMP_TIMESTAMP:
	case ICMP_TIMESTAMPREPLY:
		return true;
	default:
		return false;
	}
}

static size_t answer4(const uint8_t *packet, size_t len, uint16_t mtu, uint8_t *out)
{
	struct iphdr ip, h;
	struct icmphdr icmp = {.type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED, .un.frag.mtu = htons(mtu)};
	size_t quote = ICMP4_MAX - sizeof(h) - sizeof(icmp);
	memcpy(&ip, packet, sizeof(ip));
	if (!may_answer4(&ip, packet, len))
		return 0;
	if (quote > len)
		quote = len;
	h = (struct iphdr){.version = 4,
			   .ihl = 5,
			   .tos = 0xc0, /* internetwork control, RFC 1812, section 4.3.2.5 */
			   .tot_len = htons((uint16_t)(sizeof(h) + sizeof(icmp) + quote)),
			   .ttl = TTL,
			   .protocol = IPPROTO_ICMP,
			   .saddr = ip.daddr,
			   .daddr = ip.saddr};
	h.check = fold(sum16(&h, sizeof(h), 0));
	icmp.checksum = fold(sum16(packet, quote, sum16(&icmp, sizeof(icmp), 0)));
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &icmp, sizeof(icmp));
	memcpy(out + sizeof(h) + sizeof(icmp), packet, quote);
	return sizeof(h) + sizeof(icmp) + quote;
}

static size_t answer6(const uint8_t *packet, size_t len, uint16_t mtu, uint8_t *out)
{
	struct ip6_hdr ip6, h = {0};
	struct icmp6_hdr icmp = {.icmp6_type = ICMP6_PACKET_TOO_BIG};
	size_t quote = NTM_TOO_BIG_MAX - sizeof(h) - sizeof(icmp);
	memcpy(&ip6, packet, sizeof(ip6));
	/* Type below 128: an error. */
	if (ip6.ip6_nxt == IPPROTO_ICMPV6 && (len <= sizeof(ip6) || packet[sizeof(ip6)] < 128))
		return 0;
	if (quote > len)
		quote = len;
	icmp.icmp6_mtu = htonl(mtu);
	h.ip6_flow = htonl(6u << 28);
	h.ip6_plen = htons((uint16_t)(sizeof(icmp) + quote));
	h.ip6_nxt = IPPROTO_ICMPV6;
	h.ip6_hlim = TTL;
	h.ip6_src = ip6.ip6_dst;
	h.ip6_dst = ip6.ip6_src;
	uint32_t sum = sum16(&h.ip6_src, 32, (uint32_t)(sizeof(icmp) + quote + IPPROTO_ICMPV6));
	icmp.icmp6_cksum = fold(sum16(packet, quote, sum16(&icmp, sizeof(icmp), sum)));
	memcpy(out, &h, sizeof(h));
	memcpy(out + sizeof(h), &icmp, sizeof(icmp));
	memcpy(out + sizeof(h) + sizeof(icmp), packet, quote);
	return sizeof(h) + sizeof(icmp) + quote;
}

size_t ntm_too_big_answer(const uint8_t *packet, size_t len, uint16_t mtu, uint8_t out[NTM_TOO_BIG_MAX])
{
	return packet[0] >> 4 == 4 ? answer4(packet, len, mtu, out) : answer6(packet, len, mtu, out);
}

bool ntm_may_fragment(const uint8_t *packet, size_t len)
{
	return len >= sizeof(struct iphdr) && packet[0] >> 4 == 4 && !(packet[6] & IP_DF >> 8);
}

/* The options that go into every fragment; the others become "no operation". */
static void copy_options(uint8_t *opts, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = opts[i] <= IPOPT_NOP ? 1 : i + 1 < len ? opts[i + 1] : 0;
		if (opts[i] == IPOPT_EOL || n < (opts[i] <= IPOPT_NOP ? 1u : 2u) || i + n > len)
			return;
		if (opts[i] > IPOPT_NOP && !IPOPT_COPIED(opts[i]))
			memset(opts + i, IPOPT_NOP, n);
		i += n;
	}
}

int ntm_fragment(const uint8_t *packet, size_t len, uint16_t mtu, void (*fn)(void *arg, const uint8_t *p, size_t len),
		 void *arg)
{
	uint8_t out[NTM_INNER_MAX];
	struct iphdr ip;
	memcpy(&ip, packet, sizeof(ip));
	size_t header = ip.ihl * 4u, payload = len - header;
	uint16_t off = ntohs(ip.frag_off);
	if (mtu > sizeof(out) || mtu < header + 8)
		return -EMSGSIZE;
	size_t room = (mtu - header) & ~(size_t)7;
	memcpy(out, packet, header);
	for (size_t at = 0; at < payload; at += room) {
		size_t n = payload - at < room ? payload - at : room;
		bool more = at + n < payload || off & IP_MF;
		ip.tot_len = htons((uint16_t)(header + n));
		ip.frag_off = htons((uint16_t)(((off & IP_OFFMASK) + at / 8) | (more ? IP_MF : 0)));
		ip.check = 0;
		memcpy(out, &ip, sizeof(ip));
		ip.check = fold(sum16(out, header, 0));
		memcpy(out, &ip, sizeof(ip));
		memcpy(out + header, packet + header + at, n);
		fn(arg, out, header + n);
		if (!at)
			copy_options(out + sizeof(ip), header - sizeof(ip));
	}
	return 0;
}
