/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading and changing struct ntm_path while BPF programs and other threads do. */
#ifndef NTM_ENGINE_PATH_MEM_H
#define NTM_ENGINE_PATH_MEM_H

#include <ntm/maps.h>

#include "../common/addr.h"

#define NTM_NO_EPOCH 16u

uint64_t ntm_boottime_ns(void); /* CLOCK_BOOTTIME, as the programs' clock */

void ntm_endpoint_get(const struct ntm_path *p, struct ntm_endpoint *out);
/* Sets the endpoint that is not current and makes it so. */
void ntm_path_move(struct ntm_path *p, const struct ntm_addr *ep);
/*
 * The same to the source of an authenticated packet with the newest counter, unless the agent holds the endpoint (now:
 * CLOCK_BOOTTIME, ns). Has it moved?
 */
bool ntm_path_follow(struct ntm_path *p, const struct ntm_addr *from, uint64_t now);
void ntm_endpoint_set(struct ntm_endpoint *e, const struct ntm_addr *ep);
/* The way to ep in use; ifindex 0: none. */
void ntm_way_get(const struct ntm_uplink *uplinks, const struct ntm_endpoint *ep, struct ntm_way *out);
/*
 * Where copies of what goes to ep by `way` leave: by the uplink before it, as long as that one is new. udp_len: UDP
 * payload, bytes. False: no copy.
 */
bool ntm_way_get_copy(const struct ntm_uplink *uplinks, const struct ntm_endpoint *ep, const struct ntm_way *way,
		      uint64_t now, size_t udp_len, struct ntm_way *out);
/* Fills the way that is not current and makes it so: no packet finds half of one, or none. */
void ntm_way_set(struct ntm_uplink *up, const struct ntm_way *way);

/* What an authenticated packet changes on a path besides its window, as in bpf/lib/roam.h. */
struct ntm_heard {
	bool roamed;    /* the endpoint is another one now */
	bool confirmed; /* sending has switched to the packet's epoch */
};
struct ntm_heard ntm_path_heard(struct ntm_path *p, uint8_t epoch, bool newest, const struct ntm_addr *from,
				uint64_t now);

#endif
