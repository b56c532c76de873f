/* SPDX-License-Identifier: BSD-2-Clause */
#include "dcload_stalls.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "dcload.h"

enum { CPUS = 2, STALLS = 4096, PERIOD_NS = 300000, PRIORITY = 4 };

static struct watch {
	pthread_t thread;
	int cpu;
	size_t n;
	struct {
		uint64_t from, to, settled;
	} stalls[STALLS];
} watches[CPUS];
static atomic_bool ending;

static void *watch(void *arg)
{
	struct watch *w = arg;
	uint64_t slept, now, due;
	struct timespec ts;

	while (!atomic_load(&ending)) {
		slept = sim_now();
		due = slept + PERIOD_NS;
		ts = (struct timespec){.tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		now = sim_now();
		if (now - due < STALL_NS || w->n == STALLS)
			continue;
		w->stalls[w->n].from = slept;
		w->stalls[w->n].settled = now;
		w->stalls[w->n++].to = now;
	}
	return NULL;
}

static int start(struct watch *w)
{
	struct sched_param priority = {.sched_priority = PRIORITY};
	pthread_attr_t attr;
	cpu_set_t cpu;
	int err;

	CPU_ZERO(&cpu);
	CPU_SET(w->cpu, &cpu);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(cpu), &cpu);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &priority);
	err = -pthread_create(&w->thread, &attr, watch, w);
	pthread_attr_destroy(&attr);
	return err;
}

int stalls_begin(void)
{
	int err = 0;

	atomic_store(&ending, false);
	for (int i = 0; !err && i < CPUS; i++) {
		watches[i].cpu = i;
		watches[i].n = 0;
		watches[i].thread = 0;
		err = start(&watches[i]);
	}
	if (err)
		stalls_end();
	return err;
}

struct stalls stalls_end(void)
{
	struct stalls s = {0};

	atomic_store(&ending, true);
	for (int i = 0; i < CPUS; i++) {
		if (watches[i].thread)
			pthread_join(watches[i].thread, NULL);
		watches[i].thread = 0;
		for (size_t k = 0; k < watches[i].n; k++) {
			uint64_t ns = watches[i].stalls[k].to - watches[i].stalls[k].from;

			s.n++;
			s.total_ns += ns;
			if (ns > s.longest_ns)
				s.longest_ns = ns;
		}
	}
	return s;
}

/* How many of n ascending times are not after t. */
static size_t until(const uint64_t *times, size_t n, uint64_t t)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (times[mid] <= t)
			low = mid + 1;
		else
			n = mid;
	}
	return low;
}

/* By Little's law. */
static size_t usually_under_way(const uint64_t *due, const uint64_t *came, size_t n)
{
	uint64_t waited = 0;

	for (size_t i = 0; i < n; i++)
		waited += came[i] - due[i];
	return n && came[n - 1] > due[0] ? waited / (came[n - 1] - due[0]) : 0;
}

void stalls_settle(const uint64_t *due, const uint64_t *came, size_t n)
{
	size_t usual = usually_under_way(due, came, n);

	for (int i = 0; i < CPUS; i++) {
		for (size_t k = 0; k < watches[i].n; k++) {
			uint64_t from = watches[i].stalls[k].from, to = watches[i].stalls[k].to;
			size_t before = until(due, n, from) - until(came, n, from), done = until(came, n, to);

			before = before > usual ? before : usual;
			for (; until(due, n, to) - done > before && done < n; done++)
				to = came[done];
			watches[i].stalls[k].settled = to;
		}
	}
}

bool stalls_met(uint64_t due_ns, uint64_t came_ns)
{
	for (int i = 0; i < CPUS; i++) {
		for (size_t k = 0; k < watches[i].n; k++) {
			if (due_ns <= watches[i].stalls[k].settled && came_ns > watches[i].stalls[k].from)
				return true;
		}
	}
	return false;
}
