/* SPDX-License-Identifier: BSD-2-Clause */
/* Epochs of paths that programs are using at the same time. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../common/log.h"
#include "dp_internal.h"

void ntm_synchronize(void)
{
	/* MEMBARRIER_CMD_GLOBAL waits for an RCU grace period, and BPF programs run in RCU read sections. */
	if (!syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		return;
	/* Not offered with nohz_full: then by time. */
	struct timespec ts = {.tv_nsec = 100000000};
	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

void ntm_epoch_switched(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch)
{
	struct ntm_due due = {ntm_path_end_epoch(&d->paths[slot], epoch), slot};
	/* Without memory for a reminder the old key stays, expired, until the next epoch takes its slot. */
	if (ntm_fifo_push(&d->old_keys, &due))
		ntm_warn("no memory to remember an old key");
	ntm_events_rearm(d);
}

int ntm_dp_set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t slot = ntm_path_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_bulk_forget(d, slot, k->epoch);
	int r = ntm_path_set_keys(&d->paths[slot], k, send, ntm_synchronize);
	if (r >= 0)
		ntm_bulk_keys(d, slot, k);
	if (r > 0)
		ntm_epoch_switched(d, slot, k->epoch);
	return r < 0 ? r : 0;
}
