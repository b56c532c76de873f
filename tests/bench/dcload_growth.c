/* SPDX-License-Identifier: BSD-2-Clause */
#include "dcload_growth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 256, PAIRS = 15 };
#define SLICE_NS 200000000ULL
#define PATIENCE_NS 100000000ULL

static double cpu_now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void reset(struct sim *s)
{
	s->done = s->failed = s->lost = 0;
	s->latency = NULL;
}

static int drain(struct sim *s)
{
	while (s->in_flight)
		sim_receive(s, sim_now() + PATIENCE_NS);
	return s->failed || s->lost ? -EIO : 0;
}

int growth_connect(struct sim *s)
{
	int err = 0;

	reset(s);
	while (!err && s->n < s->total) {
		while (!err && s->in_flight < WINDOW && s->n < s->total)
			err = sim_begin(s, &s->nodes[s->n++], OP_SESSION, sim_now());
		sim_flush(s);
		sim_receive(s, sim_now() + PATIENCE_NS);
	}
	return err ? err : drain(s);
}

/* As many updates as the DC answers in a slice of time; *cost: seconds of its CPU for one of them. */
static int slice(const struct growth_side *side, double *cost)
{
	struct sim *s = side->sim;
	uint64_t begun = sim_now();
	double cpu = cpu_now(side->clock);
	int err = 0;

	reset(s);
	while (!err && sim_now() - begun < SLICE_NS) {
		struct sim_node *node;

		while (!err && s->in_flight < WINDOW && (node = sim_idle_node(s)))
			err = sim_begin(s, node, OP_REGISTER, sim_now());
		sim_flush(s);
		sim_receive(s, sim_now() + PATIENCE_NS);
	}
	if (!err)
		err = drain(s);
	if (!err && !s->done)
		err = -EIO;
	if (!err)
		*cost = (cpu_now(side->clock) - cpu) / (double)s->done;
	return err;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int growth_measure(const struct growth_side *many, const struct growth_side *few, double *ratio)
{
	double ratios[PAIRS], cost[2];
	const struct growth_side *sides[2] = {few, many};
	int err = slice(few, &cost[0]); /* both once before it counts */

	if (!err)
		err = slice(many, &cost[1]);
	for (int i = 0; !err && i < PAIRS; i++) {
		int first = i & 1; /* neither always has the other's leavings in the caches */

		err = slice(sides[first], &cost[first]);
		if (!err)
			err = slice(sides[!first], &cost[!first]);
		ratios[i] = cost[1] / cost[0];
	}
	if (err)
		return err;
	qsort(ratios, PAIRS, sizeof(ratios[0]), by_size);
	*ratio = ratios[PAIRS / 2];
	fprintf(stderr, "  an update, many nodes against few: %.2f to %.2f of %d, %.1f us the last\n", ratios[0],
		ratios[PAIRS - 1], PAIRS, cost[1] * 1e6);
	return 0;
}
