/* SPDX-License-Identifier: BSD-2-Clause */
/* The paths of the relay's benchmark, for its BPF program and for who fills the table. */
#ifndef NTM_RELAY_BENCH_H
#define NTM_RELAY_BENCH_H

#define BENCH_V4_IN 0x0a000000u  /* 10.0.0.0 + index: initiators */
#define BENCH_V4_OUT 0x1e000000u /* 30.0.0.0 + index: responders */
#define BENCH_V4_OWN 0xc0000201u /* 192.0.2.1 */
#define BENCH_V6 0x20010db8u     /* 2001:db8::256 + index, responders 2001:db8::1:0:256; own: ::1 */
#define BENCH_PORT 1024          /* + index % 32768 */

/* What is not done: all of the relay's work, or all but finding the path. */
enum bench_idle { BENCH_RELAY, BENCH_IDLE, BENCH_FIND };

/* A bijection (the finaliser of SplitMix64): as if random, never twice the same. */
static inline __u64 bench_path_id(__u32 index)
{
	__u64 z = (index + 1) * 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

#endif
