/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent: what its modules share. One thread; everything hangs off struct ntm_node. Modules that speak to peers and
 * to the DC reach the network through `net` and the time through `timers`, so tests run them without sockets.
 */
#ifndef NTM_NODE_NODE_H
#define NTM_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <json-c/json.h>
#include <uv.h>

#include "../common/cookie.h"
#include "../common/log.h"
#include "../common/metrics.h"
#include "../common/signal_codec.h"
#include "../common/version.h"
#include "../dataplane/dp.h"
#include "config.h"
#include "dcclient.h"
#include "direction.h"
#include "gateway.h"
#include "hold.h"
#include "handoff.h"
#include "copies.h"
#include "mobility.h"
#include "relays.h"
#include "rotation.h"
#include "timer.h"
#include "tunnel.h"
#include "uplink_info.h"
#include "uplink_proof.h"

enum ntm_send_mode {
	NTM_SEND_NORMAL,
	NTM_SEND_DF,       /* not fragmented anywhere, whatever the kernel believes the path MTU to be */
	NTM_SEND_FRAGMENT, /* fragmented at the smallest MTU that IPv6 allows */
};

/*
 * src: address to send from (the one that a request came to), NULL: the kernel's choice. 0 or -errno.
 * gather: what is sent from now on may wait, in order, until this is taken back, and an error with it. May be NULL.
 */
struct ntm_net {
	int (*send)(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		    enum ntm_send_mode mode);
	void *arg;
	void (*gather)(void *arg, bool on);
};

struct ntm_identity {
	bool known;
	char fqdn[NTM_NAME_MAX + 1];
	char zone[NTM_NAME_MAX + 1];
	struct ntm_dp_addresses addrs;
	char peer_zones[NTM_PEER_POOLS][NTM_NAME_MAX + 1]; /* whose pools addrs.peers are */
};

/* What an RS, which is a node of its DC with more to say, adds to the session with it. All may be NULL. */
struct ntm_node_hooks {
	void (*registered)(struct ntm_node *n, const struct ntm_sig *m); /* a Registration Response was taken */
	void (*keepalive)(struct ntm_node *n, struct ntm_sig *m); /* adds fields to a Keep Alive or registration */
	/* A message of the DC's that is none for a node. Fills the answer, to be sent if true. */
	bool (*message)(struct ntm_node *n, const struct ntm_sig *m, struct ntm_sig *answer);
	/* A datagram of type 9 or 10 that is no Tunnel Request or Response of a path here. True: taken. */
	bool (*datagram)(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data,
			 size_t len);
	void *arg;
};

struct ntm_node {
	struct ntm_node_config conf;
	struct ntm_node_hooks hooks;
	const char *conf_file;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	struct ntm_timers timers;
	struct ntm_dp *dp;
	struct ntm_net net;
	/* From a port of its own, opened with the first call: what comes there is input, too. arg: net's. May be NULL.
	 */
	int (*send_aside)(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len);
	struct ntm_cookie_jar jar; /* own static key: answers type 1 and type 9 */
	struct ntm_identity id;
	struct ntm_uplink_info uplinks[NTM_UPLINKS_MAX]; /* the preferred first */
	unsigned n_uplinks;
	struct ntm_dp_uplink parked[NTM_UPLINKS_MAX]; /* interfaces that were uplinks and are still there */
	unsigned n_parked;
	struct ntm_tunnels tunnels;
	struct ntm_dcclient dc;
	struct ntm_directions directions;
	struct ntm_path_reports reports;
	struct ntm_hold hold;
	struct ntm_relays relays;
	struct ntm_mapping mapping;
	struct ntm_mobility mobility;
	struct ntm_copies copies;
	struct ntm_handoff handoff;
	struct ntm_proof proof;
	struct ntm_gwclient gateway;
	struct ntm_rotation rotation;
	struct ntm_histogram direction_seconds, handover_seconds;
	uint64_t directions_done, directions_failed, rekeys;
	bool is_gateway; /* an RS: the other end of a gateway path is its client */
	bool embedded;   /* in somebody else's process: its service manager is told nothing */
	bool adopted, ready;
	uint64_t start_ms;
	/* Told when a PROBE_RESPONSE for `ntm ping` came in; NULL: nobody asks. */
	void (*pong)(struct ntm_node *n, struct ntm_tunnel *t, uint32_t txid, double rtt_ms,
		     const struct ntm_addr *from);
	/* Told of everything that `ntm monitor` shows; takes the reference. NULL: nobody listens. */
	void (*on_event)(struct ntm_node *n, json_object *ev);

	void (*identity_changed)(struct ntm_node *n); /* NULL: nobody else has to know */

	uv_loop_t *loop; /* NULL in tests of the core */
	struct ntm_udp *udp;
	struct ntm_userpath *userpath; /* NULL: datapath = bpf, or somebody else's data plane */
	struct ntm_netwatch *netwatch;
	struct ntm_dnsstub *dns;
	struct ntm_dnsmode *dnsmode; /* NULL: the stub only, or nothing */
	struct ntm_control *control;
	struct ntm_metrics_server *metrics; /* NULL: off */
	struct ntm_state *state;
};

/* The part without sockets and event loop: timers, tables, cookie jar. conf, keys, dp and net are set by the caller. */
int ntm_node_core_init(struct ntm_node *n);
void ntm_node_core_free(struct ntm_node *n);

/* A datagram for the agent came to the UDP port, from `from` to the local address `to`. */
void ntm_node_input(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data,
		    size_t len);
/* Registration succeeded (or state was restored): sets addresses, remembers them. */
/* Is it a virtual address, of this zone or another one that the DC federates with? v4-mapped or IPv6. */
bool ntm_node_is_virtual(const struct ntm_node *n, const uint8_t ip[16]);
/* Other zones that a message of the DC names. all: there are no others. */
int ntm_node_peer_zones(struct ntm_node *n, const struct ntm_sig *m, bool all);
void ntm_identity_add_zones(struct ntm_identity *id, const struct ntm_sig *m);
int ntm_node_set_identity(struct ntm_node *n, const struct ntm_identity *id);
/*
 * The uplinks are to be these: now, or when the RSs know where packets will come from (handoff.h). force: as moved,
 * though nothing may have changed.
 */
void ntm_node_set_uplinks(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count, bool force);
/* The uplinks are these now; tells the data plane, the DC and every peer if that changes anything. */
void ntm_node_use_uplinks(struct ntm_node *n, const struct ntm_uplink_info *u, unsigned count, bool force);
bool ntm_node_has_family(const struct ntm_node *n, bool v6);
/* Has one of them that address? */
bool ntm_uplinks_have(const struct ntm_uplink_info *u, unsigned n, const uint8_t ip[16]);
/* Where the kernel lane sends packets of the family from, with these uplinks. False: nowhere, and out is zero. */
bool ntm_uplinks_source(const struct ntm_uplink_info *u, unsigned n, bool v6, uint8_t out[16]);
/*
 * The address that the kernel lane sends from to such an endpoint, for what the agent sends on a path: two sources
 * would make the peer's endpoint go to and fro. Zero if there is none. Returns out.
 */
const uint8_t *ntm_node_source(const struct ntm_node *n, const struct ntm_addr *to, uint8_t out[16]);
/* Is it the address of another uplink than the one that packets of its family leave by? */
bool ntm_node_is_beside(const struct ntm_node *n, const uint8_t ip[16]);
uint16_t ntm_node_uplink_mtu(const struct ntm_node *n, bool v6);
/* Fills candidates out of all uplinks, the preferred uplink's first. Returns their number. */
unsigned ntm_node_candidates(const struct ntm_node *n, struct ntm_candidate out[NTM_CANDIDATES_MAX]);

/* The DC or an RS sees this node at other addresses than before: every peer is told, and tried. */
void ntm_node_reflexive_changed(struct ntm_node *n);

/* A new monitor event with "event" and "time", or NULL when nobody listens; hand it to ntm_node_emit(). */
json_object *ntm_node_event(struct ntm_node *n, const char *name);
void ntm_node_emit(struct ntm_node *n, json_object *ev);

extern const struct ntm_dp_events ntm_node_dp_events; /* for the data plane; arg: struct ntm_node */

/* metrics.c: as configured, if so. 0, or -errno with a sentence in why. */
int ntm_node_metrics_start(struct ntm_node *n, char *why, size_t cap);
/* What every agent counts, also one that is a relay's. prefix: "ntm_node" */
void ntm_node_metrics_add(struct ntm_node *n, struct ntm_metrics *m, const char *prefix);

int ntm_node_run(const char *conf_file);  /* the daemon: returns its exit code */
int ntm_node_down(const char *conf_file); /* --down: likewise */

#endif
