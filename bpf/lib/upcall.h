/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Inner packets and complaints that node_encap hands to the agent, and how many of them a second. */
#ifndef NTM_LIB_UPCALL_H
#define NTM_LIB_UPCALL_H

#define NTM_NSEC_PER_SEC 1000000000ULL
#define NTM_UPCALL_INTERVAL_NS 1000000ULL /* 1,000 packets a second and CPU */
#define NTM_UPCALL_BURST 128
#define NTM_QUIET_NS NTM_NSEC_PER_SEC /* between two EXPIRED events of a path */
#define NTM_QUIET_PATHS 1024

/* Theoretical arrival time of the next packet (GCRA): a token bucket in one word. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} ntm_upcall_tat SEC(".maps");

/* Slot of a path → when it was last complained about. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, NTM_QUIET_PATHS);
	__type(key, __u32);
	__type(value, __u64);
} ntm_quiet SEC(".maps");

static __always_inline int ntm_upcall_allowed(void)
{
	__u64 now = bpf_ktime_get_boot_ns(), *tat;
	__u32 zero = 0;

	tat = bpf_map_lookup_elem(&ntm_upcall_tat, &zero);
	if (!tat || *tat > now + (NTM_UPCALL_BURST - 1) * NTM_UPCALL_INTERVAL_NS)
		return 0;
	*tat = (*tat > now ? *tat : now) + NTM_UPCALL_INTERVAL_NS;
	return 1;
}

/* Copies the inner packet (len bytes behind the Ethernet header) to the agent. 0, or -1 if its queue is full. */
static __noinline int ntm_upcall(struct __sk_buff *skb, __u32 type, __be64 path_id, const struct ntm_vip *addr,
				 __u32 len)
{
	struct ntm_event *ev;

	if (len < sizeof(struct iphdr))
		return -1;
	/* Merged into one comparison, the two would tell Linux 6.1's verifier nothing. */
	NTM_UNKNOWN(len);
	if (len > NTM_INNER_MAX)
		return -1;
	ev = bpf_ringbuf_reserve(&ntm_events, sizeof(*ev), 0);
	if (!ev)
		return -1;
	ntm_event_init(ev, type, path_id);
	ntm_addr_copy(ev->addr, addr);
	ev->len = len;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, ev->data, len)) {
		bpf_ringbuf_discard(ev, 0);
		return -1;
	}
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

/* A path without a usable key for sending, at most once a NTM_QUIET_NS. */
static __noinline int ntm_upcall_expired(const struct ntm_path *path, __u32 slot, __u64 now)
{
	__u64 *last = bpf_map_lookup_elem(&ntm_quiet, &slot);

	if (last && now - *last < NTM_QUIET_NS)
		return 0;
	if (bpf_map_update_elem(&ntm_quiet, &slot, &now, BPF_ANY))
		return 0;
	return ntm_event_epoch(path, NTM_EV_EXPIRED, NTM_READ(path->tx_epoch));
}

#endif
