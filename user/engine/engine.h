/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The user-space engine: worker threads that seal what a TUN gives and send it by UDP, and open what comes by UDP and
 * write it into the TUN, in super-packets on both sides. It works on struct ntm_path memory as the BPF programs do:
 * paths in BPF maps (the bulk lane of dp_bpf) or in plain memory (dp_user). Suite 0 uses counters and windows of
 * struct ntm_path, so that whoever else opens and seals there does it with the same ones; the bulk suites' keys,
 * counters and windows are in here, and are gone with the process.
 *
 * One owner thread (the agent's loop) calls everything but what says otherwise. Workers talk to it by a bounded queue.
 * A worker that hangs holds up nothing but what is in its own queues.
 */
#ifndef NTM_ENGINE_H
#define NTM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/maps.h>
#include <ntm/reasons.h>

#include "../common/addr.h"
#include "tun.h"

enum {
	NTM_WORKERS_MAX = 8,
	NTM_ENGINE_DATAGRAM_MAX = 2048, /* of what is handed to the owner */
};

struct ntm_engine;

enum ntm_engine_event_type {
	NTM_ENGINE_ROAMED,   /* the peer's endpoint moved to addr */
	NTM_ENGINE_EPOCH,    /* the peer uses `epoch`, sending has switched to it */
	NTM_ENGINE_EXPIRED,  /* no usable key for sending; once a second and path */
	NTM_ENGINE_LANE,     /* the bulk lane of the path came (up) or went */
	NTM_ENGINE_NO_PATH,  /* data: an inner packet to addr.ip without a path; at most 1,000 a second */
	NTM_ENGINE_TOO_BIG,  /* data: an inner packet too big for the path's outer MTU; at most 1,000 a second that
				the owner is not to send in fragments (NTM_PATH_SMALL_OUTER) */
	NTM_ENGINE_DATAGRAM, /* data: a datagram from addr to `to` that is not the engine's */
	NTM_ENGINE_TUN_GONE, /* its owner closed or removed it: `epoch` is the worker */
};

struct ntm_engine_event {
	enum ntm_engine_event_type type;
	uint64_t path_id; /* host order; 0: none */
	struct ntm_addr addr;
	uint8_t to[16];
	uint8_t epoch;
	bool up;
	const uint8_t *data; /* borrowed, aligned to 8 */
	size_t len;
};

/* What the data plane knows. Workers call these, at any time and at once. */
struct ntm_engine_ops {
	uint32_t (*by_id)(void *arg, uint64_t id_be);        /* slot of a path, 0: none */
	uint32_t (*by_dst)(void *arg, const uint8_t ip[16]); /* slot of the path to a virtual address, 0: none */
	bool (*is_local)(void *arg, const uint8_t ip[16]);   /* a real address of this host? */
	/* Where the host's own services are asked by packets: told as NTM_ENGINE_NO_PATH. NULL: nowhere. */
	bool (*is_own)(void *arg, const uint8_t ip[16]);
	void (*event)(void *arg, const struct ntm_engine_event *); /* owner's thread, from dispatch() */
};

struct ntm_engine_config {
	struct ntm_path *paths; /* n_slots, slot 0 unused; borrowed, as all of these */
	uint32_t n_slots;
	const struct ntm_settings *settings;
	const struct ntm_uplink *uplinks; /* index 2 * pair + (IPv6 ? 1 : 0) */
	struct ntm_lanes *lanes;          /* heartbeat for tc; NULL: nobody looks */
	const struct ntm_engine_ops *ops;
	void *arg;
	unsigned workers; /* 0: as many as CPUs, at most 4 */
};

/* 0 or -errno. */
int ntm_engine_new(struct ntm_engine **out, const struct ntm_engine_config *c);
/*
 * Opens sockets on the port (host order), which they share with the owner's (SO_REUSEPORT), and starts the workers on
 * these TUN queues; fewer than there are workers: the others only receive. The engine owns them from here on. first:
 * the owner's socket of each family, -1: none; it gets all that is not sealed data. 0 or -errno.
 */
int ntm_engine_start(struct ntm_engine *e, const struct ntm_tun *tuns, unsigned n_tuns, uint16_t port, uint32_t mark,
		     const int first[2]);
unsigned ntm_engine_workers(const struct ntm_engine *e);
/* Another TUN after NTM_ENGINE_TUN_GONE, queue i for worker i. */
int ntm_engine_set_tun(struct ntm_engine *e, unsigned worker, const struct ntm_tun *tun);
/*
 * Now and then, while a path is in use: takes the heartbeat's mark from queues that have nothing to be read (a packet
 * got lost before them), and asks the peer's engine whether it is there if it was not heard for a second.
 */
void ntm_engine_look(struct ntm_engine *e, uint32_t slot);
void ntm_engine_free(struct ntm_engine *e); /* ends the workers, wipes the keys */

struct ntm_engine_keys {
	uint8_t epoch;
	const uint8_t *tx, *rx; /* suite 0, NTM_KEY_LEN each */
	uint8_t bulk_suite;     /* 0: none agreed */
	const uint8_t *bulk_tx, *bulk_rx;
};
/* To be called before counter and window of suite 0 begin anew in the slot's struct ntm_path: nobody uses them with the
 * former key after that. */
void ntm_engine_forget(struct ntm_engine *e, uint32_t slot, uint8_t epoch);
/* The slot's struct ntm_path has these keys of suite 0 (its counter and window are new) from now on. 0 or -ENOMEM. */
int ntm_engine_set_keys(struct ntm_engine *e, uint32_t slot, const struct ntm_engine_keys *k);
void ntm_engine_del(struct ntm_engine *e, uint32_t slot); /* the path is gone */

struct ntm_engine_stats {
	bool bulk;                                           /* the lane in use for what is large */
	uint8_t suite;                                       /* agreed for it, 0: none */
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes; /* inner, on the bulk suites */
};
void ntm_engine_stats(struct ntm_engine *e, uint32_t slot, struct ntm_engine_stats *out);
/* Adds to out, which has NTM_R_COUNT entries. */
void ntm_engine_counters(struct ntm_engine *e, struct ntm_counter *out);

int ntm_engine_fd(struct ntm_engine *e);        /* readable: dispatch() has something to do */
void ntm_engine_dispatch(struct ntm_engine *e); /* calls ops->event */

#endif
