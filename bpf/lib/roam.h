/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an authenticated packet changes on its path: the peer's endpoint, and the epoch that is used for sending. */
#ifndef NTM_LIB_ROAM_H
#define NTM_LIB_ROAM_H

#define NTM_NO_EPOCH 16

static __noinline int ntm_event_roamed(const struct ntm_path *path, const struct ntm_vip *addr, __be16 port)
{
	struct ntm_event *ev = bpf_ringbuf_reserve(&ntm_events, NTM_EVENT_HDR_LEN, 0);

	if (!ev)
		return -1;
	ntm_event_init(ev, NTM_EV_ROAMED, path->path_id);
	ntm_addr_copy(ev->addr, addr);
	ev->port = port;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

/*
 * The endpoint becomes the source of an authenticated packet with the newest counter. Contention means that somebody
 * else is moving it: the next packet decides. Returns 1 if it moved.
 */
static __always_inline int ntm_endpoint_move(struct ntm_path *path, const struct ntm_rx *rx, __u64 now)
{
	struct ntm_endpoint *ep = &path->ep[NTM_READ(path->ep_cur) & 1], *next;
	__u32 cur;

	if (NTM_LIKELY(ep->port == rx->sport && ntm_addr_equal(ep->addr, &rx->src)))
		return 0;
	/* The agents have just agreed on another pair of addresses: this packet was sent before. */
	if (now < NTM_READ(path->hold_until_ns))
		return 0;
	if (__sync_val_compare_and_swap(&path->ep_lock, 0, 1))
		return 0;
	/* An agent that holds it has said so before it took the lock: it was not here in between. */
	if (now < NTM_READ(path->hold_until_ns)) {
		__sync_lock_test_and_set(&path->ep_lock, 0);
		return 0;
	}
	cur = NTM_READ(path->ep_cur) & 1;
	next = &path->ep[cur ^ 1];
	ntm_addr_copy(next->addr, &rx->src);
	next->port = rx->sport;
	next->is_ipv6 = rx->is_ipv6;
	next->uplink = path->ep[cur].uplink;
	/* Exchanges order memory: the address is there before it is current. */
	__sync_lock_test_and_set(&path->ep_cur, cur ^ 1);
	__sync_lock_test_and_set(&path->ep_lock, 0);
	__sync_fetch_and_add(&path->roams, 1);
	return 1;
}

/*
 * Responder: the peer's first packet on a new epoch proves that it has the key, so sending moves there, and the
 * epoch before it is accepted for NTM_EPOCH_GRACE_S more.
 */
static __noinline int ntm_confirm_epoch(struct ntm_path *path, __u32 epoch, __u64 now)
{
	struct ntm_rx_epoch *old = &path->rx[(epoch ^ 1) & 1];
	__u64 limit = now + NTM_EPOCH_GRACE_S * 1000000000ULL, expires;

	if (__sync_val_compare_and_swap(&path->next_epoch, epoch, NTM_NO_EPOCH) != epoch)
		return 0;
	NTM_WRITE(path->tx_epoch, epoch);
	expires = NTM_READ(old->expires_ns);
	if (expires > limit)
		__sync_val_compare_and_swap(&old->expires_ns, expires, limit);
	return ntm_event_epoch(path, NTM_EV_EPOCH, epoch);
}

#endif
