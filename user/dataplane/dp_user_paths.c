/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots and the two indexes: Path ID and virtual address → slot. Path IDs and addresses are the DC's choice. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "dp_user_int.h"

/* Longer than any round of a worker. */
#define REST_NS NTM_NSEC

static uint64_t mix(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 32;
}

static uint64_t hash_vip(const struct ntm_vip *v)
{
	uint64_t w[2];
	memcpy(w, v->ip, sizeof(w));
	return mix(w[0] ^ mix(w[1]));
}

static int index_init(struct ntm_index *x, uint32_t keys)
{
	uint32_t size = 16;
	while (size < 2 * keys)
		size *= 2;
	x->entries = calloc(size, sizeof(*x->entries));
	x->mask = size - 1;
	return x->entries ? 0 : -ENOMEM;
}

static uint64_t hash_of(const struct ntm_dp_user *d, const struct ntm_index *x, uint32_t entry)
{
	struct ntm_vip vips[2];
	if (x == &d->ids)
		return mix(d->paths[entry >> 1].path_id);
	ntm_path_vips(&d->paths[entry >> 1], vips);
	return hash_vip(&vips[entry & 1]);
}

/* Has to come before the path's keys change, or after they are set. The index is never full. */
static void index_put(struct ntm_dp_user *d, struct ntm_index *x, uint32_t entry)
{
	uint32_t i = (uint32_t)hash_of(d, x, entry) & x->mask;
	while (x->entries[i])
		i = (i + 1) & x->mask;
	pthread_rwlock_wrlock(&d->index_lock);
	x->entries[i] = entry;
	pthread_rwlock_unlock(&d->index_lock);
}

static void index_remove(struct ntm_dp_user *d, struct ntm_index *x, uint32_t entry)
{
	uint32_t i = (uint32_t)hash_of(d, x, entry) & x->mask;
	while (x->entries[i] && x->entries[i] != entry)
		i = (i + 1) & x->mask;
	if (!x->entries[i])
		return;
	pthread_rwlock_wrlock(&d->index_lock);
	/* What follows moves up, unless its own place is behind the gap. */
	for (uint32_t j = (i + 1) & x->mask; x->entries[j]; j = (j + 1) & x->mask) {
		uint32_t home = (uint32_t)hash_of(d, x, x->entries[j]) & x->mask;
		if (((j - home) & x->mask) < ((j - i) & x->mask))
			continue;
		x->entries[i] = x->entries[j];
		i = j;
	}
	x->entries[i] = 0;
	pthread_rwlock_unlock(&d->index_lock);
}

uint32_t ntm_user_slot(const struct ntm_dp_user *d, uint64_t path_id)
{
	uint64_t key = htobe64(path_id);
	uint32_t i = (uint32_t)mix(key) & d->ids.mask, entry;
	for (; (entry = d->ids.entries[i]); i = (i + 1) & d->ids.mask)
		if (d->paths[entry >> 1].path_id == key)
			return entry >> 1;
	return 0;
}

uint32_t ntm_user_slot_of_vip(const struct ntm_dp_user *d, const struct ntm_vip *vip)
{
	uint32_t i = (uint32_t)hash_vip(vip) & d->vips.mask, entry;
	struct ntm_vip vips[2];
	for (; (entry = d->vips.entries[i]); i = (i + 1) & d->vips.mask) {
		ntm_path_vips(&d->paths[entry >> 1], vips);
		if (!memcmp(&vips[entry & 1], vip, sizeof(*vip)))
			return entry >> 1;
	}
	return 0;
}

static void wipe_slot(struct ntm_dp_user *d, uint32_t slot)
{
	ntm_wipe(&d->paths[slot], sizeof(d->paths[slot]));
	ntm_wipe(&d->agents[slot], sizeof(d->agents[slot]));
	d->active[slot] = 0;
	d->complained_ns[slot] = 0;
	d->free_slots[d->n_free++] = slot;
}

/* Of a path that is no more, in a slot that others may have found before: it rests until they are done with it. */
static void let_go(struct ntm_dp_user *d, uint32_t slot)
{
	struct ntm_user_due due = {ntm_boottime_ns() + REST_NS, slot};
	ntm_path_expire(&d->paths[slot]);
	ntm_wipe(&d->agents[slot], sizeof(d->agents[slot]));
	d->active[slot] = 0;
	/* Without memory for it the slot is lost until a restart. */
	if (ntm_fifo_push(&d->resting, &due))
		ntm_warn("no memory to remember a free slot");
	ntm_user_rearm(d);
}

static int adopt_slot(struct ntm_dp_user *d, uint32_t slot, uint64_t now)
{
	struct ntm_path *p = &d->paths[slot];
	ntm_path_release_lock(p);
	index_put(d, &d->ids, slot << 1);
	for (unsigned i = 0; i < 2; i++)
		if (d->active[slot] & 1u << i)
			index_put(d, &d->vips, slot << 1 | i);
	uint64_t due = ntm_path_sweep_keys(p, now);
	return due ? ntm_fifo_push(&d->old_keys, &(struct ntm_user_due){due, slot}) : 0;
}

int ntm_user_paths_init(struct ntm_dp_user *d)
{
	uint64_t now = ntm_boottime_ns();
	uint32_t gw = d->settings->gateway;
	int err = index_init(&d->ids, d->n_slots);
	d->free_slots = calloc(d->n_slots, sizeof(*d->free_slots));
	d->complained_ns = calloc(d->n_slots, sizeof(*d->complained_ns));
	if (!err)
		err = index_init(&d->vips, 2 * d->n_slots);
	if (err || !d->free_slots || !d->complained_ns)
		return -ENOMEM;
	for (uint32_t slot = d->n_slots; --slot > 0 && !err;) {
		struct ntm_path *p = &d->paths[slot];
		if (!p->path_id && !d->adopted)
			d->free_slots[d->n_free++] = slot;
		else if (!p->path_id || !ntm_path_has_keys(p) || ntm_user_slot(d, be64toh(p->path_id)))
			wipe_slot(d, slot);
		else
			err = adopt_slot(d, slot, now);
	}
	if (!d->paths[gw].path_id || !(d->paths[gw].flags & NTM_PATH_GATEWAY))
		d->settings->gateway = 0;
	return err;
}

void ntm_user_paths_free(struct ntm_dp_user *d)
{
	free(d->free_slots);
	free(d->complained_ns);
	free(d->ids.entries);
	free(d->vips.entries);
	free(d->general_prefixes);
	/* Nobody has them any more; keys of paths that live stay for the next agent. */
	for (const struct ntm_user_due *due; (due = ntm_fifo_peek(&d->resting)); ntm_fifo_pop(&d->resting))
		ntm_wipe(&d->paths[due->slot], sizeof(d->paths[due->slot]));
	ntm_fifo_free(&d->old_keys);
	ntm_fifo_free(&d->resting);
	pthread_rwlock_destroy(&d->index_lock);
}

int ntm_user_add_path(struct ntm_dp *dp, const struct ntm_dp_path *np)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	if (!np->path_id || np->client)
		return -EINVAL;
	if (ntm_user_slot(d, np->path_id))
		return -EEXIST;
	if (!d->n_free)
		return -ENOSPC;
	uint32_t slot = d->free_slots[--d->n_free];
	ntm_path_write(&d->paths[slot], np);
	/* Last: the slot of an agent that dies on the way is free, and the next one wipes it. */
	__atomic_store_n(&d->paths[slot].path_id, htobe64(np->path_id), __ATOMIC_RELEASE);
	index_put(d, &d->ids, slot << 1);
	return 0;
}

void ntm_user_epoch_switched(struct ntm_dp_user *d, uint32_t slot, uint8_t epoch)
{
	struct ntm_user_due due = {ntm_path_end_epoch(&d->paths[slot], epoch), slot};
	/* Without memory for a reminder the old key stays, expired, until the next epoch takes its slot. */
	if (ntm_fifo_push(&d->old_keys, &due))
		ntm_warn("no memory to remember an old key");
	ntm_user_rearm(d);
}

void ntm_user_sweep(struct ntm_dp_user *d, uint64_t now)
{
	const struct ntm_user_due *due;
	while ((due = ntm_fifo_peek(&d->resting)) && due->due_ns <= now) {
		wipe_slot(d, due->slot);
		ntm_fifo_pop(&d->resting);
	}
	while ((due = ntm_fifo_peek(&d->old_keys)) && due->due_ns <= now) {
		(void)ntm_path_sweep_keys(&d->paths[due->slot], now);
		ntm_fifo_pop(&d->old_keys);
	}
}

int ntm_user_set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_user_engine_forget(d, slot, k->epoch);
	int r = ntm_path_set_keys(&d->paths[slot], k, send, NULL);
	if (r >= 0)
		ntm_user_engine_keys(d, slot, k);
	if (r > 0)
		ntm_user_epoch_switched(d, slot, k->epoch);
	return r < 0 ? r : 0;
}

static uint16_t route_mtu(const struct ntm_path *p)
{
	return p->inner_mtu > NTM_INNER_MTU_BASE ? p->inner_mtu : NTM_INNER_MTU_BASE;
}

static int general_routes(struct ntm_dp_user *d)
{
	uint32_t gw = d->settings->gateway;
	if (!d->conf.general || !d->general.n)
		return 0;
	return d->conf.general(d->conf.arg, &d->general, gw ? route_mtu(&d->paths[gw]) : NTM_INNER_MTU_BASE);
}

int ntm_user_routes(struct ntm_dp_user *d, uint32_t slot)
{
	struct ntm_vip vips[2];
	int err = 0;
	ntm_path_vips(&d->paths[slot], vips);
	for (int i = 0; i < 2 && !err && d->conf.peer_route; i++)
		err = d->conf.peer_route(d->conf.arg, vips[i].ip, route_mtu(&d->paths[slot]));
	return !err && slot == d->settings->gateway ? general_routes(d) : err;
}

int ntm_user_activate(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	struct ntm_vip vips[2];
	if (!slot)
		return -ENOENT;
	ntm_path_vips(&d->paths[slot], vips);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t was = ntm_user_slot_of_vip(d, &vips[i]);
		if (was == slot)
			continue;
		if (was) {
			index_remove(d, &d->vips, was << 1 | i);
			d->active[was] &= (uint8_t) ~(1u << i);
		}
		d->active[slot] |= (uint8_t)(1u << i);
		index_put(d, &d->vips, slot << 1 | i);
	}
	if (d->paths[slot].flags & NTM_PATH_GATEWAY)
		__atomic_store_n(&d->settings->gateway, slot, __ATOMIC_RELEASE);
	return ntm_user_routes(d, slot);
}

int ntm_user_set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_set_endpoint(&d->paths[slot], ep, hold_ms);
	return 0;
}

int ntm_user_set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_set_mtu(&d->paths[slot], inner_mtu, small_outer);
	return d->active[slot] ? ntm_user_routes(d, slot) : 0;
}

/* General destinations leave a path that ends for another gateway's, if there is one in use. */
static void leave_gateway(struct ntm_dp_user *d, uint32_t slot)
{
	uint32_t other = 0;
	if (d->settings->gateway != slot)
		return;
	for (uint32_t i = 1; i < d->n_slots && !other; i++)
		if (i != slot && d->paths[i].path_id && d->paths[i].flags & NTM_PATH_GATEWAY && d->active[i] &&
		    ntm_path_has_keys(&d->paths[i]))
			other = i;
	__atomic_store_n(&d->settings->gateway, other, __ATOMIC_RELEASE);
}

int ntm_user_del_path(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	struct ntm_vip vips[2];
	int first = 0;
	if (!slot)
		return -ENOENT;
	leave_gateway(d, slot);
	ntm_path_vips(&d->paths[slot], vips);
	for (unsigned i = 0; i < 2; i++) {
		if (!(d->active[slot] & 1u << i))
			continue;
		index_remove(d, &d->vips, slot << 1 | i);
		int err = d->conf.peer_route ? d->conf.peer_route(d->conf.arg, vips[i].ip, 0) : 0;
		if (err && !first)
			first = err;
	}
	index_remove(d, &d->ids, slot << 1);
	ntm_user_engine_del(d, slot);
	__atomic_store_n(&d->paths[slot].path_id, 0, __ATOMIC_RELEASE);
	if (d->running)
		let_go(d, slot);
	else
		wipe_slot(d, slot);
	return first;
}

int ntm_user_set_general(struct ntm_dp *dp, const struct ntm_dp_general *g)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	struct ntm_prefix *copy = NULL;
	bool had = d->general.n;
	if (g->n) {
		copy = calloc(g->n, sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, g->prefixes, g->n * sizeof(*copy));
	}
	struct ntm_prefix *old = d->general_prefixes;
	d->general_prefixes = copy;
	d->general = *g;
	d->general.prefixes = copy;
	free(old);
	if (!g->n)
		return had && d->conf.general ? d->conf.general(d->conf.arg, &d->general, 0) : 0;
	return general_routes(d);
}
