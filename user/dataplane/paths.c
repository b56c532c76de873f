/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots of ntm_paths. ntm_path_ids is the index, for the kernel and for the agent. A slot of a deleted path rests for
 * QUARANTINE_NS, until no running program can hold it, and is then wiped and used again.
 */
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/addr.h"
#include "../common/crypto.h"
#include "../common/log.h"
#include "dp_internal.h"

#define QUARANTINE_NS NTM_NSEC
#define FOUND_FACTOR 4

uint32_t ntm_path_slot(struct ntm_dp_bpf *d, uint64_t path_id)
{
	uint64_t key = htobe64(path_id);
	uint32_t *found = &d->found[path_id & d->found_mask], slot;
	/* Only the agent writes path IDs into slots, so the slot itself says whether it still is that. */
	slot = *found;
	if (slot > 0 && d->paths[slot].path_id == key)
		return slot;
	if (bpf_map_lookup_elem(d->map_fd[NTM_MAP_PATH_IDS], &key, &slot) || slot >= d->n_slots)
		return 0;
	*found = slot;
	return slot;
}

static bool vip_points_to(struct ntm_dp_bpf *d, const struct ntm_vip *vip, uint32_t slot)
{
	uint32_t have;
	return !bpf_map_lookup_elem(d->map_fd[NTM_MAP_VIPS], vip, &have) && have == slot;
}

bool ntm_path_is_active(struct ntm_dp_bpf *d, uint32_t slot)
{
	struct ntm_vip vips[2];
	ntm_path_vips(&d->paths[slot], vips);
	return vip_points_to(d, &vips[0], slot) || vip_points_to(d, &vips[1], slot);
}

static void wipe_slot(struct ntm_dp_bpf *d, uint32_t slot)
{
	ntm_wipe(&d->paths[slot], sizeof(d->paths[slot]));
	ntm_wipe(&d->agents[slot], sizeof(d->agents[slot]));
}

static void free_slot(struct ntm_dp_bpf *d, uint32_t slot)
{
	wipe_slot(d, slot);
	d->free_slots[d->n_free++] = slot;
}

/* Index entries whose slot holds another path: an agent died half-way through adding or deleting one. */
static void drop_stale(struct ntm_dp_bpf *d, int fd, size_t key_len, bool ids)
{
	uint8_t key[16], next[16];
	uint32_t slot;
	bool more = !bpf_map_get_next_key(fd, NULL, key);
	while (more) {
		more = !bpf_map_get_next_key(fd, key, next);
		bool ok = !bpf_map_lookup_elem(fd, key, &slot) && slot && slot < d->n_slots;
		if (ok && ids) {
			ok = !memcmp(&d->paths[slot].path_id, key, 8);
		} else if (ok) {
			struct ntm_vip vips[2];
			ntm_path_vips(&d->paths[slot], vips);
			ok = d->paths[slot].path_id && (!memcmp(&vips[0], key, 16) || !memcmp(&vips[1], key, 16));
		}
		if (!ok)
			(void)bpf_map_delete_elem(fd, key);
		memcpy(key, next, key_len);
	}
}

int ntm_paths_init(struct ntm_dp_bpf *d)
{
	uint64_t now = ntm_boottime_ns();
	/* Few paths share a place, and with it the map's answers. */
	for (d->found_mask = 1; d->found_mask / FOUND_FACTOR < d->n_slots; d->found_mask <<= 1)
		;
	d->free_slots = calloc(d->n_slots, sizeof(*d->free_slots));
	d->found = calloc(d->found_mask--, sizeof(*d->found));
	if (!d->free_slots || !d->found)
		return -ENOMEM;
	if (!d->adopted) {
		for (uint32_t slot = d->n_slots; --slot > 0;)
			d->free_slots[d->n_free++] = slot;
		return 0;
	}
	for (uint32_t slot = d->n_slots; --slot > 0;) {
		struct ntm_path *p = &d->paths[slot];
		if (p->path_id && ntm_path_has_keys(p) && ntm_path_slot(d, be64toh(p->path_id)) == slot) {
			ntm_path_release_lock(p);
			uint64_t due = ntm_path_sweep_keys(p, now);
			if (due && ntm_fifo_push(&d->old_keys, &(struct ntm_due){due, slot}))
				return -ENOMEM;
			continue;
		}
		if (p->path_id) {
			uint64_t id = p->path_id;
			if (ntm_path_slot(d, be64toh(id)) == slot)
				(void)bpf_map_delete_elem(d->map_fd[NTM_MAP_PATH_IDS], &id);
			/* Programs may be using it this moment: into quarantine like a deleted path. */
			ntm_path_expire(p);
			__atomic_store_n(&p->path_id, 0, __ATOMIC_RELEASE);
			if (ntm_fifo_push(&d->quarantine, &(struct ntm_due){now + QUARANTINE_NS, slot}))
				return -ENOMEM;
			continue;
		}
		free_slot(d, slot);
	}
	uint32_t gw = d->settings->gateway;
	if (gw >= d->n_slots || !(d->paths[gw].path_id && d->paths[gw].flags & NTM_PATH_GATEWAY))
		__atomic_store_n(&d->settings->gateway, 0, __ATOMIC_RELEASE);
	drop_stale(d, d->map_fd[NTM_MAP_PATH_IDS], 8, true);
	drop_stale(d, d->map_fd[NTM_MAP_VIPS], 16, false);
	return 0;
}

uint64_t ntm_paths_sweep(struct ntm_dp_bpf *d, uint64_t now)
{
	const struct ntm_due *due;
	uint64_t next = 0;
	while ((due = ntm_fifo_peek(&d->quarantine)) && due->due_ns <= now) {
		free_slot(d, due->slot);
		ntm_fifo_pop(&d->quarantine);
	}
	if (due)
		next = due->due_ns;
	while ((due = ntm_fifo_peek(&d->old_keys)) && due->due_ns <= now) {
		(void)ntm_path_sweep_keys(&d->paths[due->slot], now);
		ntm_fifo_pop(&d->old_keys);
	}
	if (due && (!next || due->due_ns < next))
		next = due->due_ns;
	return next;
}

/* 0: all slots are in use. */
static uint32_t take_slot(struct ntm_dp_bpf *d)
{
	if (!d->n_free && d->quarantine.n) {
		/* Full, but for slots that rest: make sure that nobody uses them rather than refuse a path. */
		ntm_synchronize();
		(void)ntm_paths_sweep(d, UINT64_MAX);
	}
	return d->n_free ? d->free_slots[--d->n_free] : 0;
}

int ntm_dp_add_path(struct ntm_dp *dp, const struct ntm_dp_path *np)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	if (!np->path_id || (np->client && !d->gateway) || (np->client && np->gateway))
		return -EINVAL;
	if (ntm_path_slot(d, np->path_id))
		return -EEXIST;
	uint32_t slot = take_slot(d);
	if (!slot)
		return -ENOSPC;
	struct ntm_path *p = &d->paths[slot];
	ntm_path_write(p, np);
	uint64_t key = htobe64(np->path_id);
	__atomic_store_n(&p->path_id, key, __ATOMIC_RELEASE);
	int err = bpf_map_update_elem(d->map_fd[NTM_MAP_PATH_IDS], &key, &slot, BPF_NOEXIST);
	if (err) {
		free_slot(d, slot); /* nobody has seen it yet */
		return err == -E2BIG ? -ENOSPC : err;
	}
	return 0;
}

int ntm_path_routes(struct ntm_dp_bpf *d, const struct ntm_path *p)
{
	struct ntm_vip vips[2];
	ntm_path_vips(p, vips);
	uint16_t mtu = p->inner_mtu > NTM_INNER_MTU_BASE ? p->inner_mtu : NTM_INNER_MTU_BASE;
	int err = ntm_ntm0_peer_route(d, vips[0].ip, mtu);
	if (!err)
		err = ntm_ntm0_peer_route(d, vips[1].ip, mtu);
	return !err && p == &d->paths[d->settings->gateway] ? ntm_general_routes(d) : err;
}

int ntm_dp_activate(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	struct ntm_vip vips[2];
	ntm_path_vips(&d->paths[slot], vips);
	for (int i = 0; i < 2; i++) {
		int err = bpf_map_update_elem(d->map_fd[NTM_MAP_VIPS], &vips[i], &slot, BPF_ANY);
		if (err)
			return err == -E2BIG ? -ENOSPC : err;
	}
	if (__atomic_load_n(&d->paths[slot].flags, __ATOMIC_RELAXED) & NTM_PATH_GATEWAY)
		__atomic_store_n(&d->settings->gateway, slot, __ATOMIC_RELEASE);
	return ntm_path_routes(d, &d->paths[slot]);
}

/* General destinations leave a path that ends for another gateway's, if there is one in use. */
static void leave_gateway(struct ntm_dp_bpf *d, uint32_t slot)
{
	uint32_t other = 0;
	if (d->settings->gateway != slot)
		return;
	for (uint32_t i = 1; i < d->n_slots && !other; i++)
		if (i != slot && d->paths[i].path_id && d->paths[i].flags & NTM_PATH_GATEWAY &&
		    ntm_path_has_keys(&d->paths[i]) && ntm_path_is_active(d, i))
			other = i;
	__atomic_store_n(&d->settings->gateway, other, __ATOMIC_RELEASE);
}

int ntm_dp_set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_set_endpoint(&d->paths[slot], ep, hold_ms);
	return 0;
}

int ntm_dp_set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	struct ntm_path *p = &d->paths[slot];
	ntm_path_set_mtu(p, inner_mtu, small_outer);
	return ntm_path_is_active(d, slot) ? ntm_path_routes(d, p) : 0;
}

int ntm_dp_del_path(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	struct ntm_path *p = &d->paths[slot];
	struct ntm_vip vips[2];
	uint64_t key = htobe64(path_id);
	int first = 0;
	leave_gateway(d, slot);
	ntm_path_vips(p, vips);
	for (int i = 0; i < 2; i++) {
		if (!vip_points_to(d, &vips[i], slot))
			continue;
		int err = bpf_map_delete_elem(d->map_fd[NTM_MAP_VIPS], &vips[i]);
		if (!err)
			err = ntm_ntm0_peer_route_del(d, vips[i].ip);
		if (err && !first)
			first = err;
	}
	int err = bpf_map_delete_elem(d->map_fd[NTM_MAP_PATH_IDS], &key);
	if (err)
		return err;
	ntm_bulk_del(d, slot);
	__atomic_store_n(&p->path_id, 0, __ATOMIC_RELEASE);
	ntm_path_expire(p);
	ntm_wipe(&d->agents[slot], sizeof(d->agents[slot])); /* programs never read it */
	struct ntm_due due = {ntm_boottime_ns() + QUARANTINE_NS, slot};
	if (ntm_fifo_push(&d->quarantine, &due)) {
		ntm_synchronize();
		free_slot(d, slot);
	}
	ntm_events_rearm(d);
	return first;
}
