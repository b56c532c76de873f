/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The relay's data plane behind one vtable: user space says which relay paths there are and who is bound to them;
 * relay.bpf.c (relay_dp_bpf.c) or, in tests, memory carries packets. One thread. Functions return 0 or -errno.
 * Path IDs are numbers in host order; ends are 0 (the path's initiator) and 1 (its responder).
 */
#ifndef NTM_RELAY_DP_H
#define NTM_RELAY_DP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>
#include <ntm/relay.h>

#include "../common/addr.h"
#include "../dataplane/dp.h"

struct ntm_relay_dp_config {
	const char *runtime_dir; /* bpffs at runtime_dir/bpf */
	uint16_t port;           /* host order */
	enum ntm_xdp_mode xdp_mode;
	uint32_t max_paths; /* 0: NTM_RELAY_PATHS_DEFAULT */
	uint32_t idle_s;    /* a path without packets for so long ends; 0: NTM_RELAY_IDLE_S */
};

struct ntm_relay_dp_end {
	struct ntm_addr addr;    /* port 0: not bound */
	uint64_t seq;            /* of the bind that it was bound by */
	uint64_t packets, bytes; /* that came from it and were sent on */
};

struct ntm_relay_dp_path {
	uint64_t path_id;
	uint8_t secret[NTM_KEY_LEN]; /* root of both ends' relay keys */
	uint32_t rate_kbit;          /* 0: no limit */
	struct ntm_relay_dp_end ends[2];
	uint64_t drops;
	uint64_t last_ns; /* last packet relayed or bind, CLOCK_BOOTTIME */
};

struct ntm_relay_dp;
struct ntm_relay_dp_ops {
	bool (*adopted)(struct ntm_relay_dp *dp);
	/* XDP on these interfaces and no others; own addresses as in dp.h. As ntm_dp_ops.set_uplinks. */
	int (*set_uplinks)(struct ntm_relay_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap);
	/* Every address of this host: no end may be bound to one. n at most NTM_RELAY_LOCALS. */
	int (*set_locals)(struct ntm_relay_dp *dp, const uint8_t (*ips)[16], size_t n);
	/* Routes or neighbours have changed: cached next hops are asked for anew. */
	void (*routes_changed)(struct ntm_relay_dp *dp);
	void (*set_draining)(struct ntm_relay_dp *dp, bool draining);

	/* -EEXIST: there with another secret (the same one: 0, rate updated); -ENOSPC: table full. Unbound. */
	int (*add)(struct ntm_relay_dp *dp, uint64_t path_id, const uint8_t secret[NTM_KEY_LEN], uint32_t rate_kbit);
	int (*get)(struct ntm_relay_dp *dp, uint64_t path_id, struct ntm_relay_dp_path *out); /* -ENOENT */
	/* Stores address and seq for the end in one step as seen by XDP. The caller has checked the mac and that seq
	 * grows. */
	int (*bind)(struct ntm_relay_dp *dp, uint64_t path_id, unsigned end, const struct ntm_addr *addr, uint64_t seq);
	int (*del)(struct ntm_relay_dp *dp, uint64_t path_id); /* secret wiped */
	void (*foreach)(struct ntm_relay_dp *dp, void (*fn)(void *arg, const struct ntm_relay_dp_path *p), void *arg);
	size_t (*count)(struct ntm_relay_dp *dp);
	size_t (*max)(struct ntm_relay_dp *dp);
	/* Ends paths that were idle for too long; looks at a bounded part of the table a call. Returns how many ended.
	 */
	unsigned (*expire)(struct ntm_relay_dp *dp);
	/* Sum over CPUs; out has NTM_RR_COUNT entries. */
	int (*counters)(struct ntm_relay_dp *dp, struct ntm_counter *out);

	/* Packets for no relay path go to this XDP program (node_decap of a gateway) in place of being dropped; -1:
	 * none */
	int (*set_next)(struct ntm_relay_dp *dp, int prog_fd);
	void (*close)(struct ntm_relay_dp *dp, bool keep); /* keep: XDP goes on relaying */
};

struct ntm_relay_dp {
	const struct ntm_relay_dp_ops *ops;
};

/* Both: 0, or -errno with one sentence in why. */
int ntm_relay_dp_bpf_open(struct ntm_relay_dp **out, const struct ntm_relay_dp_config *c, char *why, size_t cap);
int ntm_relay_dp_fake_open(struct ntm_relay_dp **out, const struct ntm_relay_dp_config *c, char *why, size_t cap);
/* Removes programs and pins of a relay that is gone (`ntm-relay --down`). */
int ntm_relay_dp_bpf_remove(const struct ntm_relay_dp_config *c, char *why, size_t cap);

#endif
