/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs tell the agent. Whatever a sender can provoke without a key is limited before it costs anything. */
#ifndef NTM_LIB_EVENT_H
#define NTM_LIB_EVENT_H

static __always_inline void ntm_event_init(struct ntm_event *ev, __u32 type, __be64 path_id)
{
	__builtin_memset(ev, 0, NTM_EVENT_HDR_LEN);
	ev->type = type;
	ev->path_id = path_id;
}

/* EPOCH and EXPIRED. */
static __noinline int ntm_event_epoch(const struct ntm_path *path, __u32 type, __u32 epoch)
{
	struct ntm_event *ev = bpf_ringbuf_reserve(&ntm_events, NTM_EVENT_HDR_LEN, 0);

	if (!ev)
		return -1;
	ntm_event_init(ev, type, path->path_id);
	ev->epoch = epoch;
	bpf_ringbuf_submit(ev, 0);
	return 0;
}

#endif
