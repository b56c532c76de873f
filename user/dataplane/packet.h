/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sealing, opening and judging packets in the agent, on paths in the memory layout of ntm/maps.h, with the verdicts of
 * the kernel programs. Suite 0. Nothing here counts, sends or delivers: that is the caller's.
 */
#ifndef NTM_PACKET_H
#define NTM_PACKET_H

#include <ntm/wire.h>

#include "pathops.h"

/*
 * A whole datagram for an inner packet (len 0: keep-alive) in out, which is not `inner`. NTM_R_TX_OK, and the packet is
 * counted on the path; else nothing changed, but that a counter may be used up.
 */
enum ntm_reason ntm_packet_seal(struct ntm_path *p, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
				size_t *out_len);

/* The header of a datagram that came to the port, in *h. NTM_R_RX_OK: a suite 0 packet of possible length. */
enum ntm_reason ntm_packet_header(const uint8_t *datagram, size_t len, struct ntm_hdr *h);

struct ntm_opened {
	uint8_t *inner;   /* what was sealed */
	size_t len;       /* of it */
	bool confirmed;   /* sending has switched to the epoch that waited for this packet */
	bool roamed;      /* the path's endpoint is `from` now */
	size_t inner_len; /* of the inner packet by its own header, after ntm_packet_inner() */
	bool is_ipv6;     /* likewise */
};

/*
 * Checks, opens and takes the counter of a datagram of p, for which ntm_packet_header() said NTM_R_RX_OK; then epoch
 * and endpoint follow it as in bpf/lib/roam.h. inner: where to, for NTM_INNER_MAX bytes, or the datagram's own payload,
 * right behind its header. NTM_R_RX_OK, NTM_R_RX_KEEPALIVE, or why not; o's booleans are valid in any case.
 */
enum ntm_reason ntm_packet_open(struct ntm_path *p, const struct ntm_hdr *h, const uint8_t *datagram, size_t len,
				const struct ntm_addr *from, uint8_t *inner, struct ntm_opened *o);

/*
 * May the inner packet in o be delivered? Source, destination and lengths, and ECN by RFC 6040, section 4.2, out of the
 * outer TOS. is_local: an address of this host, for a gateway's clients; may be NULL if there are none.
 */
enum ntm_reason ntm_packet_inner(const struct ntm_settings *s, const struct ntm_path *p, struct ntm_opened *o,
				 uint8_t outer_tos, bool (*is_local)(const void *arg, const struct ntm_vip *a),
				 const void *arg);

/* An inner packet on its way out. */
struct ntm_inner {
	size_t len; /* by its own header; at most what is there */
	bool is_ipv6;
	uint8_t tos;
	struct ntm_vip src, dst;
	bool beyond; /* dst is a general node's */
};
/* Whose is it? NTM_R_TX_OK: the own virtual address's, to another virtual one or beyond (as node_encap decides). */
enum ntm_reason ntm_packet_accept(const struct ntm_settings *s, const uint8_t *packet, size_t len,
				  struct ntm_inner *in);

/* What a caller of struct ntm_dp_ops is told. */
int ntm_packet_errno(enum ntm_reason r);

#endif
