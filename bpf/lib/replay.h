/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Replay window of RFC 6479 without locks, over struct ntm_rx_epoch of ntm/maps.h, which describes the words. Plain C
 * with __sync builtins: the XDP program and the agent use this same code on the same memory.
 *
 * Accepted once is every counter above the head, and every one of the NTM_REPLAY_WINDOW counters below it. That a
 * word may serve block b while the window still reaches back into b needs NTM_REPLAY_WORDS blocks to span more than
 * the window plus one block: a word goes to block b + 66 only on a counter at or above 32b + 2112, and then the
 * highest of block b, 32b + 31, is 2,081 or more behind.
 */
#ifndef NTM_LIB_REPLAY_H
#define NTM_LIB_REPLAY_H

#include <ntm/maps.h>

static_assert((NTM_REPLAY_WORDS - 1) * NTM_REPLAY_WORD_BITS >= NTM_REPLAY_WINDOW, "window must fit the words");

enum ntm_replay {
	NTM_REPLAY_OK,
	NTM_REPLAY_SEEN,
	NTM_REPLAY_OLD,
};

/*
 * Tries of a compare-and-swap. One fails only when another CPU sets one of the word's 32 bits, or moves it to a newer
 * block, between load and swap; a counter that loses this often is reported as seen, so dropped.
 */
#define NTM_REPLAY_TRIES 34

#define NTM_REPLAY_LOAD(x) (*(const volatile __u64 *)&(x))

static inline __attribute__((always_inline)) __u32 ntm_replay_index(__u64 ctr)
{
	__u32 i = ctr / NTM_REPLAY_WORD_BITS % NTM_REPLAY_WORDS;

	/* The verifier of Linux 6.1 learns nothing from a modulo, and the compiler would remove the check of it. */
	asm volatile("" : "+r"(i));
	return i;
}

/* What ntm_replay_accept() would say now; changes nothing. For a packet that is not authenticated yet. */
static inline __attribute__((always_inline)) enum ntm_replay ntm_replay_check(const struct ntm_rx_epoch *rx, __u64 ctr)
{
	__u64 block = ctr / NTM_REPLAY_WORD_BITS, tag = block / NTM_REPLAY_WORDS + 1, word;
	__u32 i = ntm_replay_index(ctr);

	if (i >= NTM_REPLAY_WORDS || ctr >= NTM_COUNTER_LIMIT)
		return NTM_REPLAY_OLD;
	if (ctr + NTM_REPLAY_WINDOW < NTM_REPLAY_LOAD(rx->head))
		return NTM_REPLAY_OLD;
	word = NTM_REPLAY_LOAD(rx->words[i]);
	if (word >> 32 > tag)
		return NTM_REPLAY_OLD;
	if (word >> 32 == tag && word >> (ctr % NTM_REPLAY_WORD_BITS) & 1)
		return NTM_REPLAY_SEEN;
	return NTM_REPLAY_OK;
}

/*
 * Marks an authenticated counter. Of all calls with one counter, on all CPUs, one returns NTM_REPLAY_OK.
 * *newest: the counter is above all that were accepted before (set with NTM_REPLAY_OK only).
 */
static inline __attribute__((always_inline)) enum ntm_replay ntm_replay_accept(struct ntm_rx_epoch *rx, __u64 ctr,
									       int *newest)
{
	__u64 block = ctr / NTM_REPLAY_WORD_BITS, tag = block / NTM_REPLAY_WORDS + 1;
	__u64 bit = 1ULL << (ctr % NTM_REPLAY_WORD_BITS);
	__u64 head, word, next, was;
	__u32 i = ntm_replay_index(ctr);
	int tries;

	if (i >= NTM_REPLAY_WORDS || ctr >= NTM_COUNTER_LIMIT)
		return NTM_REPLAY_OLD;
	head = NTM_REPLAY_LOAD(rx->head);
	if (ctr + NTM_REPLAY_WINDOW < head)
		return NTM_REPLAY_OLD;
	word = NTM_REPLAY_LOAD(rx->words[i]);
	for (tries = 0; tries < NTM_REPLAY_TRIES; tries++) {
		if (word >> 32 > tag)
			return NTM_REPLAY_OLD;
		if (word >> 32 == tag) {
			if (word & bit)
				return NTM_REPLAY_SEEN;
			next = word | bit;
		} else {
			next = tag << 32 | bit;
		}
		was = __sync_val_compare_and_swap(&rx->words[i], word, next);
		if (was == word)
			break;
		word = was;
	}
	if (tries == NTM_REPLAY_TRIES)
		return NTM_REPLAY_SEEN;

	/* Losing all tries leaves a head that others have just raised: the words alone keep each counter single. */
	*newest = 0;
	for (tries = 0; tries < NTM_REPLAY_TRIES && head <= ctr; tries++) {
		was = __sync_val_compare_and_swap(&rx->head, head, ctr + 1);
		if (was == head) {
			*newest = 1;
			break;
		}
		head = was;
	}
	return NTM_REPLAY_OK;
}

#endif
