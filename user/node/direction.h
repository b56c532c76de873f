/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "A path to this name or virtual address, please": one direction in flight a target, however many ask; failures are
 * remembered for a second, so that a storm of packets to nowhere costs the DC a few requests.
 */
#ifndef NTM_NODE_DIRECTION_H
#define NTM_NODE_DIRECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "../common/signal_codec.h"
#include "timer.h"

struct ntm_node;
struct ntm_tunnel;

enum {
	NTM_DIRECTIONS_MAX = 128,
	NTM_WAITERS_MAX = 64, /* a direction */
	NTM_DIRECTION_MS = 2000,
	NTM_NEGATIVE_MAX = 256,
	NTM_NEGATIVE_MS = 1000,
};

/* What came of it. Negative values are -errno (-ETIMEDOUT, -ENOTCONN, -EBUSY); positive ones enum ntm_error. */
typedef void (*ntm_direction_done)(void *arg, int result, struct ntm_tunnel *t);

struct ntm_direction_waiter {
	ntm_direction_done fn;
	void *arg;
};

struct ntm_direction {
	bool used, gateway;          /* gateway: to any RS that is one; neither name nor vip */
	char name[NTM_NAME_MAX + 1]; /* FQDN, lower case; "": by address */
	uint8_t vip[16];
	uint64_t path_id; /* 0: no Route Direction yet */
	uint64_t begin_ms;
	struct ntm_timer timer;
	struct ntm_node *node;
	unsigned n;
	struct ntm_direction_waiter waiters[NTM_WAITERS_MAX];
};

/* Why the last try failed, and which path it left behind. */
struct ntm_negative {
	char name[NTM_NAME_MAX + 1];
	uint8_t vip[16];
	bool gateway;
	int result;
	uint64_t until_ms, stale_id, used_ms;
};

struct ntm_directions {
	struct ntm_direction d[NTM_DIRECTIONS_MAX];
	struct ntm_negative neg[NTM_NEGATIVE_MAX];
};

/*
 * name: FQDN, or NULL for a virtual address (v4-mapped or IPv6). stale_id: path found dead (0: none); without one, a
 * usable path is the answer at once. fn is called exactly once, perhaps before this returns; NULL: nobody waits.
 * Returns the result if it is known already, 0 if the path is up or a direction is under way.
 */
int ntm_direct(struct ntm_node *n, const char *name, const uint8_t vip[16], uint64_t stale_id, ntm_direction_done fn,
	       void *arg);
/* The same for the way to general nodes: a path to a gateway RS that the DC chooses. */
int ntm_direct_gateway(struct ntm_node *n, ntm_direction_done fn, void *arg);
int ntm_direct_gateway_stale(struct ntm_node *n, uint64_t stale_id); /* that one is dead, or soon will be */
struct ntm_tunnel *ntm_direct_gateway_path(struct ntm_node *n);      /* the usable one, or NULL */
void ntm_direct_forget(struct ntm_node *n, void *arg);               /* the waiter with this arg has gone */

/* The path of a Route Direction is up, or will never be. */
void ntm_direction_path_up(struct ntm_node *n, struct ntm_tunnel *t);
void ntm_direction_path_failed(struct ntm_node *n, struct ntm_tunnel *t, int result);
/* The DC is back: that it was away is no longer a reason to fail. */
void ntm_directions_dc_back(struct ntm_node *n);
void ntm_directions_free(struct ntm_node *n);      /* waiters are told -ECANCELED */
const char *ntm_direction_result_name(int result); /* as in `ntm resolve`'s errors: "no_such_name", "timeout" */

#endif
