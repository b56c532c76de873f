/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine's state, shared by its files; nobody else includes this. */
#ifndef NTM_ENGINE_INT_H
#define NTM_ENGINE_INT_H

#include <pthread.h>

#include "beat.h"
#include "engine.h"
#include "gro.h"
#include "gso.h"
#include "lane.h"
#include "path_mem.h"
#include "udpio.h"

enum {
	NTM_ENGINE_QUEUE = 128, /* events for the owner; more than these are dropped */
	NTM_WATCH_MAX = 64,     /* paths of which a worker watches answers, or owes them, at once */

	NTM_ANSWER_MS = 2,   /* an answer to bulk packets, at most this late */
	NTM_SILENCE_MS = 50, /* besides the round trip, without an answer: the lane is gone */
	NTM_WATCH_MS = 5,    /* how often that is looked at */
	NTM_ASK_MS = 20,     /* first question after the keys; doubling to: */
	NTM_ASK_MAX_MS = 1000,
	NTM_ASK_FIRST = 5,    /* that many while the path is not in use */
	NTM_ASK_RECENT_S = 2, /* in use: has sent in this time */
};

struct ntm_engine_item {
	struct ntm_engine_event ev;
	_Alignas(8) uint8_t data[NTM_ENGINE_DATAGRAM_MAX];
};

struct ntm_worker {
	struct ntm_engine *e;
	unsigned index;
	pthread_t thread;
	bool started;
	int epoll_fd, wake_fd, fd4, fd6;
	int tx4, tx6;        /* not in epoll_fd: each datagram that left would look for a waiter there */
	struct ntm_tun tun;  /* fd -1: none */
	struct ntm_tun next; /* under e->lock: to be taken in place of tun */
	bool has_next, stop; /* under e->lock */

	uint64_t rounds;                                      /* odd: in one, and may hold keys and lanes */
	uint64_t now;                                         /* CLOCK_BOOTTIME, of this round */
	uint32_t watched[NTM_WATCH_MAX], owed[NTM_WATCH_MAX]; /* slots */
	unsigned n_watched, n_owed;
	uint64_t upcall_tat; /* of NO_PATH and TOO_BIG: a token bucket */

	struct ntm_counter counts[NTM_R_COUNT];
	uint8_t out_dst[16]; /* the last one looked up in this round, and what was found */
	uint32_t out_slot;
	uint64_t in_id;
	uint32_t in_slot;

	struct ntm_gro gro;
	struct ntm_udp_tx tx;
	struct ntm_udp_rx rx;
	uint8_t super[NTM_SUPER_MAX];
};

struct ntm_retired {
	struct ntm_retired *next;
	void *p;
	void (*free)(void *);
	uint64_t rounds[NTM_WORKERS_MAX];
};

struct ntm_engine {
	struct ntm_engine_config c;
	struct ntm_lane **lanes; /* n_slots */
	struct ntm_worker *workers;
	unsigned n_workers;
	bool running;
	struct ntm_beat beat;
	struct ntm_retired *retired;

	uint32_t *asking; /* slots */
	uint32_t n_asking;
	int timer_fd, event_fd, poll_fd;
	struct ntm_udp_tx *tx; /* the owner's */

	pthread_mutex_t lock; /* queue, mailboxes of the workers */
	struct ntm_engine_item *queue;
	unsigned head, tail; /* of queue: tail - head are waiting */
};

static inline void ntm_worker_count(struct ntm_worker *w, enum ntm_reason r, size_t bytes)
{
	struct ntm_counter *c = &w->counts[r];
	__atomic_store_n(&c->packets, c->packets + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->bytes, c->bytes + bytes, __ATOMIC_RELAXED);
}

/* engine.c: any thread. The event is dropped where the queue is full; false: it was. */
bool ntm_engine_push(struct ntm_engine *e, const struct ntm_engine_event *ev);
static inline struct ntm_lane *ntm_engine_lane(struct ntm_engine *e, uint32_t slot)
{
	return slot && slot < e->c.n_slots ? __atomic_load_n(&e->lanes[slot], __ATOMIC_ACQUIRE) : NULL;
}
/* Has it been too long without an answer to what was sent on the bulk lane? */
bool ntm_lane_is_late(const struct ntm_lane *l, uint64_t now);
void ntm_engine_lane_up(struct ntm_engine *e, uint32_t slot, struct ntm_lane *l, bool up);

/* worker.c */
int ntm_worker_open(struct ntm_worker *w, struct ntm_engine *e, unsigned index, uint16_t port, uint32_t mark);
/* The sockets to send by; to be opened after all that receive. */
int ntm_worker_open_tx(struct ntm_worker *w, uint16_t port, uint32_t mark);
int ntm_worker_start(struct ntm_worker *w);
void ntm_worker_close(struct ntm_worker *w); /* ends and joins it */

/* outbound.c */
void ntm_outbound(struct ntm_worker *w, const struct virtio_net_hdr *vh, const uint8_t *packet, size_t len);
/* An empty bulk packet, or one with a question in it, on the epoch in use. tx, user: of the calling thread. */
int ntm_lane_signal(struct ntm_engine *e, struct ntm_udp_tx *tx, unsigned user, uint32_t slot, struct ntm_lane *l,
		    bool question);

/* inbound.c */
void ntm_inbound(struct ntm_worker *w, struct ntm_udp_in *in);
void ntm_inbound_flush(struct ntm_worker *w);

#endif
