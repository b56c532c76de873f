/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Route netlink (libmnl), synchronous: each call sends one request and waits for its acknowledgement. Functions return
 * 0 or -errno. Addresses are in network byte order: 4 bytes for AF_INET, 16 for AF_INET6.
 */
#ifndef NTM_RTNL_H
#define NTM_RTNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnl_socket;

struct ntm_rtnl {
	struct mnl_socket *nl;
	uint32_t seq, portid;
};

struct ntm_link {
	uint32_t ifindex, mtu, flags;
	uint32_t peer; /* veth: ifindex of the other end, 0 if unknown */
	char name[16];
	char kind[16]; /* "veth"; empty for hardware */
	uint8_t mac[6];
	uint8_t xdp_attached; /* XDP_ATTACHED_* of linux/if_link.h */
};

/* Every member but ifindex is a change if it is not zero. */
struct ntm_link_change {
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t gso_segs;          /* most segments of a super-packet that TCP makes */
	uint32_t flags, flags_mask; /* IFF_* */
	bool no_addrgen;            /* no IPv6 link-local address of its own */
};

struct ntm_route {
	int family;
	uint32_t ifindex;
	const uint8_t *dst;
	uint8_t len;
	const uint8_t *src;   /* preferred source, NULL: the kernel's choice */
	uint32_t mtu, advmss; /* 0: not set */
	uint32_t table;       /* 0: main */
	bool leave;           /* no route: the lookup goes on with the next rule ("throw"); ifindex, src, mtu unused */
};

/* A policy rule: which packets a routing table is asked for. Ours bear our origin, as our routes do. */
struct ntm_rule {
	int family;
	uint32_t pref;
	uint32_t table; /* asked, if go_on is 0 */
	uint32_t go_on; /* the lookup goes on with the rules from this preference on */
	bool has_src;
	uint8_t src[16]; /* only packets from this address; 4 bytes of AF_INET; zero: without a source yet */
	uint32_t mark;   /* only packets with this mark; 0: all */
	bool no_default; /* routes of length 0 don't count */
};

int ntm_rtnl_open(struct ntm_rtnl *r);
void ntm_rtnl_close(struct ntm_rtnl *r);

/* By name, or by ifindex if name is NULL. -ENODEV: none. */
int ntm_rtnl_link_get(struct ntm_rtnl *r, const char *name, uint32_t ifindex, struct ntm_link *out);
/* A veth pair, both ends down, with `queues` receive and transmit queues at each end. */
int ntm_rtnl_veth_add(struct ntm_rtnl *r, const char *name, const char *peer, uint32_t mtu, uint32_t queues);
int ntm_rtnl_link_set(struct ntm_rtnl *r, const struct ntm_link_change *c);
int ntm_rtnl_link_del(struct ntm_rtnl *r, uint32_t ifindex);

/* An address of its own (/32 or /128), without duplicate address detection and without a prefix route. */
int ntm_rtnl_addr_add(struct ntm_rtnl *r, uint32_t ifindex, int family, const uint8_t *addr);
int ntm_rtnl_addr_del(struct ntm_rtnl *r, uint32_t ifindex, int family, const uint8_t *addr, uint8_t len);
/* Calls fn for each address of the interface; ip is v4-mapped for IPv4, len 0..32 or 0..128. */
int ntm_rtnl_addr_dump(struct ntm_rtnl *r, uint32_t ifindex,
		       void (*fn)(void *arg, int family, const uint8_t ip[16], uint8_t len), void *arg);

/* Creates or replaces; del: -ESRCH if there is none. */
int ntm_rtnl_route_set(struct ntm_rtnl *r, const struct ntm_route *rt);
int ntm_rtnl_route_del(struct ntm_rtnl *r, const struct ntm_route *rt);
/* Calls fn for each of our routes in a table other than main; dst is borrowed. fn must not use r. */
int ntm_rtnl_route_dump(struct ntm_rtnl *r, uint32_t table, void (*fn)(void *arg, const struct ntm_route *rt),
			void *arg);

/* -EEXIST: there already. del: -ENOENT if there is none. */
int ntm_rtnl_rule_add(struct ntm_rtnl *r, const struct ntm_rule *rule);
int ntm_rtnl_rule_del(struct ntm_rtnl *r, const struct ntm_rule *rule);
/* Calls fn for each rule of ours; fn must not use r. */
int ntm_rtnl_rule_dump(struct ntm_rtnl *r, void (*fn)(void *arg, const struct ntm_rule *rule), void *arg);

#endif
