/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses in memory that other threads and BPF programs read while they change: a word at a time. Who reads meanwhile
 * may get words of both; readers take a packet for one that is not the node's then, and drop it.
 *
 * shared lies on a four-byte boundary; len is 4 or 16.
 */
#ifndef NTM_COMMON_SHARED_WORDS_H
#define NTM_COMMON_SHARED_WORDS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void ntm_shared_get(void *to, const void *shared, size_t len)
{
	const uint32_t *from = shared;

	for (size_t i = 0; i < len / 4; i++) {
		uint32_t word = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
		memcpy((uint8_t *)to + 4 * i, &word, 4);
	}
}

static inline void ntm_shared_put(void *shared, const void *from, size_t len)
{
	uint32_t *to = shared, word;

	for (size_t i = 0; i < len / 4; i++) {
		memcpy(&word, (const uint8_t *)from + 4 * i, 4);
		__atomic_store_n(&to[i], word, __ATOMIC_RELAXED);
	}
}

#endif
