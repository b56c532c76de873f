/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segmentation: a super-packet as a TUN with IFF_VNET_HDR gives it becomes inner packets of the path's MTU, with their
 * checksums complete, as the kernel's own GSO would make them.
 */
#ifndef NTM_ENGINE_GSO_H
#define NTM_ENGINE_GSO_H

#include <linux/virtio_net.h>

#include "packet.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* since Linux 6.2 */
#endif

enum { NTM_SUPER_MAX = 65535 + 40 }; /* bytes of a super-packet: IPv6's length field leaves its header out */

struct ntm_gso {
	const uint8_t *packet; /* borrowed */
	struct ntm_packet in;
	uint16_t hdr_len; /* IP and transport headers, repeated in each segment */
	uint16_t size;    /* payload bytes of each segment but the last; 0: not to be segmented */
	uint16_t csum_at; /* offset of a checksum to be completed; 0: none */
	uint16_t csum_from;
	unsigned n; /* segments */
};

/*
 * Checks header and packet against each other. mtu: of the path, bytes of an inner packet. 0; -EBADMSG: malformed;
 * -EOPNOTSUPP: of a kind that was not asked for; -EMSGSIZE: its segments would be larger than mtu.
 */
int ntm_gso_begin(struct ntm_gso *g, const struct virtio_net_hdr *vh, const uint8_t *packet, size_t len, uint16_t mtu);

/* Bytes of segment i. */
static inline size_t ntm_gso_len(const struct ntm_gso *g, unsigned i)
{
	if (i + 1 < g->n)
		return (size_t)g->hdr_len + g->size;
	return g->n == 1 ? g->in.len : g->in.len - (size_t)i * g->size;
}

/* Writes segment i, ntm_gso_len() bytes of it. */
void ntm_gso_write(const struct ntm_gso *g, unsigned i, uint8_t *out);

#endif
