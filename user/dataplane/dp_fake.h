/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A data plane in memory for the agent's unit tests: it keeps what it is told, records each changing call, fails on
 * request and fires events. seal() does not encrypt: header, packet, a tag of zeros.
 */
#ifndef NTM_DP_FAKE_H
#define NTM_DP_FAKE_H

#include "dp.h"

enum ntm_dp_fake_op {
	NTM_FAKE_SET_ADDRESSES,
	NTM_FAKE_SET_UPLINKS,
	NTM_FAKE_ADD_PATH,
	NTM_FAKE_SET_KEYS,
	NTM_FAKE_ACTIVATE,
	NTM_FAKE_SET_ENDPOINT,
	NTM_FAKE_SET_MTU,
	NTM_FAKE_DEL_PATH,
	NTM_FAKE_SEAL,
	NTM_FAKE_OPEN,
	NTM_FAKE_SET_GENERAL,
	NTM_FAKE_OP_COUNT
};

struct ntm_dp_fake_call {
	enum ntm_dp_fake_op op;
	uint64_t path_id; /* 0 where there is none */
	int result;
	bool send;          /* SET_KEYS */
	uint8_t epoch;      /* SET_KEYS */
	uint16_t mtu;       /* SET_MTU */
	struct ntm_addr ep; /* SET_ENDPOINT, ADD_PATH; OPEN: from */
	uint32_t hold_ms;   /* SET_ENDPOINT */
	size_t len;         /* SEAL: inner, OPEN: datagram; SET_UPLINKS, SET_GENERAL: how many */
};

struct ntm_dp_fake_path {
	struct ntm_dp_path path;
	struct ntm_dp_keys keys[NTM_EPOCHS]; /* by epoch & 1 */
	bool has_keys[NTM_EPOCHS];
	bool active;
	uint8_t next_epoch;        /* 16: none */
	struct ntm_dp_stats stats; /* tests write here what stats() is to give */
	struct ntm_path_agent agent;
};

/* Borrowed until the next call of the data plane. */
size_t ntm_dp_fake_calls(struct ntm_dp *dp, const struct ntm_dp_fake_call **calls);
void ntm_dp_fake_forget_calls(struct ntm_dp *dp);
/* How many calls of this kind there were; path_id 0: any. */
size_t ntm_dp_fake_count(struct ntm_dp *dp, enum ntm_dp_fake_op op, uint64_t path_id);
/* The next call of this kind returns err and does nothing. */
void ntm_dp_fake_fail_next(struct ntm_dp *dp, enum ntm_dp_fake_op op, int err);
/* NULL: no such path. */
struct ntm_dp_fake_path *ntm_dp_fake_path(struct ntm_dp *dp, uint64_t path_id);
size_t ntm_dp_fake_path_count(struct ntm_dp *dp);

/* Events: fd() becomes readable, dispatch() delivers them in order. */
void ntm_dp_fake_no_path(struct ntm_dp *dp, const uint8_t dst[16], const void *packet, size_t len);
void ntm_dp_fake_too_big(struct ntm_dp *dp, uint64_t path_id, const void *packet, size_t len);
void ntm_dp_fake_roamed(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep); /* moves it, too */
void ntm_dp_fake_confirm_epoch(struct ntm_dp *dp, uint64_t path_id);                     /* the waiting one */
void ntm_dp_fake_expired(struct ntm_dp *dp, uint64_t path_id);

/* close(keep) leaves the state to the next ntm_dp_fake_open() in this process; this forgets it. */
void ntm_dp_fake_forget_kept(void);

#endif
