/* SPDX-License-Identifier: BSD-2-Clause */
#include "csum.h"

/* The 32-bit words of a vector, each pair of them into one of its 64-bit sums: no carry is lost for 2^32 vectors. */
typedef uint64_t narrow __attribute__((vector_size(16)));
typedef uint64_t wide __attribute__((vector_size(32)));

static uint64_t sum_narrow(const uint8_t *p, size_t len, uint64_t sum)
{
	narrow acc[4] = {{0}}, v;
	for (const uint8_t *end = p + len; p < end; p += 64) {
		for (int i = 0; i < 4; i++) {
			memcpy(&v, p + 16 * i, 16);
			acc[i] += (v & 0xffffffff) + (v >> 32);
		}
	}
	acc[0] += acc[1] + acc[2] + acc[3];
	return sum + acc[0][0] + acc[0][1];
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_wide(const uint8_t *p, size_t len, uint64_t sum)
{
	wide acc[2] = {{0}}, v;
	for (const uint8_t *end = p + len; p < end; p += 64) {
		for (int i = 0; i < 2; i++) {
			memcpy(&v, p + 32 * i, 32);
			acc[i] += (v & 0xffffffff) + (v >> 32);
		}
	}
	acc[0] += acc[1];
	return sum + acc[0][0] + acc[0][1] + acc[0][2] + acc[0][3];
}

uint64_t ntm_sum_blocks(const uint8_t *p, size_t len, uint64_t sum)
{
	return __builtin_cpu_supports("avx2") ? sum_wide(p, len, sum) : sum_narrow(p, len, sum);
}
#else
uint64_t ntm_sum_blocks(const uint8_t *p, size_t len, uint64_t sum)
{
	return sum_narrow(p, len, sum);
}
#endif
