/* SPDX-License-Identifier: BSD-2-Clause */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"

/* What the relay could not do for packets that were its to relay; what others send in error says nothing of load. */
static const enum ntm_relay_reason dropped[] = {NTM_RR_RATE, NTM_RR_BIND_RATE, NTM_RR_NO_ROUTE, NTM_RR_ERROR};

void ntm_load_open(struct ntm_loadmeter *l)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	*l = (struct ntm_loadmeter){.stat_fd = open("/proc/stat", O_RDONLY | O_CLOEXEC),
				    .cpus = cpus > 0 ? (unsigned)cpus : 1};
	if (l->stat_fd < 0)
		ntm_warn("/proc/stat: %s; the load that is reported lacks the kernel's part", strerror(errno));
}

void ntm_load_close(struct ntm_loadmeter *l)
{
	if (l->stat_fd >= 0)
		close(l->stat_fd);
	l->stat_fd = -1;
}

bool ntm_load_parse_stat(const char *text, uint64_t *softirq, uint64_t *total)
{
	enum { SOFTIRQ = 6, COUNTED = 8 }; /* guest time is in user time already */
	uint64_t sum = 0, v[COUNTED];
	char *end;

	if (strncmp(text, "cpu ", 4))
		return false;
	text += 4;
	for (int i = 0; i < COUNTED; i++) {
		v[i] = strtoull(text, &end, 10);
		if (end == text)
			return false;
		text = end;
		sum += v[i];
	}
	*softirq = v[SOFTIRQ];
	*total = sum;
	return true;
}

static void read_stat(const struct ntm_loadmeter *l, struct ntm_load_sample *s)
{
	char text[512];
	ssize_t len = l->stat_fd >= 0 ? pread(l->stat_fd, text, sizeof(text) - 1, 0) : -1;

	if (len <= 0)
		return;
	text[len] = 0;
	if (!ntm_load_parse_stat(text, &s->softirq, &s->jiffies))
		s->softirq = s->jiffies = 0;
}

void ntm_load_tick(struct ntm_loadmeter *l, struct ntm_relay_dp *dp, uint64_t now_ns)
{
	struct ntm_load_sample s = {.at_ns = now_ns};
	struct ntm_counter c[NTM_RR_COUNT];
	struct timespec own;
	int err = dp->ops->counters(dp, c);

	if (err) {
		ntm_warn_limited("counters: %s", strerror(-err));
		return;
	}
	s.packets = c[NTM_RR_RELAYED].packets;
	s.bytes = c[NTM_RR_RELAYED].bytes;
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
		s.drops += c[dropped[i]].packets;
	read_stat(l, &s);
	if (!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own))
		s.process_ns = (uint64_t)own.tv_sec * 1000000000u + (uint64_t)own.tv_nsec;
	l->samples[l->next] = s;
	l->next = (l->next + 1) % NTM_LOAD_SAMPLES;
}

static uint64_t grown(uint64_t from, uint64_t to)
{
	return to > from ? to - from : 0;
}

static uint32_t at_most_32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

void ntm_load_between(const struct ntm_load_sample *from, const struct ntm_load_sample *to, unsigned cpus,
		      struct ntm_load *out)
{
	uint64_t ms = grown(from->at_ns, to->at_ns) / 1000000, jiffies = grown(from->jiffies, to->jiffies), cpu;

	if (!ms)
		return;
	out->packets_per_s = at_most_32(grown(from->packets, to->packets) * 1000 / ms);
	out->bytes_per_s = grown(from->bytes, to->bytes) * 1000 / ms;
	out->drops_per_s = at_most_32(grown(from->drops, to->drops) * 1000 / ms);
	cpu = jiffies ? grown(from->softirq, to->softirq) * 1000 / jiffies : 0;
	cpu += grown(from->process_ns, to->process_ns) / 1000 / ms / cpus;
	out->cpu_permille = (uint16_t)(cpu > 1000 ? 1000 : cpu);
}

void ntm_load_rates(const struct ntm_loadmeter *l, struct ntm_load *out)
{
	const struct ntm_load_sample *oldest = &l->samples[l->next];
	const struct ntm_load_sample *newest = &l->samples[(l->next + NTM_LOAD_SAMPLES - 1) % NTM_LOAD_SAMPLES];

	/* In the first seconds the ring is not full. */
	for (unsigned i = 0; !oldest->at_ns && i < NTM_LOAD_SAMPLES; i++)
		oldest = &l->samples[(l->next + i) % NTM_LOAD_SAMPLES];
	if (oldest->at_ns)
		ntm_load_between(oldest, newest, l->cpus, out);
}
