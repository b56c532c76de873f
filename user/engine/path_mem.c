/* SPDX-License-Identifier: BSD-2-Clause */
#include "path_mem.h"

#include <sched.h>
#include <string.h>
#include <time.h>

uint64_t ntm_boottime_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Word by word: a copy that runs into a change is noticed and repeated, and is no data race. */
static void copy_words(void *to, const void *from, size_t len)
{
	uint64_t *t = to;
	const uint64_t *f = from;
	for (size_t i = 0; i < len / 8; i++)
		__atomic_store_n(&t[i], __atomic_load_n(&f[i], __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}

void ntm_endpoint_get(const struct ntm_path *p, struct ntm_endpoint *out)
{
	_Alignas(8) struct ntm_endpoint e;
	uint32_t cur = __atomic_load_n(&p->ep_cur, __ATOMIC_ACQUIRE) & 1;
	copy_words(&e, &p->ep[cur], sizeof(e));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	uint32_t again = __atomic_load_n(&p->ep_cur, __ATOMIC_RELAXED) & 1;
	if (again != cur)
		copy_words(&e, &p->ep[again], sizeof(e));
	*out = e;
}

void ntm_endpoint_set(struct ntm_endpoint *e, const struct ntm_addr *ep)
{
	_Alignas(8) struct ntm_endpoint n = {
	    .port = ep->port, .is_ipv6 = !ntm_ip_is_v4(ep->ip) && !ntm_ip_is_zero(ep->ip), .uplink = 0};
	memcpy(n.addr, ep->ip, 16);
	copy_words(e, &n, sizeof(n));
}

/* Programs hold it for a few instructions and never sleep with it. */
static void lock(struct ntm_path *p)
{
	uint32_t free = 0;
	while (!__atomic_compare_exchange_n(&p->ep_lock, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		free = 0;
		sched_yield();
	}
}

static void unlock(struct ntm_path *p)
{
	__atomic_store_n(&p->ep_lock, 0, __ATOMIC_RELEASE);
}

/* With the lock. */
static void switch_to(struct ntm_path *p, const struct ntm_addr *ep)
{
	uint32_t other = !(__atomic_load_n(&p->ep_cur, __ATOMIC_RELAXED) & 1);
	ntm_endpoint_set(&p->ep[other], ep);
	__atomic_store_n(&p->ep_cur, other, __ATOMIC_RELEASE);
}

void ntm_path_move(struct ntm_path *p, const struct ntm_addr *ep)
{
	lock(p);
	switch_to(p, ep);
	unlock(p);
}

static bool is_held(const struct ntm_path *p, uint64_t now)
{
	return now < __atomic_load_n(&p->hold_until_ns, __ATOMIC_ACQUIRE);
}

bool ntm_path_follow(struct ntm_path *p, const struct ntm_addr *from, uint64_t now)
{
	struct ntm_endpoint ep;
	ntm_endpoint_get(p, &ep);
	if ((ep.port == from->port && !memcmp(ep.addr, from->ip, 16)) || is_held(p, now))
		return false;
	lock(p);
	/* The agent that holds it has said so before it took the lock. */
	bool held = is_held(p, now);
	if (!held)
		switch_to(p, from);
	unlock(p);
	if (held)
		return false;
	__atomic_fetch_add(&p->roams, 1, __ATOMIC_RELAXED);
	return true;
}

void ntm_way_get(const struct ntm_uplink *uplinks, const struct ntm_endpoint *ep, struct ntm_way *out)
{
	const struct ntm_uplink *up = &uplinks[2 * (ep->uplink & 7) + (ep->is_ipv6 ? 1 : 0)];
	_Alignas(8) struct ntm_way w = {0};
	if (ep->port)
		copy_words(&w, &up->way[__atomic_load_n(&up->cur, __ATOMIC_ACQUIRE) & 1], sizeof(w));
	*out = w;
}

bool ntm_way_get_copy(const struct ntm_uplink *uplinks, const struct ntm_endpoint *ep, const struct ntm_way *way,
		      uint64_t now, size_t udp_len, struct ntm_way *out)
{
	struct ntm_endpoint before = *ep;
	if (way->copy_until_ns <= now)
		return false;
	before.uplink = NTM_COPY_PAIR;
	ntm_way_get(uplinks, &before, out);
	return out->ifindex && udp_len + 8 + (ep->is_ipv6 ? 40 : 20) <= out->mtu;
}

void ntm_way_set(struct ntm_uplink *up, const struct ntm_way *way)
{
	_Alignas(8) struct ntm_way w = *way;
	uint32_t cur = __atomic_load_n(&up->cur, __ATOMIC_RELAXED) & 1;
	if (!memcmp(&up->way[cur], way, sizeof(*way)))
		return;
	copy_words(&up->way[cur ^ 1], &w, sizeof(w));
	__atomic_store_n(&up->cur, cur ^ 1, __ATOMIC_SEQ_CST);
}

struct ntm_heard ntm_path_heard(struct ntm_path *p, uint8_t epoch, bool newest, const struct ntm_addr *from,
				uint64_t now)
{
	struct ntm_heard h = {false, false};
	uint32_t waiting = epoch;
	__atomic_store_n(&p->last_rx_ns, now, __ATOMIC_RELAXED);
	if (__atomic_load_n(&p->next_epoch, __ATOMIC_RELAXED) == epoch &&
	    __atomic_compare_exchange_n(&p->next_epoch, &waiting, NTM_NO_EPOCH, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED)) {
		__atomic_store_n(&p->tx_epoch, epoch, __ATOMIC_RELEASE);
		h.confirmed = true;
	}
	h.roamed = newest && ntm_path_follow(p, from, now);
	return h;
}
