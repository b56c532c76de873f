/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Steps return NTM_CONTINUE or a verdict: an action for the kernel and the reason for it. A verdict travels unchanged
 * to the one place that counts it and returns.
 */
#ifndef NTM_LIB_FINISH_H
#define NTM_LIB_FINISH_H

#define NTM_CONTINUE (-1)
#define NTM_VERDICT(action, reason) ((action)*65536 | NTM_R_##reason)

static __always_inline void ntm_count(__u32 reason, __u32 bytes)
{
	struct ntm_counter *c = bpf_map_lookup_elem(&ntm_counters, &reason);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
}

static __always_inline int ntm_finish(int verdict, __u32 bytes)
{
	ntm_count(verdict & 0xffff, bytes);
	return verdict >> 16;
}

#endif
