/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DC's UDP sockets: one a listen address, read and written in batches (recvmmsg, sendmmsg). Answers leave from the
 * address that was asked, also on a wildcard address.
 */
#ifndef NTM_DC_NET_H
#define NTM_DC_NET_H

#include <stdint.h>
#include <uv.h>

#include <ntm/limits.h>

#include "../user/common/addr.h"

/* Where a datagram came from and by which way an answer goes back. */
struct ntm_dc_route {
	struct ntm_addr peer;
	uint8_t local[16]; /* own address; zero: whatever the kernel chooses */
	uint16_t sock;     /* index into the listen addresses */
};

/* Processes of one DC pass signalling messages on, in messages of their own. */
enum { NTM_DC_DATAGRAM_MAX = NTM_SIGNAL_MAX + 64 };

struct ntm_dc_net;
/* data is the callee's to change, valid during the call. Longer ones than NTM_DC_DATAGRAM_MAX come as len =
 * NTM_DC_DATAGRAM_MAX + 1. */
typedef void (*ntm_dc_receive)(void *arg, const struct ntm_dc_route *from, uint8_t *data, size_t len);

/* 0 or -errno with a sentence in why. Port 0 is allowed (tests): ntm_dc_net_bound() tells the real one. */
int ntm_dc_net_open(struct ntm_dc_net **out, uv_loop_t *loop, const struct ntm_addr *listen, size_t n,
		    ntm_dc_receive receive, void *arg, char *why, size_t cap);
void ntm_dc_net_close(struct ntm_dc_net *net); /* sends what is queued; freed when the loop has run its callbacks */
const struct ntm_addr *ntm_dc_net_bound(const struct ntm_dc_net *net, uint16_t sock);

/* Queues; everything queued is sent before the loop waits again. Datagrams the kernel refuses are dropped and counted.
 */
void ntm_dc_net_send(struct ntm_dc_net *net, const struct ntm_dc_route *to, const void *data, size_t len);

/*
 * A route for a datagram that answers none: by the socket bound to `via` (or to its wildcard), else any of the family.
 * -EAFNOSUPPORT: no socket of that family.
 */
int ntm_dc_net_route(const struct ntm_dc_net *net, const struct ntm_addr *peer, const struct ntm_addr *via,
		     struct ntm_dc_route *out);

struct ntm_dc_net_stats {
	uint64_t rx, tx, tx_dropped;
};
const struct ntm_dc_net_stats *ntm_dc_net_stats(const struct ntm_dc_net *net);

#endif
