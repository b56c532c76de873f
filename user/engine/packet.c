/* SPDX-License-Identifier: BSD-2-Clause */
#include "packet.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "csum.h"

enum { IPV4_LEN = 20, IPV6_LEN = 40, EXT_MAX = 8 };

static int parse4(struct ntm_packet *k, const uint8_t *p, size_t avail)
{
	if (avail < IPV4_LEN)
		return -EBADMSG;
	size_t ihl = (size_t)(p[0] & 15) * 4;
	k->len = ntm_get16(p + 2);
	if (ihl < IPV4_LEN || k->len < ihl || k->len > avail)
		return -EBADMSG;
	k->tos = p[1];
	k->proto = p[9];
	k->plain = ihl == IPV4_LEN;
	k->l4 = ntm_get16(p + 6) & 0x3fff ? 0 : (uint16_t)ihl;
	return 0;
}

static int parse6(struct ntm_packet *k, const uint8_t *p, size_t avail)
{
	if (avail < IPV6_LEN)
		return -EBADMSG;
	k->len = IPV6_LEN + (uint32_t)ntm_get16(p + 4);
	if (k->len > avail)
		return -EBADMSG;
	k->is_ipv6 = true;
	k->tos = (uint8_t)(ntm_get16(p) >> 4);
	k->proto = p[6];
	k->plain = true;
	size_t off = IPV6_LEN;
	for (int i = 0; i < EXT_MAX; i++) {
		if (k->proto != IPPROTO_HOPOPTS && k->proto != IPPROTO_ROUTING && k->proto != IPPROTO_DSTOPTS)
			break;
		if (off + 8 > k->len)
			return -EBADMSG;
		k->plain = false;
		k->proto = p[off];
		off += ((size_t)p[off + 1] + 1) * 8;
	}
	if (off > k->len)
		return -EBADMSG;
	k->l4 = k->proto == IPPROTO_FRAGMENT ? 0 : (uint16_t)off;
	return 0;
}

int ntm_packet_parse(struct ntm_packet *k, const uint8_t *p, size_t avail)
{
	memset(k, 0, sizeof(*k));
	if (!avail)
		return -EBADMSG;
	switch (p[0] >> 4) {
	case 4:
		return parse4(k, p, avail);
	case 6:
		return parse6(k, p, avail);
	default:
		return -EBADMSG;
	}
}

void ntm_packet_set_len(uint8_t *p, bool is_ipv6, size_t len)
{
	if (is_ipv6) {
		ntm_put16(p + 4, (uint32_t)(len - IPV6_LEN));
		return;
	}
	ntm_put16(p + 2, (uint32_t)len);
	memset(p + 10, 0, 2);
	uint16_t sum = (uint16_t)~ntm_sum_fold(ntm_sum(p, (size_t)(p[0] & 15) * 4, 0));
	memcpy(p + 10, &sum, 2);
}
