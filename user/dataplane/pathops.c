/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Epochs: a slot of ntm_path holds the epochs of one parity, so a new epoch takes the place of the last but one. A
 * program that still seals with the old key while its counter starts anew would use a nonce twice, and one that still
 * opens with it would mark the new window: a slot is written only when nobody can be using it any more.
 */
#include "pathops.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "../common/crypto.h"
#include "../common/shared_words.h"

/* Longer than any program runs, in softirq, without a pause. */
#define QUIET_NS NTM_NSEC

/* Tries to take ep_lock from a program on another CPU, which holds it for nanoseconds. */
#define EP_LOCK_TRIES 1000

void ntm_path_write(struct ntm_path *p, const struct ntm_dp_path *np)
{
	p->next_epoch = NTM_NO_EPOCH;
	memcpy(&p->peer_vip4, np->peer_vip4, 4);
	memcpy(p->peer_vip6, np->peer_vip6, 16);
	p->inner_mtu = np->inner_mtu;
	p->flags = (uint16_t)((np->small_outer ? NTM_PATH_SMALL_OUTER : 0) | (np->gateway ? NTM_PATH_GATEWAY : 0) |
			      (np->client ? NTM_PATH_CLIENT : 0));
	ntm_endpoint_set(&p->ep[0], &np->endpoint);
}

void ntm_path_fill(const struct ntm_path *p, struct ntm_dp_path *out)
{
	*out = (struct ntm_dp_path){.path_id = be64toh(p->path_id),
				    .inner_mtu = p->inner_mtu,
				    .small_outer = p->flags & NTM_PATH_SMALL_OUTER,
				    .gateway = p->flags & NTM_PATH_GATEWAY,
				    .client = p->flags & NTM_PATH_CLIENT};
	memcpy(out->peer_vip4, &p->peer_vip4, 4);
	memcpy(out->peer_vip6, p->peer_vip6, 16);
	ntm_path_endpoint(p, &out->endpoint);
}

void ntm_path_stats(const struct ntm_path *p, struct ntm_dp_stats *out)
{
	uint32_t epoch = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE) & 15;
	*out = (struct ntm_dp_stats){
	    .tx_packets = __atomic_load_n(&p->tx_packets, __ATOMIC_RELAXED),
	    .tx_bytes = __atomic_load_n(&p->tx_bytes, __ATOMIC_RELAXED),
	    .rx_packets = __atomic_load_n(&p->rx_packets, __ATOMIC_RELAXED),
	    .rx_bytes = __atomic_load_n(&p->rx_bytes, __ATOMIC_RELAXED),
	    .last_tx_ns = __atomic_load_n(&p->last_tx_ns, __ATOMIC_RELAXED),
	    .last_rx_ns = __atomic_load_n(&p->last_rx_ns, __ATOMIC_RELAXED),
	    .roams = __atomic_load_n(&p->roams, __ATOMIC_RELAXED),
	    .tx_counter = __atomic_load_n(&p->tx[epoch & 1].counter, __ATOMIC_RELAXED),
	    .tx_epoch = (uint8_t)epoch,
	    .inner_mtu = p->inner_mtu,
	};
	ntm_path_endpoint(p, &out->endpoint);
}

void ntm_path_vips(const struct ntm_path *p, struct ntm_vip out[2])
{
	ntm_ip_from_v4(out[0].ip, &p->peer_vip4);
	memcpy(out[1].ip, p->peer_vip6, 16);
}

bool ntm_path_has_keys(const struct ntm_path *p)
{
	return p->tx[0].expires_ns || p->tx[1].expires_ns || p->rx[0].expires_ns || p->rx[1].expires_ns;
}

void ntm_path_endpoint(const struct ntm_path *p, struct ntm_addr *out)
{
	struct ntm_endpoint e;
	ntm_endpoint_get(p, &e);
	*out = (struct ntm_addr){.port = e.port};
	memcpy(out->ip, e.addr, 16);
}

void ntm_path_set_endpoint(struct ntm_path *p, const struct ntm_addr *ep, uint32_t hold_ms)
{
	struct ntm_addr now;
	__atomic_store_n(&p->hold_until_ns, hold_ms ? ntm_boottime_ns() + hold_ms * 1000000ull : 0, __ATOMIC_RELEASE);
	ntm_path_endpoint(p, &now);
	/* Held: whoever has the lock may have looked before, and would move it for as long. So: with the lock. */
	if (hold_ms || !ntm_addr_equal(&now, ep))
		ntm_path_move(p, ep);
}

void ntm_path_release_lock(struct ntm_path *p)
{
	for (int i = 0; i < EP_LOCK_TRIES; i++)
		if (!__atomic_load_n(&p->ep_lock, __ATOMIC_ACQUIRE))
			return;
	__atomic_store_n(&p->ep_lock, 0, __ATOMIC_RELEASE);
}

void ntm_path_set_mtu(struct ntm_path *p, uint16_t inner_mtu, bool small_outer)
{
	__atomic_store_n(&p->inner_mtu, inner_mtu, __ATOMIC_RELAXED);
	if (small_outer)
		__atomic_or_fetch(&p->flags, NTM_PATH_SMALL_OUTER, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&p->flags, (uint16_t)~NTM_PATH_SMALL_OUTER, __ATOMIC_RELAXED);
}

/* Nobody uses a slot that is empty (see below when it becomes so) or that expired a while ago. */
static bool is_quiet(uint64_t expires, uint64_t now)
{
	return !expires || expires + QUIET_NS <= now;
}

static void shorten(__u64 *expires, __u64 limit)
{
	__u64 have = __atomic_load_n(expires, __ATOMIC_ACQUIRE);
	while (have > limit &&
	       !__atomic_compare_exchange_n(expires, &have, limit, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
}

uint64_t ntm_path_sweep_keys(struct ntm_path *p, uint64_t now)
{
	uint64_t next = 0;
	for (int e = 0; e < NTM_EPOCHS; e++) {
		__u64 *expires[2] = {&p->tx[e].expires_ns, &p->rx[e].expires_ns};
		uint8_t *keys[2] = {p->tx[e].key, p->rx[e].key};
		for (int i = 0; i < 2; i++) {
			uint64_t at = __atomic_load_n(expires[i], __ATOMIC_ACQUIRE);
			if (!at)
				continue;
			if (is_quiet(at, now)) {
				__atomic_store_n(expires[i], 0, __ATOMIC_RELEASE);
				ntm_wipe(keys[i], NTM_KEY_LEN);
			} else if (at <= now + NTM_EPOCH_GRACE_S * NTM_NSEC && (!next || at + QUIET_NS < next)) {
				next = at + QUIET_NS;
			}
		}
	}
	return next;
}

uint64_t ntm_path_end_epoch(struct ntm_path *p, uint8_t epoch)
{
	uint64_t end = ntm_boottime_ns() + NTM_EPOCH_GRACE_S * NTM_NSEC;
	int old = !(epoch & 1);
	shorten(&p->rx[old].expires_ns, end);
	shorten(&p->tx[old].expires_ns, end);
	return end + QUIET_NS;
}

void ntm_path_expire(struct ntm_path *p)
{
	for (int e = 0; e < NTM_EPOCHS; e++) {
		__atomic_store_n(&p->tx[e].expires_ns, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&p->rx[e].expires_ns, 0, __ATOMIC_RELEASE);
	}
}

/* Makes the epoch's slot empty: what was in it is not switched to any more, and nobody uses it afterwards. */
static void empty_slot(struct ntm_path *p, int e, uint64_t now, void (*quiesce)(void))
{
	bool quiet = is_quiet(p->tx[e].expires_ns, now) && is_quiet(p->rx[e].expires_ns, now);
	if (p->next_epoch != NTM_NO_EPOCH && (p->next_epoch & 1) == (uint32_t)e)
		__atomic_store_n(&p->next_epoch, NTM_NO_EPOCH, __ATOMIC_RELEASE);
	__atomic_store_n(&p->tx[e].expires_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&p->rx[e].expires_ns, 0, __ATOMIC_RELEASE);
	if (!quiet && quiesce)
		quiesce();
}

int ntm_path_set_keys(struct ntm_path *p, const struct ntm_dp_keys *k, bool send, void (*quiesce)(void))
{
	if (k->epoch > 15)
		return -EINVAL;
	int e = k->epoch & 1;
	struct ntm_tx_epoch *tx = &p->tx[e];
	struct ntm_rx_epoch *rx = &p->rx[e];
	uint64_t now = ntm_boottime_ns(), end = now + NTM_EPOCH_ORPHAN_S * NTM_NSEC;

	empty_slot(p, e, now, quiesce);
	memcpy(tx->key, k->tx, NTM_KEY_LEN);
	__atomic_store_n(&tx->counter, 0, __ATOMIC_RELEASE); /* see outbound.c */
	memcpy(rx->key, k->rx, NTM_KEY_LEN);
	memset(rx->words, 0, sizeof(rx->words));
	__atomic_store_n(&rx->head, 0, __ATOMIC_RELAXED);
	rx->epoch = k->epoch;
	__atomic_store_n(&rx->expires_ns, end, __ATOMIC_RELEASE);
	__atomic_store_n(&tx->expires_ns, end, __ATOMIC_RELEASE);

	/* The responder, too, switches at once when there is nothing else to send with. */
	uint32_t current = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE);
	uint64_t other = __atomic_load_n(&p->tx[!e].expires_ns, __ATOMIC_ACQUIRE);
	if (!send && (current & 1) != (uint32_t)e && other > now) {
		__atomic_store_n(&p->next_epoch, k->epoch, __ATOMIC_RELEASE);
		return 0;
	}
	bool had_other = __atomic_load_n(&p->rx[!e].expires_ns, __ATOMIC_ACQUIRE) || other;
	__atomic_store_n(&p->next_epoch, NTM_NO_EPOCH, __ATOMIC_RELEASE);
	__atomic_store_n(&p->tx_epoch, k->epoch, __ATOMIC_RELEASE);
	return had_other;
}

static void fill_way(struct ntm_way *out, const struct ntm_dp_uplink *u, const uint8_t addr[16],
		     const struct ntm_dp_way *w)
{
	*out = (struct ntm_way){.ifindex = u->ifindex, .mtu = u->mtu};
	memcpy(out->addr, addr, 16);
	if (!w->known)
		return;
	out->flags = NTM_WAY_KNOWN | (w->out ? NTM_WAY_DEFAULT : 0);
	memcpy(out->gateway, w->gateway, 16);
	for (unsigned i = 0; i < 16; i++) {
		unsigned bits = w->prefix_len > 8 * i ? w->prefix_len - 8 * i : 0;
		out->mask[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
	}
}

/* A way that was in use, if interface and address are there still: its route may just have become another one's. */
static struct ntm_way still_there(const struct ntm_way *was, bool v6, const struct ntm_dp_uplink *u, size_t n)
{
	struct ntm_way out = *was;
	uint8_t mapped[16];
	out.copy_until_ns = 0;
	for (size_t i = 0; i < n && was->ifindex; i++) {
		ntm_ip_from_v4(mapped, u[i].addr4);
		if (u[i].ifindex == was->ifindex && !memcmp(v6 ? u[i].addr6 : mapped, was->addr, 16))
			return out;
	}
	return (struct ntm_way){0};
}

/* Pair 1 is filled before pair 0 says that it is used, and emptied when what it leads to is gone. */
static void write_way(struct ntm_uplink *uplinks, unsigned v6, struct ntm_way *now, const struct ntm_dp_uplink *u,
		      size_t n, uint32_t duplicate_ms)
{
	const struct ntm_uplink *up = &uplinks[v6];
	struct ntm_way was = up->way[up->cur & 1], old = {0};
	bool same = was.ifindex == now->ifindex && !memcmp(was.addr, now->addr, 16);
	if (same) {
		up = &uplinks[2 + v6];
		old = still_there(&up->way[up->cur & 1], v6, u, n);
		now->copy_until_ns = old.ifindex ? was.copy_until_ns : 0;
	} else if (duplicate_ms && now->ifindex) {
		old = still_there(&was, v6, u, n);
		now->copy_until_ns = old.ifindex ? ntm_boottime_ns() + duplicate_ms * 1000000ull : 0;
	}
	ntm_way_set(&uplinks[2 + v6], &old);
	ntm_way_set(&uplinks[v6], now);
}

void ntm_ways_set(struct ntm_uplink *uplinks, const struct ntm_dp_uplink *u, size_t n, uint32_t duplicate_ms)
{
	struct ntm_way v4 = {0}, v6 = {0};
	static const uint8_t none[16];
	uint8_t mapped[16];
	for (size_t i = n; i-- > 0;) {
		ntm_ip_from_v4(mapped, u[i].addr4);
		if (memcmp(u[i].addr4, none, 4))
			fill_way(&v4, &u[i], mapped, &u[i].way4);
		if (memcmp(u[i].addr6, none, 16))
			fill_way(&v6, &u[i], u[i].addr6, &u[i].way6);
	}
	write_way(uplinks, 0, &v4, u, n, duplicate_ms);
	write_way(uplinks, 1, &v6, u, n, duplicate_ms);
}

static bool valid_pools(const struct ntm_prefix *pool4, const struct ntm_prefix *pool6)
{
	return ntm_ip_is_v4(pool4->ip) && pool4->len > 96 && pool4->len <= 128 && pool6->len && pool6->len <= 128;
}

int ntm_addresses_check(const struct ntm_dp_addresses *a)
{
	if (!valid_pools(&a->pool4, &a->pool6) || a->n_peers > NTM_PEER_POOLS)
		return -EINVAL;
	for (unsigned i = 0; i < a->n_peers; i++)
		if (!valid_pools(&a->peers[i].pool4, &a->peers[i].pool6))
			return -EINVAL;
	return 0;
}

int ntm_settings_get_addresses(const struct ntm_settings *s, struct ntm_dp_addresses *a)
{
	if (!s->pool4_len)
		return -ENOENT;
	memset(a, 0, sizeof(*a));
	memcpy(a->vip4, &s->vip4, 4);
	memcpy(a->vip6, s->vip6, 16);
	ntm_ip_from_v4(a->pool4.ip, &s->pool4);
	a->pool4.len = (uint8_t)(96 + s->pool4_len);
	memcpy(a->pool6.ip, s->pool6, 16);
	a->pool6.len = s->pool6_len;
	a->n_peers = s->n_peers <= NTM_PEER_POOLS ? s->n_peers : 0;
	for (unsigned i = 0; i < a->n_peers; i++) {
		ntm_ip_from_v4(a->peers[i].pool4.ip, (const uint8_t *)&s->peers[i].pool4);
		a->peers[i].pool4.len = (uint8_t)(96 + s->peers[i].pool4_len);
		memcpy(a->peers[i].pool6.ip, s->peers[i].pool6, 16);
		a->peers[i].pool6.len = s->peers[i].pool6_len;
	}
	return 0;
}

static bool same_peer_pools(const struct ntm_settings *s, const struct ntm_dp_addresses *a)
{
	bool same = s->n_peers == a->n_peers;
	for (unsigned i = 0; same && i < a->n_peers; i++)
		same = s->peers[i].pool4_len == a->peers[i].pool4.len - 96 &&
		       s->peers[i].pool6_len == a->peers[i].pool6.len &&
		       !memcmp(&s->peers[i].pool4, a->peers[i].pool4.ip + 12, 4) &&
		       !memcmp(s->peers[i].pool6, a->peers[i].pool6.ip, 16);
	return same;
}

static void set_peer_pools(struct ntm_settings *s, const struct ntm_dp_addresses *a)
{
	/* None first: no program matches half of one pool and half of another. */
	__atomic_store_n(&s->n_peers, 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < a->n_peers; i++) {
		ntm_shared_put(&s->peers[i].pool4, a->peers[i].pool4.ip + 12, 4);
		__atomic_store_n(&s->peers[i].pool4_len, a->peers[i].pool4.len - 96, __ATOMIC_RELAXED);
		ntm_shared_put(s->peers[i].pool6, a->peers[i].pool6.ip, 16);
		__atomic_store_n(&s->peers[i].pool6_len, a->peers[i].pool6.len, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&s->n_peers, a->n_peers, __ATOMIC_RELEASE);
}

static void set_own_pools(struct ntm_settings *s, const struct ntm_dp_addresses *a)
{
	uint8_t len4 = (uint8_t)(a->pool4.len - 96);
	/* Said again, as after a restart or with another zone: no packet is to find the pools empty meanwhile. */
	if (s->pool4_len == len4 && s->pool6_len == a->pool6.len && !memcmp(&s->pool4, a->pool4.ip + 12, 4) &&
	    !memcmp(s->pool6, a->pool6.ip, 16))
		return;
	/* Length 0 first, as above. */
	__atomic_store_n(&s->pool4_len, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->pool6_len, 0, __ATOMIC_SEQ_CST);
	ntm_shared_put(&s->pool4, a->pool4.ip + 12, 4);
	ntm_shared_put(s->pool6, a->pool6.ip, 16);
	__atomic_store_n(&s->pool6_len, a->pool6.len, __ATOMIC_RELEASE);
	__atomic_store_n(&s->pool4_len, len4, __ATOMIC_RELEASE);
}

void ntm_settings_set_addresses(struct ntm_settings *s, const struct ntm_dp_addresses *a)
{
	if (memcmp(&s->vip4, a->vip4, 4) || memcmp(s->vip6, a->vip6, 16)) {
		ntm_shared_put(&s->vip4, a->vip4, 4);
		ntm_shared_put(s->vip6, a->vip6, 16);
	}
	set_own_pools(s, a);
	if (!same_peer_pools(s, a))
		set_peer_pools(s, a);
}
