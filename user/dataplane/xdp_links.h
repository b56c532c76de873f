/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One program on several interfaces, at XDP or in its other form at tc ingress: attached, taken over from an earlier
 * agent, detached where no longer wanted.
 */
#ifndef NTM_XDP_LINKS_H
#define NTM_XDP_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dp.h"
#include "rtnl.h"

#define NTM_XDP_LINKS_MAX 16

struct ntm_xdp_link {
	uint32_t ifindex;
	int fd; /* what is pinned */
	enum ntm_rx_hook hook;
	bool gro; /* was off, and is on for this */
};

struct ntm_xdp_links {
	/* set by the owner before the first call, and borrowed */
	int pins; /* bpffs directory: pins "xdp_IFINDEX" and "tc_IFINDEX" */
	int prog_fd;
	/* The program's form for tc, a borrowed descriptor or -errno. NULL: there is none. */
	int (*tc_prog)(void *arg);
	void *tc_arg;
	struct ntm_rtnl *rtnl;
	enum ntm_xdp_mode mode;
	bool veth_generic; /* mode auto: generic on veth */
	/*
	 * What the program reads: bit ifindex % 32 says that all interfaces that share it are in native mode. Unknown
	 * counts as generic, which is always right.
	 */
	uint32_t *native;

	struct ntm_xdp_link l[NTM_XDP_LINKS_MAX];
	size_t n;
};

/*
 * The programs of an earlier agent are replaced at once by this one's, each atomically; where the mode is no longer
 * what is asked for, they are detached. Returns 0 or -errno.
 */
int ntm_xdp_links_adopt(struct ntm_xdp_links *x);

/*
 * Attaches to those of u[0..n) that have an address (any: to all of them), detaches from others, and says in u how.
 * Goes on after a failure; returns the first one as -errno, why then says in words which.
 */
int ntm_xdp_links_set(struct ntm_xdp_links *x, struct ntm_dp_uplink *u, size_t n, bool any, char *why, size_t cap);

/* Of interfaces that carry somebody else's program: notes and says in u whether that is in native mode. */
void ntm_xdp_links_observe(struct ntm_xdp_links *x, struct ntm_dp_uplink *u, size_t n);

/* Lets go of the descriptors; in the kernel nothing changes. */
void ntm_xdp_links_close(struct ntm_xdp_links *x);

#endif
