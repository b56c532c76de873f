/* SPDX-License-Identifier: BSD-2-Clause */
/* State of the data plane in the agent, shared by its files; nobody else includes this. */
#ifndef NTM_DP_USER_INT_H
#define NTM_DP_USER_INT_H

#include <pthread.h>

#include "../engine/engine.h"
#include "dp_user.h"
#include "fifo.h"
#include "packet.h"

enum { NTM_USER_PAIRS = 8 };

/* Slots by a key out of their path: open addressing. An entry is slot << 1 | which of the slot's keys. */
struct ntm_index {
	uint32_t *entries, mask; /* 0: empty */
};

/* What lies in the state file, or in memory of its own: this, the paths, the agent's records, `active` of each slot. */
struct ntm_user_state {
	uint64_t magic;
	uint32_t layout, n_slots;
	struct ntm_settings settings;
};

struct ntm_user_event {
	uint32_t type; /* enum ntm_event_type */
	uint8_t epoch;
	uint64_t path_id;
	struct ntm_addr addr; /* NO_PATH: the inner destination */
	uint8_t *packet;      /* of NO_PATH and TOO_BIG; owned */
	size_t len;
};

struct ntm_dp_user {
	struct ntm_dp dp; /* first: ops cast */
	struct ntm_dp_user_config conf;
	char *state_file;
	int state_fd;
	void *mem;
	size_t mem_len;
	struct ntm_user_state *state;
	struct ntm_settings *settings;
	struct ntm_path *paths;
	struct ntm_path_agent *agents;
	uint8_t *active;  /* the virtual addresses point to this slot: bit 0 IPv4, bit 1 IPv6 */
	uint32_t n_slots; /* slot 0 is unused */
	bool adopted;

	uint32_t *free_slots, n_free;
	uint64_t *complained_ns; /* of each slot: when its last `expired` was told */
	struct ntm_index ids, vips;
	pthread_rwlock_t index_lock;   /* written by the owner alone, who reads without it */
	struct ntm_dp_general general; /* prefixes: our copy */
	struct ntm_prefix *general_prefixes;

	struct ntm_counter counts[NTM_R_COUNT];
	struct ntm_fifo events;   /* struct ntm_user_event */
	struct ntm_fifo old_keys; /* struct ntm_user_due */
	struct ntm_fifo resting;  /* struct ntm_user_due: slots of deleted paths that workers may still have */
	uint64_t no_path_tat, icmp_tat;
	int timer_fd, poll_fd; /* epoll over timer and engine: what fd() gives */

	struct ntm_engine *engine; /* NULL: all is done by the owner */
	bool running;
	struct ntm_uplink uplinks[2 * NTM_USER_PAIRS]; /* for the engine */
};

struct ntm_user_due {
	uint64_t due_ns;
	uint32_t slot;
};

static inline struct ntm_dp_user *ntm_dpu(struct ntm_dp *dp)
{
	return (struct ntm_dp_user *)dp;
}

/* dp_user_state.c */
int ntm_user_state_open(struct ntm_dp_user *d, char *why, size_t cap);
/* keep: the state file stays as it is; else everything is wiped, and the file removed. */
void ntm_user_state_close(struct ntm_dp_user *d, bool keep);
int ntm_user_state_remove(const char *file, char *why, size_t cap);

/* dp_user_paths.c */
int ntm_user_paths_init(struct ntm_dp_user *d); /* free slots and indexes, out of what was adopted */
void ntm_user_paths_free(struct ntm_dp_user *d);
uint32_t ntm_user_slot(const struct ntm_dp_user *d, uint64_t path_id); /* 0: none */
uint32_t ntm_user_slot_of_vip(const struct ntm_dp_user *d, const struct ntm_vip *vip);
int ntm_user_routes(struct ntm_dp_user *d, uint32_t slot);
void ntm_user_epoch_switched(struct ntm_dp_user *d, uint32_t slot, uint8_t epoch);
void ntm_user_sweep(struct ntm_dp_user *d, uint64_t now);
int ntm_user_add_path(struct ntm_dp *dp, const struct ntm_dp_path *p);
int ntm_user_set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send);
int ntm_user_activate(struct ntm_dp *dp, uint64_t path_id);
int ntm_user_set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms);
int ntm_user_set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer);
int ntm_user_del_path(struct ntm_dp *dp, uint64_t path_id);
int ntm_user_set_general(struct ntm_dp *dp, const struct ntm_dp_general *g);

/* dp_user_packet.c */
int ntm_user_seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		  size_t *out_len);
int ntm_user_open(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from);

/* One that is too big for its path: in fragments inside, by the agent in fragments outside, or answered. */
enum ntm_reason ntm_user_too_big(struct ntm_dp_user *d, uint32_t slot, const uint8_t *packet,
				 const struct ntm_inner *in);

/* dp_user_engine.c */
int ntm_user_engine_init(struct ntm_dp_user *d);
int ntm_user_engine_start(struct ntm_dp *dp, const struct ntm_dp_start *s, char *why, size_t cap);
void ntm_user_engine_close(struct ntm_dp_user *d); /* before paths go */
/* Keys of a slot are about to change, and have changed. */
void ntm_user_engine_forget(struct ntm_dp_user *d, uint32_t slot, uint8_t epoch);
void ntm_user_engine_keys(struct ntm_dp_user *d, uint32_t slot, const struct ntm_dp_keys *k);
void ntm_user_engine_del(struct ntm_dp_user *d, uint32_t slot);

/* dp_user_events.c */
int ntm_user_events_init(struct ntm_dp_user *d);
int ntm_user_events_watch(struct ntm_dp_user *d, int fd); /* one more that makes fd() readable */
void ntm_user_events_free(struct ntm_dp_user *d);
/* Takes e->packet. -ENOBUFS: too many wait already. */
int ntm_user_event(struct ntm_dp_user *d, const struct ntm_user_event *e);
void ntm_user_rearm(struct ntm_dp_user *d);
void ntm_user_dispatch(struct ntm_dp *dp);

/* too_big.c: an answer that names the MTU, in out; returns its length, 0: this packet gets none. */
enum { NTM_TOO_BIG_MAX = 1280 };
size_t ntm_too_big_answer(const uint8_t *packet, size_t len, uint16_t mtu, uint8_t out[NTM_TOO_BIG_MAX]);
/* Is it IPv4 without "don't fragment"? Then it is cut into fragments of at most mtu bytes, in order. */
bool ntm_may_fragment(const uint8_t *packet, size_t len);
int ntm_fragment(const uint8_t *packet, size_t len, uint16_t mtu, void (*fn)(void *arg, const uint8_t *p, size_t len),
		 void *arg);

#endif
