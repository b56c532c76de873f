/* SPDX-License-Identifier: BSD-2-Clause */
/* Which interfaces are uplinks, and when that changes: rtnetlink, through libmnl. */
#ifndef NTM_NODE_NETWATCH_H
#define NTM_NODE_NETWATCH_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../common/conf.h"
#include "node.h"

enum { NTM_LINKS_MAX = 256 };

/* Routes of one family by an interface. */
struct ntm_link_routes {
	uint32_t metric;                /* of the best default route; UINT32_MAX: none */
	uint8_t gateway[16];            /* its; zero: it needs none */
	uint8_t prefix[16], prefix_len; /* the link's */
	bool odd;                       /* there is more to it */
};

/* What dumps of links, addresses, routes and rules said of an interface. */
struct ntm_link {
	struct ntm_uplink_info up;
	bool is_up, running, loopback;
	struct ntm_link_routes routes4, routes6;
	unsigned weight[NTM_UPLINK_ADDRS]; /* of addresses, for choosing one: permanent before temporary */
	bool is_v4[NTM_UPLINK_ADDRS];
};

struct ntm_links {
	struct ntm_link l[NTM_LINKS_MAX];
	unsigned n;
	bool policy4, policy6; /* rules of somebody lead to other tables than main: its routes don't say all */
};

/* Takes one RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE or RTM_NEWRULE of a dump. -EBADMSG: malformed, ignored. */
int ntm_links_take(struct ntm_links *links, const struct nlmsghdr *nlh);
/*
 * Chooses: `wanted` interfaces (n == 0: all) that are up and have a usable address, but not own_ifname and its peer.
 * Those in `prefer` first, in its order; else the one with the best default route. Returns their number.
 */
unsigned ntm_links_choose(const struct ntm_links *links, const struct ntm_string_list *wanted,
			  const struct ntm_string_list *prefer, const char *own_ifname,
			  struct ntm_uplink_info out[NTM_UPLINKS_MAX]);
/*
 * Interfaces whose routes of a family matter to that choice, once links and addresses were taken: without an address of
 * that family they lead nowhere. Returns their number, at most max.
 */
unsigned ntm_links_with_routes(const struct ntm_links *links, const char *own_ifname, bool v4, uint32_t *out,
			       unsigned max);
/*
 * Does this message, a notification, possibly change that choice, or how packets leave by what was chosen? Routes count
 * that are defaults, or lead out by one of the uplinks.
 */
bool ntm_links_relevant(const struct nlmsghdr *nlh, uint32_t own_ifindex, uint32_t own_peer_ifindex,
			const struct ntm_uplink_info *u, unsigned n);

struct ntm_netwatch;
typedef void (*ntm_netwatch_changed)(void *arg, const struct ntm_uplink_info *u, unsigned n, bool force);

int ntm_netwatch_open(struct ntm_netwatch **out, uv_loop_t *loop, const struct ntm_string_list *wanted,
		      const char *own_ifname, ntm_netwatch_changed changed, void *arg, char *why, size_t cap);
/* How long an uplink that has come must last before it takes over from a worse one, milliseconds. */
void ntm_netwatch_set_settle(struct ntm_netwatch *w, uint32_t ms);
/* Names of interfaces, the preferred first; borrowed. Others come after them, by their routes' metrics. */
void ntm_netwatch_set_prefer(struct ntm_netwatch *w, const struct ntm_string_list *prefer);
/* The interface with the virtual addresses is this one now. */
void ntm_netwatch_set_own(struct ntm_netwatch *w, const char *ifname);
void ntm_netwatch_close(struct ntm_netwatch *w);
/* Looks now. force: `changed` is called though nothing may have changed. 0 or -errno. */
int ntm_netwatch_scan(struct ntm_netwatch *w, bool force);
/* Somebody says that this host has moved: looks, and acts though nothing seems to have changed. 0 or -errno. */
int ntm_node_notify_address_change(struct ntm_node *n);

#endif
