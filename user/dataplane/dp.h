/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data plane behind one vtable: the agent says what paths there are; BPF (dp_bpf.c) or, in tests, memory
 * (dp_fake.c) carries packets. Everything runs on the agent's one thread. Functions return 0 or -errno.
 * Path IDs are numbers in host order here; on the wire and in maps htobe64() of them.
 */
#ifndef NTM_DP_H
#define NTM_DP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/maps.h>
#include <ntm/reasons.h>

#include "../common/addr.h"

#define NTM_RTPROT 78 /* protocol of the routes and rules that the data plane makes */

enum ntm_xdp_mode { NTM_XDP_AUTO, NTM_XDP_NATIVE, NTM_XDP_GENERIC, NTM_XDP_TC };

/* Where packets are taken in on an uplink. */
enum ntm_rx_hook { NTM_RX_GENERIC, NTM_RX_NATIVE, NTM_RX_TC };

static inline const char *ntm_rx_hook_name(enum ntm_rx_hook hook)
{
	return hook == NTM_RX_TC ? "tc" : hook == NTM_RX_NATIVE ? "native" : "generic";
}

struct ntm_dp_config {
	const char *ifname;      /* "ntm0"; its peer is ifname + "p" */
	const char *runtime_dir; /* bpffs at runtime_dir/bpf */
	uint16_t port;           /* host order */
	enum ntm_xdp_mode xdp_mode;
	uint32_t max_paths;    /* 0: NTM_MAX_PATHS_DEFAULT */
	bool gateway;          /* this host is the way to general nodes for its client paths */
	bool bulk;             /* with the bulk lane, once start() was called */
	uint32_t duplicate_ms; /* so long after a change of uplinks packets leave by the former one, too; 0: not */
	bool external_xdp;     /* other programs are on the uplinks, and call ntm_dp_bpf_decap_fd() */
};

/*
 * General destinations that a node sends to by its gateway. IPv4 prefixes are v4-mapped, as everywhere. Packets with
 * the mark, and those from other addresses than the virtual ones, go their own way.
 */
struct ntm_dp_general {
	const struct ntm_prefix *prefixes;
	size_t n;
	uint32_t table, mark;
};

struct ntm_dp_addresses {
	uint8_t vip4[4], vip6[16];
	struct ntm_prefix pool4, pool6; /* pool4 v4-mapped */
	struct {
		struct ntm_prefix pool4, pool6;
	} peers[NTM_PEER_POOLS]; /* other zones' */
	unsigned n_peers;
};

/* What routes there are by an uplink, if that is simple: what is on the link, and one way to everything else or none.
 */
struct ntm_dp_way {
	bool known;          /* false: the kernel's routes are asked for each packet */
	bool out;            /* there is a default route */
	uint8_t prefix_len;  /* of the link, around the uplink's address; as in struct ntm_prefix */
	uint8_t gateway[16]; /* v4-mapped; zero: what the default route leads to is on the link, too */
};

/*
 * An uplink as the watcher found it. addr4/addr6 all zero: that family is not there. Neither: nothing is sent by it
 * now, but XDP stays, for to attach it takes many milliseconds when the address comes back.
 */
struct ntm_dp_uplink {
	char name[16];
	uint32_t ifindex;
	uint32_t mtu;
	uint8_t addr4[4], addr6[16];
	struct ntm_dp_way way4, way6;
	enum ntm_rx_hook hook; /* out: set by set_uplinks */
};

struct ntm_dp_path {
	uint64_t path_id;
	uint8_t peer_vip4[4], peer_vip6[16];
	struct ntm_addr endpoint; /* all zero: not known yet */
	uint16_t inner_mtu;
	bool small_outer; /* NTM_PATH_SMALL_OUTER */
	bool gateway;     /* NTM_PATH_GATEWAY: the peer is the way to general nodes */
	bool client;      /* NTM_PATH_CLIENT: this host is that for the peer */
};

struct ntm_dp_keys { /* one epoch */
	uint8_t epoch;
	uint8_t tx[NTM_KEY_LEN], rx[NTM_KEY_LEN]; /* suite 0 */
	uint8_t bulk_suite;                       /* 1 or 2, as agreed; 0: no bulk lane */
	uint8_t bulk_tx[NTM_KEY_LEN], bulk_rx[NTM_KEY_LEN];
};

/* What the bulk lane needs of the agent's network, when that is there. */
struct ntm_dp_start {
	uint16_t port; /* host order; the data plane's own sockets share it (SO_REUSEPORT) */
	uint32_t mark; /* SO_MARK of what they send, 0: none */
	int fds[2];    /* the agent's sockets, IPv4 and IPv6, -1: none; signalling keeps coming to these */
};

struct ntm_dp_stats {
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
	uint64_t last_tx_ns, last_rx_ns; /* CLOCK_BOOTTIME, 0: never */
	uint64_t roams, tx_counter;
	uint8_t tx_epoch;
	struct ntm_addr endpoint;
	uint16_t inner_mtu;
	bool bulk;                                                               /* large packets take the bulk lane */
	uint8_t bulk_suite;                                                      /* agreed for it, 0: none */
	uint64_t bulk_tx_packets, bulk_tx_bytes, bulk_rx_packets, bulk_rx_bytes; /* part of the above */
};

/* What the data plane tells the agent. Called from dispatch(); packets are borrowed. */
struct ntm_dp_events {
	/* inner packet to a virtual address without a path (rate limited) */
	void (*no_path)(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len);
	/* inner packet too big for the outer MTU of a small path: to be sent by seal() and a fragmenting socket */
	void (*too_big)(void *arg, uint64_t path_id, const uint8_t *packet, size_t len);
	/* Reports of the lanes come in no order among each other: what holds now is in stats(). */
	void (*roamed)(void *arg, uint64_t path_id, const struct ntm_addr *endpoint);
	/* responder: the peer sent on the new epoch, sending has switched to it */
	void (*epoch_confirmed)(void *arg, uint64_t path_id, uint8_t epoch);
	void (*expired)(void *arg, uint64_t path_id);
	/* The bulk lane of a path came into use or went out of it. */
	void (*lane)(void *arg, uint64_t path_id, bool up);
	/* A datagram for the agent that came to one of the data plane's sockets; aligned to 8. */
	void (*datagram)(void *arg, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data, size_t len);
};

struct ntm_dp;

struct ntm_dp_ops {
	/* Has pins or an interface of an earlier agent been adopted? Valid after open. */
	bool (*adopted)(struct ntm_dp *dp);
	/* Calls fn for each path that was adopted (or is there now). */
	void (*foreach)(struct ntm_dp *dp, void (*fn)(void *arg, const struct ntm_dp_path *p), void *arg);

	/* Creates or updates ntm0's addresses and routes, and the settings. */
	int (*set_addresses)(struct ntm_dp *dp, const struct ntm_dp_addresses *a);
	/* As set by an earlier agent and adopted; -ENOENT if none. */
	int (*get_addresses)(struct ntm_dp *dp, struct ntm_dp_addresses *a);
	/*
	 * All uplinks, the preferred first. Attaches XDP to new ones, detaches from gone ones, fills uplink pair 0 (the
	 * preferred interface of each family) and the set of local addresses. An interface that fails makes the result
	 * its error, with a sentence in why; everything else is done all the same.
	 */
	int (*set_uplinks)(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap);

	/*
	 * Routes to these prefixes into ntm0, in a table of their own, and the rules that lead there; with the MTU of
	 * the active gateway path, now and whenever it changes. n 0: no such routes any more. They outlive the agent
	 * as paths do. set_addresses() comes first.
	 */
	int (*set_general)(struct ntm_dp *dp, const struct ntm_dp_general *g);

	/* A path without keys. -EEXIST, -ENOSPC (max_paths). The virtual addresses point to it from activate() on. */
	int (*add_path)(struct ntm_dp *dp, const struct ntm_dp_path *p);
	/*
	 * Installs an epoch's keys. send: switch sending to it now and give the epoch before it NTM_EPOCH_GRACE_S more
	 * (initiator); else the peer's first packet on it does that in the kernel, with an epoch_confirmed event
	 * (responder; if the path has no other epoch, sending switches at once too).
	 */
	int (*set_keys)(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send);
	/*
	 * Points the peer's virtual addresses to this path and installs its route with its MTU. A gateway path also
	 * becomes the way to general destinations.
	 */
	int (*activate)(struct ntm_dp *dp, uint64_t path_id);
	/* hold_ms: for so long no packet moves it elsewhere, 0: the next one may */
	int (*set_endpoint)(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms);
	/* Updates the path and the route `VIP dev ntm0 mtu N` for both virtual addresses. */
	int (*set_mtu)(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer);
	/*
	 * Keys are wiped after running programs are done with them. Routes go if no other path serves the addresses.
	 * Another active gateway path, if there is one, becomes the way to general destinations.
	 */
	int (*del_path)(struct ntm_dp *dp, uint64_t path_id);
	int (*stats)(struct ntm_dp *dp, uint64_t path_id, struct ntm_dp_stats *s);
	/* That of stats() alone, for what is done for a thousand paths at once. */
	int (*endpoint)(struct ntm_dp *dp, uint64_t path_id, struct ntm_addr *ep);
	/* Sum over CPUs. out has NTM_R_COUNT entries. */
	int (*counters)(struct ntm_dp *dp, struct ntm_counter *out);

	/* The agent's own record of a path: lives with the path, survives the agent. Written by plain stores. NULL: no
	 * such path. */
	struct ntm_path_agent *(*agent_record)(struct ntm_dp *dp, uint64_t path_id);

	/*
	 * Slow path, same keys, counters and replay window as the kernel programs. seal: a whole suite 0 datagram for
	 * an inner packet (len 0: keep-alive) in out. open: a suite 0 datagram that came to the socket (reassembled,
	 * with options, ...): checked, opened, counted and delivered into ntm0; *endpoint_moved as in the kernel.
	 */
	int (*seal)(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		    size_t *out_len);
	int (*open)(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from);

	/* Starts the bulk lane, if it was configured. Without it paths work as well: an error is for the log. */
	int (*start)(struct ntm_dp *dp, const struct ntm_dp_start *s, char *why, size_t cap);

	int (*fd)(struct ntm_dp *dp);        /* becomes readable when events are there */
	void (*dispatch)(struct ntm_dp *dp); /* calls the events; bounded work a call */
	/* keep: leave interface, programs, pins and paths for the next agent; else remove everything. */
	void (*close)(struct ntm_dp *dp, bool keep);
};

struct ntm_dp {
	const struct ntm_dp_ops *ops;
	const struct ntm_dp_events *events;
	void *arg;
	uint16_t suites; /* bit n: suite n can be agreed on for the bulk lane, besides 0 and 8 */
};

/* Both: 0, or -errno with one sentence in why. */
int ntm_dp_bpf_open(struct ntm_dp **out, const struct ntm_dp_config *c, const struct ntm_dp_events *ev, void *arg,
		    char *why, size_t cap);
int ntm_dp_fake_open(struct ntm_dp **out, const struct ntm_dp_config *c, const struct ntm_dp_events *ev, void *arg,
		     char *why, size_t cap);

/* node_decap, for the program that is on the uplinks if external_xdp; borrowed. */
int ntm_dp_bpf_decap_fd(struct ntm_dp *dp);

/* Removes interface, programs and pins of a data plane whose agent is gone (`ntm-node --down`). */
int ntm_dp_bpf_remove(const struct ntm_dp_config *c, char *why, size_t cap);

#endif
