/* SPDX-License-Identifier: BSD-2-Clause */
/* The BPF data plane's state, shared by its files; nobody else includes this. */
#ifndef NTM_DP_INTERNAL_H
#define NTM_DP_INTERNAL_H

#include <limits.h>
#include <net/if.h>

#include "attach.h"
#include "dp.h"
#include "fifo.h"
#include "pathops.h"
#include "rtnl.h"
#include "xdp_links.h"
#include "../engine/path_mem.h"

struct ring_buffer;
struct node_encap;
struct node_decap;
struct node_ingress;
struct node_lane;
struct ntm_engine;

enum ntm_map_index {
	NTM_MAP_SETTINGS,
	NTM_MAP_UPLINKS,
	NTM_MAP_PATHS,
	NTM_MAP_PATH_IDS,
	NTM_MAP_VIPS,
	NTM_MAP_LOCALS,
	NTM_MAP_COUNTERS,
	NTM_MAP_EVENTS,
	NTM_MAP_AGENT,
	NTM_MAP_LANES,
	NTM_MAP_COUNT
};

#define NTM_ENCAP_PIN "encap"
#define NTM_LANE_PIN "lane"

/* What open() or the kernel programs found out and dispatch() has to tell. */
struct ntm_pending {
	uint64_t path_id;
	uint32_t type; /* NTM_EV_ROAMED or NTM_EV_EPOCH */
	uint8_t epoch;
	struct ntm_addr addr;
};

/* A slot of a deleted path, to be wiped, or one with an old key to be wiped, at due_ns. */
struct ntm_due {
	uint64_t due_ns;
	uint32_t slot;
};

struct ntm_dp_bpf {
	struct ntm_dp dp; /* first: ops cast */
	char ifname[IFNAMSIZ], peer_name[IFNAMSIZ];
	char runtime_dir[PATH_MAX];
	uint16_t port;
	uint32_t duplicate_ms;
	uint32_t n_slots; /* entries of ntm_paths; slot 0 is unused */
	bool adopted, gateway, external_xdp;
	struct ntm_dp_general general; /* prefixes: our copy */
	struct ntm_prefix *general_prefixes;

	int lock_fd, claim_fd; /* one agent a runtime directory, one a network namespace and interface */
	int pins;              /* bpffs directory */
	int inject_fd;         /* AF_PACKET on ntm0p */
	int poll_fd, timer_fd; /* epoll over ring buffer and timer: what fd() gives */
	struct ntm_rtnl rtnl;
	struct ntm_link ntm0, ntm0p;

	struct node_encap *encap;
	struct node_decap *decap;
	struct node_ingress *ingress; /* NULL until an uplink wants it */
	struct node_lane *lane;
	int map_fd[NTM_MAP_COUNT];
	struct ntm_settings *settings;
	struct ntm_uplink *uplinks;
	struct ntm_path *paths;
	struct ntm_path_agent *agents;
	struct ntm_lanes *lanes;
	struct ring_buffer *ring;

	struct ntm_tc_attachment tc, tc_lane;

	/* bulk.c */
	struct ntm_engine *engine; /* NULL: no bulk lane */
	char bulk_name[IFNAMSIZ];
	struct ntm_tc_attachment tc_bulk; /* ingress of the TUN; goes with it */
	struct ntm_xdp_links links;       /* XDP on the uplinks */

	uint32_t *free_slots;
	uint32_t n_free;
	uint32_t *found; /* slots by the low bits of path IDs, as last looked up; 0: none */
	uint32_t found_mask;
	struct ntm_fifo quarantine, old_keys; /* struct ntm_due, by due_ns */
	struct ntm_fifo pending;              /* struct ntm_pending */
	struct ntm_counter counts[NTM_R_COUNT];
	unsigned budget; /* events left in this dispatch() */
	uint32_t advmss_mtu;
};

static inline struct ntm_dp_bpf *ntm_dpb(struct ntm_dp *dp)
{
	return (struct ntm_dp_bpf *)dp;
}

/* ntm0.c */
int ntm_ntm0_find(struct ntm_dp_bpf *d, bool *mine);
int ntm_ntm0_create(struct ntm_dp_bpf *d, char *why, size_t cap);
int ntm_ntm0_remove(struct ntm_dp_bpf *d);
int ntm_ntm0_set_mtu(struct ntm_dp_bpf *d, uint32_t mtu);
void ntm_ntm0_limit_segments(struct ntm_dp_bpf *d); /* for the bulk lane */
int ntm_ntm0_addresses(struct ntm_dp_bpf *d, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a);
/* Route of one peer address (v4-mapped or IPv6) with its MTU. */
int ntm_ntm0_peer_route(struct ntm_dp_bpf *d, const uint8_t ip[16], uint16_t mtu);
int ntm_ntm0_peer_route_del(struct ntm_dp_bpf *d, const uint8_t ip[16]);

int ntm_dp_set_general(struct ntm_dp *dp, const struct ntm_dp_general *g);
int ntm_general_routes(struct ntm_dp_bpf *d); /* anew, with the MTU of now */
/* Removes rules and routes, also those of an agent that is gone. */
int ntm_general_clear(struct ntm_dp_bpf *d);
void ntm_general_free(struct ntm_dp_bpf *d);

/* dp_load.c */
/* Opens the pinned maps of an earlier agent. -ENOENT: none; -ESTALE: of another layout or size (why says which). */
int ntm_maps_adopt(struct ntm_dp_bpf *d, char *why, size_t cap);
/* Loads the programs, on the adopted maps or on new ones, which it pins, and maps the arrays into memory. */
int ntm_programs_load(struct ntm_dp_bpf *d, char *why, size_t cap);
void ntm_programs_unload(struct ntm_dp_bpf *d);
int ntm_maps_mmap(struct ntm_dp_bpf *d);
void ntm_maps_close(struct ntm_dp_bpf *d);
int ntm_encap_fd(const struct ntm_dp_bpf *d);
int ntm_decap_fd(const struct ntm_dp_bpf *d);
/* node_decap's form for tc, which is loaded now if it was not. -errno: it can't be. */
int ntm_ingress_fd(struct ntm_dp_bpf *d);
int ntm_lane_fd(const struct ntm_dp_bpf *d);    /* node_lane: tc egress of ntm0 */
int ntm_lane_in_fd(const struct ntm_dp_bpf *d); /* node_lane_in: tc ingress of the TUN */
int ntm_steer_fd(const struct ntm_dp_bpf *d);   /* node_steer: queues of the TUN */
/* Detaches every pinned link and removes every pin. Returns the first error, having tried all. */
int ntm_pins_clear(struct ntm_dp_bpf *d);

/* uplinks.c */
int ntm_dp_set_uplinks(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap);

/* paths.c */
int ntm_paths_init(struct ntm_dp_bpf *d);
uint32_t ntm_path_slot(struct ntm_dp_bpf *d, uint64_t path_id);
bool ntm_path_is_active(struct ntm_dp_bpf *d, uint32_t slot);
int ntm_path_routes(struct ntm_dp_bpf *d, const struct ntm_path *p);
int ntm_dp_add_path(struct ntm_dp *dp, const struct ntm_dp_path *p);
int ntm_dp_activate(struct ntm_dp *dp, uint64_t path_id);
int ntm_dp_set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms);
int ntm_dp_set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer);
int ntm_dp_del_path(struct ntm_dp *dp, uint64_t path_id);
/* Wipes what is due and returns when the next thing will be, 0: nothing. */
uint64_t ntm_paths_sweep(struct ntm_dp_bpf *d, uint64_t now);

/* keys.c */
int ntm_dp_set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send);
/* Sending on path slot has switched to epoch: the epoch before it ends after its grace. */
void ntm_epoch_switched(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch);
/* Waits until no running BPF program can hold what was read before. */
void ntm_synchronize(void);

/* bulk.c */
/* Makes the engine; without one there is no bulk lane, which is no error of the data plane. */
void ntm_bulk_init(struct ntm_dp_bpf *d);
int ntm_dp_start(struct ntm_dp *dp, const struct ntm_dp_start *s, char *why, size_t cap);
/* Before the keys of a slot of a path change: the engine uses them no more, so that counters can begin anew. */
void ntm_bulk_forget(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch);
void ntm_bulk_keys(struct ntm_dp_bpf *d, uint32_t slot, const struct ntm_dp_keys *k);
void ntm_bulk_del(struct ntm_dp_bpf *d, uint32_t slot);
void ntm_bulk_close(struct ntm_dp_bpf *d);

/* slowpath.c */
int ntm_inject_open(struct ntm_dp_bpf *d);
int ntm_dp_seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		size_t *out_len);
int ntm_dp_open_datagram(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from);

/* events.c */
int ntm_events_init(struct ntm_dp_bpf *d);
void ntm_events_close(struct ntm_dp_bpf *d);
int ntm_events_watch(struct ntm_dp_bpf *d, int fd); /* one more that makes fd() readable */
void ntm_dp_dispatch(struct ntm_dp *dp);
/* Queues something for dispatch() and makes fd() readable. */
void ntm_event_push(struct ntm_dp_bpf *d, const struct ntm_pending *p);
/* Arms the timer for the earliest thing that is due. */
void ntm_events_rearm(struct ntm_dp_bpf *d);

#endif
