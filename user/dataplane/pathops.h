/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One path in the memory layout of ntm/maps.h: what the agent does to it is the same whether kernel programs work on
 * that memory at the same time (dp_bpf.c) or the agent has it for itself (dp_user.c). Finding a path, and what follows
 * outside of it (routes, events), is the caller's.
 */
#ifndef NTM_PATHOPS_H
#define NTM_PATHOPS_H

#include "../engine/path_mem.h"
#include "dp.h"

#define NTM_NSEC 1000000000ULL

/* Writes everything but the Path ID, into a slot of zeroes. */
void ntm_path_write(struct ntm_path *p, const struct ntm_dp_path *np);
void ntm_path_fill(const struct ntm_path *p, struct ntm_dp_path *out);
void ntm_path_stats(const struct ntm_path *p, struct ntm_dp_stats *out);
/* The peer's virtual addresses, IPv4 first. */
void ntm_path_vips(const struct ntm_path *p, struct ntm_vip out[2]);
bool ntm_path_has_keys(const struct ntm_path *p);

void ntm_path_endpoint(const struct ntm_path *p, struct ntm_addr *out);
void ntm_path_set_endpoint(struct ntm_path *p, const struct ntm_addr *ep, uint32_t hold_ms);
/* An agent that died between taking the endpoint's lock and giving it back must not freeze the endpoint. */
void ntm_path_release_lock(struct ntm_path *p);
void ntm_path_set_mtu(struct ntm_path *p, uint16_t inner_mtu, bool small_outer);

/*
 * Installs an epoch's keys; send as for struct ntm_dp_ops. quiesce is called if somebody may still be using the slot's
 * former keys, and waits until nobody does; NULL: nobody else uses them. 1: sending has switched away from an epoch
 * that is to end, by ntm_path_end_epoch(); 0: nothing more to do; or -EINVAL.
 */
int ntm_path_set_keys(struct ntm_path *p, const struct ntm_dp_keys *k, bool send, void (*quiesce)(void));
/* Sending has switched to `epoch`: the one before it ends after its grace. Returns when its keys are to be wiped. */
uint64_t ntm_path_end_epoch(struct ntm_path *p, uint8_t epoch);
/* Wipes expired keys. Returns when the next ones will have to be, 0: none soon. */
uint64_t ntm_path_sweep_keys(struct ntm_path *p, uint64_t now);
/* No key of it is used any more from now on; they stay in memory until the slot is wiped. */
void ntm_path_expire(struct ntm_path *p);

/*
 * Where outer packets leave now, of each family by the first uplink that has an address of it: pair 0. If another one
 * took over, the former one is pair 1 as long as it is there, and gets copies for duplicate_ms.
 */
void ntm_ways_set(struct ntm_uplink *uplinks, const struct ntm_dp_uplink *u, size_t n, uint32_t duplicate_ms);

/* The virtual addresses and pools in the settings. -EINVAL: not pools; -ENOENT: there are none yet. */
int ntm_addresses_check(const struct ntm_dp_addresses *a);
int ntm_settings_get_addresses(const struct ntm_settings *s, struct ntm_dp_addresses *a);
void ntm_settings_set_addresses(struct ntm_settings *s, const struct ntm_dp_addresses *a);

#endif
