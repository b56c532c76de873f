/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to general nodes (gateway = yes): the tunnel end of client paths on a node's data plane, and NAT behind it.
 * The relay's program is the one on the NICs and calls the gateway's for what is on no relay path.
 */
#ifndef NTM_RELAY_GATEWAY_H
#define NTM_RELAY_GATEWAY_H

#include "relay.h"

/*
 * Sets r->node.dp and whatever else of r->node a tunnel end needs, and r->gateway. Called with the keys loaded, the
 * node's core initialised and r->dp open, before the network is. Its pins must lie elsewhere than the relay's
 * (RUNTIME_DIR/bpf). 0, or -errno with one sentence in why; then nothing of it is left.
 */
int ntm_gateway_open(struct ntm_relay *r, char *why, size_t cap);
/* The pools are known: NAT and forwarding are set. 0, or -errno, logged; nothing to do if there is no gateway. */
int ntm_gateway_registered(struct ntm_relay *r);
bool ntm_gateway_serves(const struct ntm_relay *r); /* are they? */
/* Every client is told that its path ends, to look for another gateway at once. */
void ntm_gateway_leave(struct ntm_relay *r);
/* keep: client paths go on in the kernel. Closes r->node.dp. Nothing to do if it was not opened. */
void ntm_gateway_close(struct ntm_relay *r, bool keep);
/* Removes what the gateway of a relay that is gone left; for `ntm-relay --down`, and for a start without a gateway. */
int ntm_gateway_remove(const struct ntm_relay_config *c, char *why, size_t cap);

#endif
