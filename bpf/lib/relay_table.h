/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Relay paths: finding one, which end a packet comes from, its token bucket. */
#ifndef NTM_LIB_RELAY_TABLE_H
#define NTM_LIB_RELAY_TABLE_H

#define NTM_RELAY_RETRIES 3
#define NTM_RELAY_BIND_INTERVAL 19 /* 1.05 ms each: 50 binds a second, */
#define NTM_RELAY_BIND_BURST 20    /* 20 at once */

/*
 * The slot beyond the home slot that holds the path, or NTM_NO_SLOT. Global, so that it is verified once. Each slot is
 * counted from the home slot: from a 0 where the table ends the verifier would count on, for each place where it may.
 */
__noinline __u32 ntm_relay_probe(__u64 id, __u32 home, __u32 slots)
{
	for (__u32 i = 1; i < NTM_RELAY_PROBES; i++) {
		struct ntm_relay_path *p;
		__u32 slot = home + i;
		__be64 have;

		if (slot >= slots)
			slot -= slots;
		p = bpf_map_lookup_elem(&ntm_relay_paths, &slot);
		if (!p)
			break;
		have = NTM_READ(p->path_id);
		if (have == id)
			return slot;
		if (have == NTM_RELAY_EMPTY)
			break;
	}
	return NTM_NO_SLOT;
}

/* The slot that holds the path, or NTM_NO_SLOT. */
static __always_inline __u32 ntm_relay_find(const struct ntm_relay_settings *s, __be64 id)
{
	__u32 slots = s->slots, slot = (bpf_be64_to_cpu(id) >> 32) * slots >> 32, next = slot + 1;
	struct ntm_relay_path *p = bpf_map_lookup_elem(&ntm_relay_paths, &slot);
	struct ntm_relay_path *after = bpf_map_lookup_elem(&ntm_relay_paths, &next);
	__be64 have, behind = NTM_RELAY_TOMBSTONE;

	if (!p || id == NTM_RELAY_EMPTY || id == NTM_RELAY_TOMBSTONE)
		return NTM_NO_SLOT;
	/* Both are asked of memory at once: what follows waits for one cache miss, not for two. */
	have = NTM_READ(p->path_id);
	if (after)
		behind = NTM_READ(after->path_id);
	if (NTM_LIKELY(have == id))
		return slot;
	if (behind == id)
		return next;
	if (have == NTM_RELAY_EMPTY || behind == NTM_RELAY_EMPTY)
		return NTM_NO_SLOT;
	return ntm_relay_probe(id, slot, slots);
}

/* What is in the packet's place of an end: its address and port. */
struct ntm_relay_to {
	__u32 addr[4];
	__be16 port;
	__u8 is_ipv6;
};

static __always_inline int ntm_relay_is_end(const struct ntm_relay_path *p, int end, const struct ntm_relay_rx *rx)
{
	const __u32 *a = (const __u32 *)p->addr[end];

	if (p->port[end] != rx->sport || a[3] != rx->src[3] || !rx->sport)
		return 0;
	return !((a[0] ^ rx->src[0]) | (a[1] ^ rx->src[1]) | (a[2] ^ rx->src[2]));
}

/*
 * Which end the packet comes from, in *from, and a copy of the other one in *to, both of one version of the path.
 */
static __always_inline int ntm_relay_ends(struct ntm_relay_path *p, __be64 id, const struct ntm_relay_rx *rx,
					  __u32 *from, struct ntm_relay_to *to, __u32 *version)
{
	for (int i = 0; i < NTM_RELAY_RETRIES; i++) {
		__u32 v = NTM_READ(p->version), first = ntm_relay_is_end(p, 0, rx);
		__u32 found = first | ntm_relay_is_end(p, 1, rx);

		NTM_UNKNOWN(first);
		first &= 1;
		ntm_relay_copy(to->addr, p->addr[first]);
		to->port = p->port[first];
		to->is_ipv6 = p->flags >> first & 1;
		if (NTM_LIKELY(!(v & 1) && NTM_READ(p->version) == v && NTM_READ(p->path_id) == id)) {
			*from = first ^ 1;
			*version = v;
			if (!found)
				return NTM_RELAY_DROP(BAD_SOURCE);
			return to->port ? NTM_CONTINUE : NTM_RELAY_DROP(NOT_BOUND);
		}
	}
	return NTM_RELAY_DROP(BUSY);
}

/* Of which end the packet's source was the address until a moment ago: 0, 1, or -1. */
static __noinline int ntm_relay_former_end(__be64 id, const struct ntm_relay_rx *rx, __u64 now)
{
	struct ntm_relay_former *f = bpf_map_lookup_elem(&ntm_relay_former, &id);

	if (!f)
		return -1;
	for (int end = 0; end < 2; end++) {
		const __u32 *a = (const __u32 *)f->addr[end];

		if (f->until_ns[end] > now && f->port[end] == rx->sport && a[3] == rx->src[3] && a[0] == rx->src[0] &&
		    a[1] == rx->src[1] && a[2] == rx->src[2])
			return end;
	}
	return -1;
}

/* As ntm_relay_ends(), of a packet that came from neither end. */
static __always_inline int ntm_relay_late(struct ntm_relay_path *p, __be64 id, const struct ntm_relay_rx *rx, __u64 now,
					  __u32 *from, struct ntm_relay_to *to, __u32 *version)
{
	int end = ntm_relay_former_end(id, rx, now);
	__u32 v = NTM_READ(p->version), other = !end;

	if (end < 0)
		return NTM_RELAY_DROP(BAD_SOURCE);
	NTM_UNKNOWN(other);
	other &= 1;
	ntm_relay_copy(to->addr, p->addr[other]);
	to->port = p->port[other];
	to->is_ipv6 = p->flags >> other & 1;
	if (v & 1 || NTM_READ(p->version) != v || NTM_READ(p->path_id) != id)
		return NTM_RELAY_DROP(BUSY);
	*from = other ^ 1;
	*version = v;
	return to->port ? NTM_CONTINUE : NTM_RELAY_DROP(NOT_BOUND);
}

/* One more packet from the end. The account, elsewhere in memory, hears of many at once. */
static __always_inline void ntm_relay_note(struct ntm_relay_path *p, __u32 slot, __u32 from, __u32 len)
{
	__u32 recent = NTM_READ(p->recent[from]) + NTM_RECENT_PACKET + len;

	if (NTM_UNLIKELY(recent >= NTM_RECENT_FULL)) {
		struct ntm_relay_account *a = bpf_map_lookup_elem(&ntm_relay_accounts, &slot);

		if (a) {
			a->packets[from] += recent / NTM_RECENT_PACKET;
			a->bytes[from] += recent & NTM_RECENT_BYTES;
		}
		recent = 0;
	}
	NTM_WRITE(p->recent[from], recent);
}

static __always_inline void ntm_relay_note_drop(__u32 slot)
{
	struct ntm_relay_account *a = bpf_map_lookup_elem(&ntm_relay_accounts, &slot);

	if (a)
		a->drops++;
}

/* The path's token bucket: what rate_kbit lets through in NTM_RELAY_BURST_NS, and always one packet after a pause. */
static __noinline int ntm_relay_rate(__u32 slot, __u32 bytes, __u64 now)
{
	struct ntm_relay_account *a = bpf_map_lookup_elem(&ntm_relay_accounts, &slot);
	__u32 rate_kbit;
	__u64 cost;

	if (!a)
		return 1;
	rate_kbit = NTM_READ(a->rate_kbit);
	if (!rate_kbit)
		return 1;
	cost = (__u64)bytes * 8000000 / rate_kbit;
	for (int i = 0; i < NTM_RELAY_RETRIES; i++) {
		__u64 tat = NTM_READ(a->tat_ns), base = tat > now ? tat : now;

		if (base - now > NTM_RELAY_BURST_NS)
			return 0;
		if (__sync_val_compare_and_swap(&a->tat_ns, tat, base + cost) == tat)
			return 1;
	}
	return 0;
}

/* May one more bind of this path go to the agent? */
static __noinline int ntm_relay_bind_allowed(__u32 slot, __u64 now)
{
	struct ntm_relay_account *a = bpf_map_lookup_elem(&ntm_relay_accounts, &slot);
	__u32 t = now >> NTM_RELAY_BIND_SHIFT, tat;
	__s32 ahead;

	if (!a)
		return 0;
	tat = NTM_READ(a->bind_tat);
	ahead = tat - t;
	/* Further ahead than a full bucket: it is from long ago, before the counter wrapped. */
	if (ahead < 0 || ahead > NTM_RELAY_BIND_BURST * NTM_RELAY_BIND_INTERVAL)
		ahead = 0;
	if (ahead > (NTM_RELAY_BIND_BURST - 1) * NTM_RELAY_BIND_INTERVAL)
		return 0;
	NTM_WRITE(a->bind_tat, t + ahead + NTM_RELAY_BIND_INTERVAL);
	return 1;
}

#endif
