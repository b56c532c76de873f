/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Coalescing: opened TCP and UDP packets of a flow, in order, become super-packets for a TUN with IFF_VNET_HDR. The
 * rules are those of the kernel's GRO: packets are only merged where segmenting would give the very same packets again.
 * Each packet's order within its flow is kept. Nothing is copied: payloads stay where they are until they are written.
 */
#ifndef NTM_ENGINE_GRO_H
#define NTM_ENGINE_GRO_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "packet.h"

enum { NTM_GRO_FLOWS = 8, NTM_GRO_SEGS = 64 };

/*
 * A super-packet, or a packet by itself: iov[0] is left to the receiver (for vh), the packet is in iov[1] to iov[n -
 * 1], len bytes in all.
 */
typedef void (*ntm_gro_out)(void *arg, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n, size_t len);

struct ntm_gro_flow {
	uint8_t *first; /* headers and payload of the first packet; NULL: not in use */
	struct ntm_packet in;
	uint16_t hdr_len, size; /* size: payload of each packet but the last */
	uint32_t next_seq;      /* TCP */
	uint16_t next_id;       /* IPv4 identification */
	uint8_t last_flags;     /* TCP */
	bool closed;            /* takes no more */
	unsigned n;             /* packets */
	uint32_t len;           /* of the whole, bytes */
	struct iovec iov[NTM_GRO_SEGS + 2];
};

struct ntm_gro {
	ntm_gro_out out;
	void *arg;
	bool tcp, udp; /* what the TUN takes merged */
	unsigned next; /* flow to be flushed when all are in use */
	struct ntm_gro_flow flows[NTM_GRO_FLOWS];
};

void ntm_gro_init(struct ntm_gro *g, bool tcp, bool udp, ntm_gro_out out, void *arg);
/* p: writable, and there until the flush; as parsed into in. May call out. */
void ntm_gro_add(struct ntm_gro *g, uint8_t *p, const struct ntm_packet *in);
void ntm_gro_flush(struct ntm_gro *g);

#endif
