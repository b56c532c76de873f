/* SPDX-License-Identifier: BSD-2-Clause */
/* What an update costs a DC with many nodes, against one with few: both are there at once and asked in turn. */
#ifndef NTM_BENCH_DCLOAD_GROWTH_H
#define NTM_BENCH_DCLOAD_GROWTH_H

#include <time.h>

#include "dcload.h"

struct growth_side {
	struct sim *sim; /* its nodes have sessions */
	clockid_t clock; /* CPU time of its DC */
};

/*
 * The median of the ratios, many to few, each of two slices of time next to each other: what else the machine does
 * meets both alike. -EIO: some request had no answer, or an error for one; or -errno.
 */
int growth_measure(const struct growth_side *many, const struct growth_side *few, double *ratio);
/* Sessions of the nodes that have none. 0, -EIO or -errno */
int growth_connect(struct sim *s);

#endif
