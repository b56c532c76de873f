/* SPDX-License-Identifier: BSD-2-Clause */
/* Load: rates between samples, and what /proc/stat says. */
#include <criterion/criterion.h>
#include <string.h>

#include "../../user/relay/load.h"

Test(load, proc_stat)
{
	uint64_t softirq, total;

	cr_assert(ntm_load_parse_stat("cpu  10 20 30 40 50 60 70 80 900 1000\ncpu0 1 2", &softirq, &total));
	cr_assert_eq(softirq, 70);
	cr_assert_eq(total, 360, "guest time is not counted twice");
	cr_assert_not(ntm_load_parse_stat("cpu0 10 20 30 40 50 60 70 80", &softirq, &total));
	cr_assert_not(ntm_load_parse_stat("cpu  10 20 30", &softirq, &total));
	cr_assert_not(ntm_load_parse_stat("", &softirq, &total));
}

Test(load, rates)
{
	struct ntm_load_sample a = {.at_ns = 1000000000, .packets = 100, .bytes = 5000, .drops = 7};
	struct ntm_load_sample b = {.at_ns = 4000000000, .packets = 3100, .bytes = 305000, .drops = 37};
	struct ntm_load l = {.paths = 5};

	a.softirq = 100;
	a.jiffies = 1000;
	b.softirq = 160;
	b.jiffies = 1600;              /* 3 s of two CPUs at 100 Hz: 10 % softirq */
	b.process_ns = 300 * 1000000u; /* 300 ms of 6 s: 5 % */
	ntm_load_between(&a, &b, 2, &l);
	cr_assert_eq(l.packets_per_s, 1000);
	cr_assert_eq(l.bytes_per_s, 100000);
	cr_assert_eq(l.drops_per_s, 10);
	cr_assert_eq(l.cpu_permille, 150);
	cr_assert_eq(l.paths, 5, "not its own");
}

Test(load, nothing_to_divide_by)
{
	struct ntm_load_sample a = {.at_ns = 1000000000, .packets = 100}, b = a;
	struct ntm_load l = {0};

	b.packets = 500;
	ntm_load_between(&a, &b, 1, &l);
	cr_assert_eq(l.packets_per_s, 0);
}

Test(load, counters_that_began_anew_are_no_storm)
{
	struct ntm_load_sample a = {.at_ns = 1000000000, .packets = 1ull << 60, .softirq = 9, .jiffies = 5};
	struct ntm_load_sample b = {.at_ns = 2000000000, .packets = 5};
	struct ntm_load l = {0};

	ntm_load_between(&a, &b, 1, &l);
	cr_assert_eq(l.packets_per_s, 0);
	cr_assert_eq(l.cpu_permille, 0);
}

Test(load, more_than_all_is_all)
{
	struct ntm_load_sample a = {.at_ns = 1}, b = {.at_ns = 1000000001, .packets = 1ull << 50};
	struct ntm_load l = {0};

	b.process_ns = 5000000000;
	ntm_load_between(&a, &b, 1, &l);
	cr_assert_eq(l.packets_per_s, UINT32_MAX);
	cr_assert_eq(l.cpu_permille, 1000);
}

/* A data plane that says what it is told to. */
static struct ntm_counter now[NTM_RR_COUNT];
static int counters(struct ntm_relay_dp *dp, struct ntm_counter *out)
{
	(void)dp;
	memcpy(out, now, sizeof(now));
	return 0;
}

Test(load, over_the_last_seconds)
{
	static const struct ntm_relay_dp_ops ops = {.counters = counters};
	struct ntm_relay_dp dp = {&ops};
	struct ntm_loadmeter m;
	struct ntm_load l = {0};

	ntm_load_open(&m);
	ntm_load_rates(&m, &l);
	cr_assert_eq(l.packets_per_s, 0, "nothing measured yet");
	for (unsigned s = 1; s <= 10; s++) {
		now[NTM_RR_RELAYED].packets += s > 5 ? 2000 : 100;
		now[NTM_RR_RATE].packets += 3;
		now[NTM_RR_UNKNOWN_PATH].packets += 100000;
		ntm_load_tick(&m, &dp, s * 1000000000ull);
		ntm_load_rates(&m, &l);
		if (s == 3)
			cr_assert_eq(l.packets_per_s, 100);
	}
	cr_assert_eq(l.packets_per_s, 2000, "what was long ago is forgotten");
	cr_assert_eq(l.drops_per_s, 3, "others' errors are no load");
	cr_assert_leq(l.cpu_permille, 1000);
	ntm_load_close(&m);
}
