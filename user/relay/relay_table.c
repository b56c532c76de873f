/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_table.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../common/crypto.h"

#define EXPIRE_SLOTS 4096  /* looked at by a call of expire(), */
#define EXPIRE_PARTS 32    /* or this part of the table if it is more */
#define TOMBSTONES_PART 16 /* expire() clears up when they are more than this part of the table */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* The time as XDP stores it in `last`. */
static uint16_t last_now(void)
{
	return (uint16_t)(clock_ns(CLOCK_MONOTONIC) >> NTM_RELAY_LAST_SHIFT);
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
	__atomic_store_n(&p->version, (uint8_t)(p->version | 1), __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void change_end(struct ntm_relay_path *p)
{
	__atomic_store_n(&p->version, (uint8_t)(p->version + 1), __ATOMIC_SEQ_CST);
}

static void set_flag(struct ntm_relay_path *p, uint8_t flag, bool on)
{
	__atomic_store_n(&p->flags, (uint8_t)(on ? p->flags | flag : p->flags & ~flag), __ATOMIC_RELEASE);
}

static void set_rate(struct ntm_relay_table *t, uint32_t slot, uint32_t rate_kbit)
{
	__atomic_store_n(&t->accounts[slot].rate_kbit, rate_kbit, __ATOMIC_RELEASE);
	set_flag(&t->paths[slot], NTM_RELAY_LIMITED, rate_kbit);
}

static void set_id(struct ntm_relay_path *p, uint64_t stored)
{
	__atomic_store_n(&p->path_id, stored, __ATOMIC_RELEASE);
}

static void set_last(struct ntm_relay_path *p)
{
	__atomic_store_n(&p->last, last_now(), __ATOMIC_RELAXED);
}

/* In units of `last`, at least 0: XDP may have stored a later time than now. */
static uint32_t idle_of(const struct ntm_relay_path *p, uint16_t now)
{
	int16_t idle = (int16_t)(now - __atomic_load_n(&p->last, __ATOMIC_RELAXED));
	return idle > 0 ? (uint32_t)idle : 0;
}

/* The slot holds no path any more. Tombstones that lead nowhere go, this one and those before it. */
static void vacate(struct ntm_relay_table *t, uint32_t slot)
{
	bool last = t->paths[next_slot(t, slot)].path_id == NTM_RELAY_EMPTY;
	t->tombstones += !last;
	set_id(&t->paths[slot], last ? NTM_RELAY_EMPTY : NTM_RELAY_TOMBSTONE);
	ntm_wipe(&t->agents[slot], sizeof(t->agents[slot]));
	for (uint32_t n = 1; last && n < t->slots; n++) {
		slot = slot ? slot - 1 : t->slots - 1;
		if (t->paths[slot].path_id != NTM_RELAY_TOMBSTONE)
			break;
		set_id(&t->paths[slot], NTM_RELAY_EMPTY);
		t->tombstones--;
	}
}

void ntm_relay_table_init(struct ntm_relay_table *t, struct ntm_relay_path *paths, struct ntm_relay_account *accounts,
			  struct ntm_relay_agent *agents, uint32_t slots, uint32_t max)
{
	*t = (struct ntm_relay_table){
	    .paths = paths, .accounts = accounts, .agents = agents, .slots = slots, .max = max};
	for (uint32_t i = 0; i < slots; i++)
		t->tombstones += paths[i].path_id == NTM_RELAY_TOMBSTONE;
	for (uint32_t i = 0; i < slots; i++) {
		if (!is_path(paths[i].path_id))
			continue;
		/* An agent died while it moved the path: the one that XDP finds is whole. */
		if (find(t, be64toh(paths[i].path_id), NULL) != i) {
			vacate(t, i);
			continue;
		}
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
		set_rate(t, slot, rate_kbit);
		return 0;
	}
	if (t->count == t->max || room == NTM_NO_SLOT)
		return -ENOSPC;
	struct ntm_relay_path *p = &t->paths[room];
	memcpy(t->agents[room].secret, secret, NTM_KEY_LEN);
	memset(t->agents[room].seq, 0, sizeof(t->agents[room].seq));
	t->accounts[room] = (struct ntm_relay_account){0};
	/* A program that found the slot's last path may still look at it. */
	change_begin(p);
	memset(p->addr, 0, sizeof(p->addr));
	memset(p->port, 0, sizeof(p->port));
	memset(p->hop, 0, sizeof(p->hop));
	memset(p->recent, 0, sizeof(p->recent));
	p->flags = 0;
	set_rate(t, room, rate_kbit);
	set_last(p);
	change_end(p);
	t->tombstones -= p->path_id == NTM_RELAY_TOMBSTONE;
	set_id(p, htobe64(id));
	t->count++;
	return 0;
}

static void fill(const struct ntm_relay_table *t, uint32_t slot, struct ntm_relay_dp_path *out)
{
	const struct ntm_relay_path *p = &t->paths[slot];
	const struct ntm_relay_account *a = &t->accounts[slot];
	memset(out, 0, sizeof(*out));
	out->path_id = be64toh(p->path_id);
	memcpy(out->secret, t->agents[slot].secret, NTM_KEY_LEN);
	out->rate_kbit = a->rate_kbit;
	for (int i = 0; i < 2; i++) {
		struct ntm_relay_dp_end *e = &out->ends[i];
		uint32_t recent = __atomic_load_n(&p->recent[i], __ATOMIC_RELAXED);
		memcpy(e->addr.ip, p->addr[i], 16);
		e->addr.port = p->port[i];
		e->seq = t->agents[slot].seq[i];
		e->packets = __atomic_load_n(&a->packets[i], __ATOMIC_RELAXED) + recent / NTM_RECENT_PACKET;
		e->bytes = __atomic_load_n(&a->bytes[i], __ATOMIC_RELAXED) + (recent & NTM_RECENT_BYTES);
	}
	out->drops = __atomic_load_n(&a->drops, __ATOMIC_RELAXED);
	/* XDP's clock stands still while the host is suspended. */
	uint64_t ago = (uint64_t)idle_of(p, last_now()) << NTM_RELAY_LAST_SHIFT;
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

static bool is_at(const struct ntm_relay_path *p, unsigned end, const struct ntm_addr *a)
{
	return p->port[end] == a->port && !memcmp(p->addr[end], a->ip, 16);
}

int ntm_relay_table_bind(struct ntm_relay_table *t, uint64_t id, unsigned end, const struct ntm_addr *addr,
			 uint64_t seq)
{
	uint32_t slot = find(t, id, NULL);
	if (slot == NTM_NO_SLOT)
		return -ENOENT;
	struct ntm_relay_path *p = &t->paths[slot];
	if (end > 1 || !addr->port || is_at(p, !end, addr))
		return -EINVAL;
	/* Before the address: an agent that dies in between leaves no bind that could be replayed from elsewhere. */
	__atomic_store_n(&t->agents[slot].seq[end], seq, __ATOMIC_RELEASE);
	set_last(p);
	if (is_at(p, end, addr))
		return 0;
	change_begin(p);
	__atomic_store_n(&p->port[end], 0, __ATOMIC_RELEASE);
	__atomic_store_n(&p->hop[end], 0, __ATOMIC_SEQ_CST);
	memcpy(p->addr[end], addr->ip, 16);
	set_flag(p, end ? NTM_RELAY_IPV6_1 : NTM_RELAY_IPV6_0, !ntm_ip_is_v4(addr->ip));
	__atomic_store_n(&p->port[end], addr->port, __ATOMIC_RELEASE);
	change_end(p);
	return 0;
}

static void end_path(struct ntm_relay_table *t, uint32_t slot)
{
	vacate(t, slot);
	t->count--;
}

/*
 * The path in slot `from` goes to `to`, a tombstone nearer to its home: XDP, which comes by there first, finds it there
 * from the moment that it is whole. A packet that is in the old place meanwhile is relayed, and may go uncounted.
 */
static void move(struct ntm_relay_table *t, uint32_t from, uint32_t to)
{
	struct ntm_relay_path *old = &t->paths[from], *p = &t->paths[to];
	uint64_t id = old->path_id;
	t->agents[to] = t->agents[from];
	t->accounts[to] = t->accounts[from];
	change_begin(p);
	memcpy(p->addr, old->addr, sizeof(p->addr));
	memcpy(p->port, old->port, sizeof(p->port));
	memcpy(p->hop, old->hop, sizeof(p->hop));
	memcpy(p->recent, old->recent, sizeof(p->recent));
	p->flags = old->flags;
	p->last = old->last;
	change_end(p);
	set_id(p, id);
	t->tombstones--;
	vacate(t, from);
}

/* Brings the next path that may lie in this tombstone here; if there is none, it leads nowhere. */
static void refill(struct ntm_relay_table *t, uint32_t hole)
{
	uint32_t slot = hole;
	for (uint32_t n = 1; n < NTM_RELAY_PROBES && n < t->slots; n++) {
		slot = next_slot(t, slot);
		uint64_t have = t->paths[slot].path_id;
		if (have == NTM_RELAY_EMPTY)
			break;
		if (have == NTM_RELAY_TOMBSTONE)
			continue;
		uint32_t h = home(t, be64toh(have)), way = slot >= h ? slot - h : slot + t->slots - h;
		if (way >= n) {
			move(t, slot, hole);
			return;
		}
	}
	t->tombstones--;
	set_id(&t->paths[hole], NTM_RELAY_EMPTY);
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
	uint32_t n = t->slots / EXPIRE_PARTS > EXPIRE_SLOTS ? t->slots / EXPIRE_PARTS : EXPIRE_SLOTS;
	uint64_t limit = (uint64_t)idle_s * 1000000000u >> NTM_RELAY_LAST_SHIFT;
	bool clear_up = t->tombstones > t->slots / TOMBSTONES_PART;
	uint16_t now = last_now();
	unsigned ended = 0;
	if (n > t->slots)
		n = t->slots;
	while (n--) {
		const struct ntm_relay_path *p = &t->paths[t->cursor];
		if (is_path(p->path_id) && idle_of(p, now) > limit) {
			end_path(t, t->cursor);
			ended++;
		} else if (clear_up && p->path_id == NTM_RELAY_TOMBSTONE) {
			refill(t, t->cursor);
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
	t->tombstones = 0;
}
