/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of relay paths in memory that relay.bpf.c reads at the same time (headers/ntm/relay.h says how it is laid
 * out). One thread writes. Path IDs are numbers in host order. Functions return 0 or -errno.
 */
#ifndef NTM_RELAY_TABLE_H
#define NTM_RELAY_TABLE_H

#include "relay_dp.h"

struct ntm_relay_table {
	struct ntm_relay_path *paths; /* borrowed, as the next two */
	struct ntm_relay_account *accounts;
	struct ntm_relay_agent *agents;
	uint32_t slots, max; /* max: paths */
	uint32_t count;
	uint32_t tombstones;
	uint32_t cursor; /* where expire() goes on */
};

/* Takes up what is in the memory; a path whose change was not finished loses the end that was being changed. */
void ntm_relay_table_init(struct ntm_relay_table *t, struct ntm_relay_path *paths, struct ntm_relay_account *accounts,
			  struct ntm_relay_agent *agents, uint32_t slots, uint32_t max);
/* As struct ntm_relay_dp_ops says. add: also -EINVAL for a Path ID that can't be one. */
int ntm_relay_table_add(struct ntm_relay_table *t, uint64_t id, const uint8_t secret[NTM_KEY_LEN], uint32_t rate_kbit);
int ntm_relay_table_get(const struct ntm_relay_table *t, uint64_t id, struct ntm_relay_dp_path *out);
/* -EINVAL: no port, or the other end's address. */
int ntm_relay_table_bind(struct ntm_relay_table *t, uint64_t id, unsigned end, const struct ntm_addr *addr,
			 uint64_t seq);
int ntm_relay_table_del(struct ntm_relay_table *t, uint64_t id);
void ntm_relay_table_foreach(const struct ntm_relay_table *t, void (*fn)(void *arg, const struct ntm_relay_dp_path *p),
			     void *arg);
/*
 * Ends paths that were idle for idle_s, at most NTM_RELAY_IDLE_MAX_S, in the next part of the table; returns how many.
 * Where there are many tombstones it moves paths into them, nearer to their home. A packet that is looking for a path
 * at the very moment that it moves may miss it.
 */
unsigned ntm_relay_table_expire(struct ntm_relay_table *t, uint32_t idle_s);
/* Every path, secrets wiped. */
void ntm_relay_table_clear(struct ntm_relay_table *t);

#endif
