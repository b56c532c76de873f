/* SPDX-License-Identifier: BSD-2-Clause */
/* What both data planes ask of an engine, in the words of dp.h. */
#ifndef NTM_DATAPLANE_ENGINEOPS_H
#define NTM_DATAPLANE_ENGINEOPS_H

#include "../engine/engine.h"
#include "dp.h"

/* Keys of one epoch, copied. e may be NULL: nothing to do. 0 or -errno. */
int ntm_dp_engine_keys(struct ntm_engine *e, uint32_t slot, const struct ntm_dp_keys *k);

/* Fills in what out says of the bulk lane, and lets the engine look after the lane of a path that is in use. e may be
 * NULL. */
void ntm_dp_engine_stats(struct ntm_engine *e, uint32_t slot, struct ntm_dp_stats *out);

#endif
