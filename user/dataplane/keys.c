/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Epochs of a path. A slot of ntm_path holds the epochs of one parity, so a new epoch takes the place of the last but
 * one. A program that still seals with the old key while its counter starts anew would use a nonce twice, and one that
 * still opens with it would mark the new window: a slot is written only when nobody can be using it any more.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "dp_internal.h"

#define NSEC 1000000000ULL
/* Longer than any program runs, in softirq, without a pause. */
#define QUIET_NS NSEC

uint64_t ntm_boottime_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec;
}

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

/* Nobody uses a slot that is empty (see below when it becomes so) or that expired a while ago. */
static bool is_quiet(uint64_t expires, uint64_t now)
{
	return !expires || expires + QUIET_NS <= now;
}

static void shorten(__u64 *expires, __u64 limit)
{
	__u64 have = __atomic_load_n(expires, __ATOMIC_ACQUIRE);
	while (have > limit &&
	       !__atomic_compare_exchange_n(expires, &have, limit, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
}

uint64_t ntm_keys_sweep(struct ntm_path *p, uint64_t now)
{
	uint64_t next = 0;
	for (int e = 0; e < NTM_EPOCHS; e++) {
		__u64 *expires[2] = {&p->tx[e].expires_ns, &p->rx[e].expires_ns};
		uint8_t *keys[2] = {p->tx[e].key, p->rx[e].key};
		for (int i = 0; i < 2; i++) {
			uint64_t at = __atomic_load_n(expires[i], __ATOMIC_ACQUIRE);
			if (!at)
				continue;
			if (is_quiet(at, now)) {
				__atomic_store_n(expires[i], 0, __ATOMIC_RELEASE);
				ntm_wipe(keys[i], NTM_KEY_LEN);
			} else if (at <= now + NTM_EPOCH_GRACE_S * NSEC && (!next || at + QUIET_NS < next)) {
				next = at + QUIET_NS;
			}
		}
	}
	return next;
}

void ntm_epoch_switched(struct ntm_dp_bpf *d, uint32_t slot, uint8_t epoch)
{
	struct ntm_path *p = &d->paths[slot];
	uint64_t now = ntm_boottime_ns(), end = now + NTM_EPOCH_GRACE_S * NSEC;
	int old = !(epoch & 1);
	shorten(&p->rx[old].expires_ns, end);
	shorten(&p->tx[old].expires_ns, end);
	struct ntm_due due = {end + QUIET_NS, slot};
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
	if (k->epoch > 15)
		return -EINVAL;
	struct ntm_path *p = &d->paths[slot];
	int e = k->epoch & 1;
	struct ntm_tx_epoch *tx = &p->tx[e];
	struct ntm_rx_epoch *rx = &p->rx[e];
	uint64_t now = ntm_boottime_ns(), end = now + NTM_EPOCH_ORPHAN_S * NSEC;
	bool quiet = is_quiet(tx->expires_ns, now) && is_quiet(rx->expires_ns, now);

	/* An epoch that waited in this slot for its first packet is not to be switched to any more. */
	if (p->next_epoch != NTM_NO_EPOCH && (p->next_epoch & 1) == (uint32_t)e)
		__atomic_store_n(&p->next_epoch, NTM_NO_EPOCH, __ATOMIC_RELEASE);
	__atomic_store_n(&tx->expires_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&rx->expires_ns, 0, __ATOMIC_RELEASE);
	if (!quiet)
		ntm_synchronize();

	memcpy(tx->key, k->tx, NTM_KEY_LEN);
	__atomic_store_n(&tx->counter, 0, __ATOMIC_RELAXED);
	memcpy(rx->key, k->rx, NTM_KEY_LEN);
	memset(rx->words, 0, sizeof(rx->words));
	__atomic_store_n(&rx->head, 0, __ATOMIC_RELAXED);
	rx->epoch = k->epoch;
	__atomic_store_n(&rx->expires_ns, end, __ATOMIC_RELEASE);
	__atomic_store_n(&tx->expires_ns, end, __ATOMIC_RELEASE);

	/* The responder, too, switches at once when there is nothing else to send with. */
	uint32_t current = __atomic_load_n(&p->tx_epoch, __ATOMIC_ACQUIRE);
	uint64_t other = __atomic_load_n(&p->tx[!e].expires_ns, __ATOMIC_ACQUIRE);
	if (send || (current & 1) == (uint32_t)e || other <= now) {
		bool had_other = __atomic_load_n(&p->rx[!e].expires_ns, __ATOMIC_ACQUIRE) || other;
		__atomic_store_n(&p->next_epoch, NTM_NO_EPOCH, __ATOMIC_RELEASE);
		__atomic_store_n(&p->tx_epoch, k->epoch, __ATOMIC_RELEASE);
		if (had_other)
			ntm_epoch_switched(d, slot, k->epoch);
	} else {
		__atomic_store_n(&p->next_epoch, k->epoch, __ATOMIC_RELEASE);
	}
	return 0;
}
