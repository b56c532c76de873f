/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine keeps of a path: keys with their contexts, and whether the peer's engine answers.
 *
 * The owner replaces keys and lanes while workers use them. A worker uses what it has found until the end of its round;
 * what the owner took away is freed when each worker has been between two rounds since (engine.c).
 */
#ifndef NTM_ENGINE_LANE_H
#define NTM_ENGINE_LANE_H

#include "aead.h"
#include "engine.h"

enum {
	NTM_USERS = NTM_WORKERS_MAX + 1, /* workers, and the owner */
	NTM_LANE_KERNEL = 0,
	NTM_LANE_BULK = 1,
};

/* One suite of one epoch. Of suite 0, counter and window are struct ntm_path's. */
struct ntm_lane_key {
	uint8_t suite, epoch;
	uint8_t tx[NTM_KEY_LEN], rx[NTM_KEY_LEN];
	uint64_t counter;                                   /* bulk: the next one */
	struct ntm_rx_epoch window;                         /* bulk */
	struct ntm_aead *seal[NTM_USERS], *open[NTM_USERS]; /* each made by its user when first needed */
};

struct ntm_lane {
	uint64_t path_id; /* network order */
	struct ntm_lane_key *keys[NTM_EPOCHS][2];
	bool up;                /* bulk packets are answered */
	uint64_t unanswered_ns; /* when the first of those was sent that had no answer yet; 0: all had */
	uint64_t heard_ns;      /* when the last bulk packet came */
	uint64_t answered_ns;   /* when the peer was last told that its bulk packets come */
	uint64_t rtt_ns;        /* until an answer comes, the longest of late */
	uint64_t ask_ns;        /* owner: when to ask next whether the peer's engine is there */
	uint32_t ask_wait_ms;
	bool asking; /* owner: in its list */
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
	uint64_t expired_ns; /* when the owner was last told that there is no usable key */
};

struct ntm_lane_key *ntm_lane_key_new(uint8_t suite, uint8_t epoch, const uint8_t *tx, const uint8_t *rx);
void ntm_lane_key_free(void *k);
void ntm_lane_free(void *lane); /* and its keys */

static inline struct ntm_lane_key *ntm_lane_key_get(struct ntm_lane *l, unsigned epoch, int which)
{
	struct ntm_lane_key *k = __atomic_load_n(&l->keys[epoch & 1][which], __ATOMIC_ACQUIRE);
	return k && k->epoch == epoch ? k : NULL;
}

/* This user's context. NULL: no memory. */
struct ntm_aead *ntm_lane_seal(struct ntm_lane_key *k, unsigned user);
struct ntm_aead *ntm_lane_open(struct ntm_lane_key *k, unsigned user);

#endif
