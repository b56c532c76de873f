/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where nodes are, and which paths they got and gave back, written behind: many in a transaction, so no request waits
 * for the disk. A crash loses what was not written yet: half a second's at most while the store keeps up. Such paths
 * are reported by their ends (path_report.c).
 */
#ifndef NTM_DC_WRITE_BEHIND_H
#define NTM_DC_WRITE_BEHIND_H

#include <uv.h>

#include "store.h"

enum {
	NTM_DC_BATCH = 4096,
	NTM_DC_RELEASES_MAX = 2 * NTM_DC_BATCH, /* paths that wait to be removed from the store */
};

struct ntm_dc;

struct ntm_dc_behind {
	uv_timer_t timer;
	bool writing; /* batch: the store's thread has it */
	struct ntm_store_batch batch;
	struct ntm_path_record paths[NTM_DC_BATCH], gone[NTM_DC_RELEASES_MAX]; /* gone: those of the batch first */
	struct ntm_path_record taken[NTM_DC_BATCH]; /* that a former process directed; those of the batch first */
	uint32_t taken_index[NTM_DC_BATCH][2];      /* of their ends, into the pools */
	struct ntm_presence presence[NTM_DC_BATCH];
	size_t n_gone, n_taken;
};

/* 0 or -ENOMEM. The stop writes all that is unwritten; the memory is free once the loop has run. */
int ntm_dc_write_behind_start(struct ntm_dc *dc);
void ntm_dc_write_behind_stop(struct ntm_dc *dc);
void ntm_dc_write_all(struct ntm_dc *dc); /* now; what fails is logged, and tried again later */
/* The store is to forget a path that it has, or may have. */
void ntm_dc_write_gone(struct ntm_dc *dc, const struct ntm_path_record *path);
/* The store is to have a path that it may have already (store.h's take_paths). -EIO: too many wait, and it fails. */
int ntm_dc_write_taken(struct ntm_dc *dc, const struct ntm_path_record *path, const uint32_t index[2]);

#endif
