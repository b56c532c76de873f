/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The interface that carries the virtual addresses, whatever it is (one end of a veth pair, a TUN): its addresses and
 * the routes into it. Functions return 0 or -errno.
 */
#ifndef NTM_HOSTIF_H
#define NTM_HOSTIF_H

#include "dp.h"
#include "rtnl.h"

struct ntm_hostif { /* all borrowed */
	struct ntm_rtnl *rtnl;
	const struct ntm_link *link;
	const struct ntm_settings *settings; /* own addresses and pools, once there are some */
	struct ntm_dp_general *general;
	struct ntm_prefix **general_prefixes; /* the copy that general points to */
};

/* Own addresses and the routes of the pools. old: what there was before, NULL: nothing. */
int ntm_hostif_addresses(struct ntm_hostif *h, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a);
/* Route of one peer address (v4-mapped or IPv6) with its MTU. */
int ntm_hostif_peer_route(struct ntm_hostif *h, const uint8_t ip[16], uint16_t mtu);
int ntm_hostif_peer_route_del(struct ntm_hostif *h, const uint8_t ip[16]);
/* Fills rt as a route into it from the virtual address, with the MTU, which is at most its own. dst is borrowed. */
void ntm_hostif_route(struct ntm_hostif *h, const struct ntm_prefix *to, uint16_t mtu, struct ntm_route *rt);

/* Switches IPv6 on where it is off by default. */
void ntm_link_enable_ipv6(const char *ifname);

/* general.c: routes to general destinations, as set_general() of struct ntm_dp_ops says */
int ntm_hostif_general(struct ntm_hostif *h, const struct ntm_dp_general *g, uint16_t mtu);
int ntm_hostif_general_routes(struct ntm_hostif *h, uint16_t mtu); /* the same ones, with another MTU */
/* Removes rules and routes, also those of an agent that is gone. */
int ntm_hostif_general_clear(struct ntm_hostif *h);
void ntm_hostif_general_free(struct ntm_hostif *h);

#endif
