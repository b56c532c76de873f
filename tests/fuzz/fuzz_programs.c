/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * node_decap, node_encap and relay as compiled for this machine, on packets and maps that tests/native/scene.h makes of
 * the input. The memory before and behind a packet, and behind each value of a map, is fenced off: what the verifier's
 * bounds would hide is seen. Each packet is counted under one reason, and one that passes is as it came. What the same
 * input does to the programs in the kernel, tests/bpf/differential.c compares.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <ntm/maps.h>
#include <ntm/reasons.h>
#include <ntm/relay.h>

#include "../native/scene.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_programs: %s\n", what);
	abort();
}

static uint64_t counted(const struct scene *s)
{
	const char *map = s->program == SCENE_RELAY ? "ntm_relay_counters" : "ntm_counters";
	uint64_t sum = 0;

	for (uint32_t r = 0; r < (s->program == SCENE_RELAY ? NTM_RR_COUNT : NTM_R_COUNT); r++) {
		/* beside others: an endpoint that moved, and what goes on to a gateway's program that is not there */
		if (s->program == SCENE_RELAY ? r == NTM_RR_TO_GATEWAY : r == NTM_R_RX_ROAMED)
			continue;
		sum += ((struct ntm_counter *)native_slot(map, r))->packets;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	static struct scene s, before;

	if (!ready) {
		scene_init();
		native_boot_ns = native_coarse_ns = 1000000000000000ull;
		ready = true;
	}
	if (scene_begin(&s, data, size))
		return 0;
	while (scene_next(&s)) {
		uint64_t n = counted(&s), now;
		int v;

		before = s;
		v = scene_run(&s);
		now = counted(&s) - n;
		require(now == 1 || (now == 2 && s.program == SCENE_RELAY && s.options[0] & 64), "not counted once");
		if (s.program == SCENE_ENCAP) {
			require(v == TC_ACT_SHOT || v == TC_ACT_REDIRECT, "a packet in the clear got past node_encap");
			continue;
		}
		require(v == XDP_DROP || v == XDP_PASS || v == XDP_REDIRECT || v == XDP_TX, "an unknown verdict");
		require(v != XDP_TX || s.program == SCENE_RELAY, "sent back");
		require(v != XDP_PASS || (s.len == before.len && !memcmp(s.frame, before.frame, s.len)),
			"a packet that passes was changed");
	}
	return 0;
}
