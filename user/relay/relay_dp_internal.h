/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the relay's BPF data plane. */
#ifndef NTM_RELAY_DP_INTERNAL_H
#define NTM_RELAY_DP_INTERNAL_H

#include <limits.h>

#include "../dataplane/rtnl.h"
#include "../dataplane/xdp_links.h"
#include "relay_table.h"

struct relay;

enum ntm_relay_map {
	NTM_RMAP_SETTINGS,
	NTM_RMAP_PATHS,
	NTM_RMAP_ACCOUNTS,
	NTM_RMAP_AGENT,
	NTM_RMAP_HOPS,
	NTM_RMAP_UPLINKS,
	NTM_RMAP_FORMER,
	NTM_RMAP_LOCALS,
	NTM_RMAP_COUNTERS,
	NTM_RMAP_BUCKETS,
	NTM_RMAP_NEXT,
	NTM_RMAP_COUNT
};

struct ntm_relay_dp_bpf {
	struct ntm_relay_dp dp; /* first: ops cast */
	char runtime_dir[PATH_MAX];
	uint16_t port;
	uint32_t max_paths, slots, idle_s;
	bool adopted;

	int lock_fd;
	int pins; /* bpffs directory */
	struct ntm_rtnl rtnl;
	struct relay *skel;
	int map_fd[NTM_RMAP_COUNT];
	struct ntm_relay_settings *settings;
	struct ntm_relay_uplink *uplinks;
	struct ntm_relay_path *paths;
	struct ntm_relay_account *accounts;
	struct ntm_relay_agent *agents;
	struct ntm_relay_table table;

	struct ntm_xdp_links links;
};

static inline struct ntm_relay_dp_bpf *ntm_rdp(struct ntm_relay_dp *dp)
{
	return (struct ntm_relay_dp_bpf *)dp;
}

/* relay_dp_load.c */
/* Opens the pinned maps of an earlier agent. -ENOENT: none; -ESTALE: of another layout or size (why says which). */
int ntm_relay_maps_adopt(struct ntm_relay_dp_bpf *d, char *why, size_t cap);
/* Loads the program, on the adopted maps or on new ones, which it pins, and maps the arrays into memory. */
int ntm_relay_program_load(struct ntm_relay_dp_bpf *d, char *why, size_t cap);
void ntm_relay_program_unload(struct ntm_relay_dp_bpf *d);
void ntm_relay_maps_close(struct ntm_relay_dp_bpf *d);
int ntm_relay_program_fd(const struct ntm_relay_dp_bpf *d);
/* Detaches every pinned link and removes every pin of a relay. Returns the first error, having tried all. */
int ntm_relay_pins_clear(struct ntm_relay_dp_bpf *d);

/* relay_dp_uplinks.c */
/* What leaves by which interface: the NICs u and the VLAN interfaces on them. */
int ntm_relay_uplinks_write(struct ntm_relay_dp_bpf *d, const struct ntm_dp_uplink *u, size_t n);
/* Next hops that XDP keeps are asked for anew. */
void ntm_relay_forget_hops(struct ntm_relay_dp_bpf *d);

#endif
