/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_table.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../common/crypto.h"

#define EXPIRE_SLOTS 4096 /* looked at by a call of expire(), */
#define EXPIRE_PARTS 32   /* or this part of the table if it is more */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The time as XDP stores it in `last`. */
static uint32_t last_now(void)
{
	return (uint32_t)(clock_ns(CLOCK_MONOTONIC) >> NTM_RELAY_LAST_SHIFT);
}

static uint32_t home(const struct ntm_relay_table *t, uint64_t id)
{
	return (uint32_t)((id >> 32) * t->slots >> 32);
}

static uint32_t next_slot(const struct ntm_relay_table *t, uint32_t slot)
{
	return slot + 1 < t->slots ? slot + 1 : 0;
}

static bool is_path(uint64_t stored)
{
	return stored != NTM_RELAY_EMPTY && stored != NTM_RELAY_TOMBSTONE;
}

/* The path's slot, or NTM_NO_SLOT and, if not NULL, in *room the slot where it could go (or NTM_NO_SLOT). */
static uint32_t find(const struct ntm_relay_table *t, uint64_t id, uint32_t *room)
{
	uint64_t wanted = htobe64(id);
	uint32_t slot = home(t, id), vacant = NTM_NO_SLOT;
	for (int i = 0; i < NTM_RELAY_PROBES; i++, slot = next_slot(t, slot)) {
		uint64_t have = t->paths[slot].path_id;
		if (have == wanted)
			return slot;
		if (!is_path(have) && vacant == NTM_NO_SLOT)
			vacant = slot;
		if (have == NTM_RELAY_EMPTY)
			break;
	}
	if (room)
		*room = vacant;
	return NTM_NO_SLOT;
}

/* Between the two, XDP sees an odd version and does nothing with the path. */
static void change_begin(struct ntm_relay_path *p)
{
	__atomic_store_n(&p->version, p->version | 1, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(struct ntm_relay_path *p)
{
	__atomic_store_n(&p->version, p->version + 1, __ATOMIC_SEQ_CST);
}

static void set_last(struct ntm_relay_path *p)
{
	__atomic_store_n(&p->last, last_now(), __ATOMIC_RELAXED);
}

void ntm_relay_table_init(struct ntm_relay_table *t, struct ntm_relay_path *paths, struct ntm_relay_agent *agents,
			  uint32_t slots, uint32_t max)
{
	*t = (struct ntm_relay_table){.paths = paths, .agents = agents, .slots = slots, .max = max};
	for (uint32_t i = 0; i < slots; i++) {
		if (!is_path(paths[i].path_id))
			continue;
		t->count++;
		/* bind() takes the port away first and puts it back last. */
		if (paths[i].version & 1)
			change_end(&paths[i]);
	}
}

int ntm_relay_table_add(struct ntm_relay_table *t, uint64_t id, const uint8_t secret[NTM_KEY_LEN], uint32_t rate_kbit)
{
	uint32_t room;
	if (!is_path(htobe64(id)))
		return -EINVAL;
	uint32_t slot = find(t, id, &room);
	if (slot != NTM_NO_SLOT) {
		if (!ntm_equal(t->agents[slot].secret, secret, NTM_KEY_LEN))
			return -EEXIST;
		__atomic_store_n(&t->paths[slot].rate_kbit, rate_kbit, __ATOMIC_RELAXED);
		return 0;
	}
	if (t->count == t->max || room == NTM_NO_SLOT)
		return -ENOSPC;
	struct ntm_relay_path *p = &t->paths[room];
	memcpy(t->agents[room].secret, secret, NTM_KEY_LEN);
	memset(t->agents[room].seq, 0, sizeof(t->agents[room].seq));
	/* A program that found the slot's last path may still look at it. */
	change_begin(p);
	memset(p->ends, 0, sizeof(p->ends));
	p->rate_kbit = rate_kbit;
	p->tat_ns = 0;
	memset(p->packets, 0, sizeof(*p) - offsetof(struct ntm_relay_path, packets));
	set_last(p);
	change_end(p);
	__atomic_store_n(&p->path_id, htobe64(id), __ATOMIC_RELEASE);
	t->count++;
	return 0;
}

static void fill(const struct ntm_relay_table *t, uint32_t slot, struct ntm_relay_dp_path *out)
{
	const struct ntm_relay_path *p = &t->paths[slot];
	memset(out, 0, sizeof(*out));
	out->path_id = be64toh(p->path_id);
	memcpy(out->secret, t->agents[slot].secret, NTM_KEY_LEN);
	out->rate_kbit = p->rate_kbit;
	for (int i = 0; i < 2; i++) {
		struct ntm_relay_dp_end *e = &out->ends[i];
		memcpy(e->addr.ip, p->ends[i].addr, 16);
		e->addr.port = p->ends[i].port;
		e->seq = t->agents[slot].seq[i];
		e->packets = __atomic_load_n(&p->packets[i], __ATOMIC_RELAXED);
		e->bytes = __atomic_load_n(&p->bytes[i], __ATOMIC_RELAXED);
	}
	out->drops = __atomic_load_n(&p->drops, __ATOMIC_RELAXED);
	/* XDP's clock stands still while the host is suspended. */
	uint64_t ago = (uint64_t)(last_now() - __atomic_load_n(&p->last, __ATOMIC_RELAXED)) << NTM_RELAY_LAST_SHIFT;
	uint64_t now = clock_ns(CLOCK_BOOTTIME);
	out->last_ns = ago < now ? now - ago : 1;
}

int ntm_relay_table_get(const struct ntm_relay_table *t, uint64_t id, struct ntm_relay_dp_path *out)
{
	uint32_t slot = find(t, id, NULL);
	if (slot == NTM_NO_SLOT)
		return -ENOENT;
	fill(t, slot, out);
	return 0;
}

static bool is_at(const struct ntm_relay_end *e, const struct ntm_addr *a)
{
	return e->port == a->port && !memcmp(e->addr, a->ip, 16);
}

int ntm_relay_table_bind(struct ntm_relay_table *t, uint64_t id, unsigned end, const struct ntm_addr *addr,
			 uint64_t seq)
{
	uint32_t slot = find(t, id, NULL);
	if (slot == NTM_NO_SLOT)
		return -ENOENT;
	struct ntm_relay_path *p = &t->paths[slot];
	if (end > 1 || !addr->port || is_at(&p->ends[!end], addr))
		return -EINVAL;
	/* Before the address: an agent that dies in between leaves no bind that could be replayed from elsewhere. */
	__atomic_store_n(&t->agents[slot].seq[end], seq, __ATOMIC_RELEASE);
	set_last(p);
	struct ntm_relay_end *e = &p->ends[end];
	if (is_at(e, addr))
		return 0;
	change_begin(p);
	__atomic_store_n(&e->port, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&p->hop[end], 0, __ATOMIC_SEQ_CST);
	memcpy(e->addr, addr->ip, 16);
	e->is_ipv6 = !ntm_ip_is_v4(addr->ip);
	__atomic_store_n(&e->port, addr->port, __ATOMIC_RELEASE);
	change_end(p);
	return 0;
}

static void end_path(struct ntm_relay_table *t, uint32_t slot)
{
	bool last = t->paths[next_slot(t, slot)].path_id == NTM_RELAY_EMPTY;
	__atomic_store_n(&t->paths[slot].path_id, last ? NTM_RELAY_EMPTY : NTM_RELAY_TOMBSTONE, __ATOMIC_RELEASE);
	ntm_wipe(&t->agents[slot], sizeof(t->agents[slot]));
	t->count--;
	/* Tombstones that lead nowhere any more. */
	for (uint32_t n = 1; last && n < t->slots; n++) {
		slot = slot ? slot - 1 : t->slots - 1;
		if (t->paths[slot].path_id != NTM_RELAY_TOMBSTONE)
			break;
		__atomic_store_n(&t->paths[slot].path_id, NTM_RELAY_EMPTY, __ATOMIC_RELEASE);
	}
}

int ntm_relay_table_del(struct ntm_relay_table *t, uint64_t id)
{
	uint32_t slot = find(t, id, NULL);
	if (slot == NTM_NO_SLOT)
		return -ENOENT;
	end_path(t, slot);
	return 0;
}

void ntm_relay_table_foreach(const struct ntm_relay_table *t, void (*fn)(void *arg, const struct ntm_relay_dp_path *p),
			     void *arg)
{
	struct ntm_relay_dp_path p;
	for (uint32_t i = 0; i < t->slots; i++) {
		if (!is_path(t->paths[i].path_id))
			continue;
		fill(t, i, &p);
		fn(arg, &p);
	}
	ntm_wipe(&p, sizeof(p));
}

unsigned ntm_relay_table_expire(struct ntm_relay_table *t, uint32_t idle_s)
{
	uint32_t n = t->slots / EXPIRE_PARTS > EXPIRE_SLOTS ? t->slots / EXPIRE_PARTS : EXPIRE_SLOTS, now = last_now();
	uint64_t limit = (uint64_t)idle_s * 1000000000u >> NTM_RELAY_LAST_SHIFT;
	unsigned ended = 0;
	if (n > t->slots)
		n = t->slots;
	while (n--) {
		const struct ntm_relay_path *p = &t->paths[t->cursor];
		/* XDP may have stored a later time than now. */
		int32_t idle = (int32_t)(now - __atomic_load_n(&p->last, __ATOMIC_RELAXED));
		if (is_path(p->path_id) && idle > 0 && (uint64_t)idle > limit) {
			end_path(t, t->cursor);
			ended++;
		}
		t->cursor = next_slot(t, t->cursor);
	}
	return ended;
}

void ntm_relay_table_clear(struct ntm_relay_table *t)
{
	for (uint32_t i = 0; i < t->slots; i++) {
		if (t->paths[i].path_id == NTM_RELAY_EMPTY)
			continue;
		__atomic_store_n(&t->paths[i].path_id, NTM_RELAY_EMPTY, __ATOMIC_RELEASE);
		ntm_wipe(&t->agents[i], sizeof(t->agents[i]));
	}
	t->count = 0;
}
