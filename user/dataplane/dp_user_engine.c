/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine on the paths of dp_user.h: workers between the device and the port, with the suites of the bulk lane. What
 * they don't decide comes here as events: packets to nobody who is known, those that are too big, the host's own
 * questions, signalling. The owner's own packets (probes, what was held back, what came in fragments) use the same
 * counters and the same windows, in the memory of the path.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/log.h"
#include "../engine/aead.h"
#include "dp_user_int.h"
#include "engineops.h"

static uint32_t by_id(void *arg, uint64_t id_be)
{
	struct ntm_dp_user *d = arg;
	pthread_rwlock_rdlock(&d->index_lock);
	uint32_t slot = ntm_user_slot(d, be64toh(id_be));
	pthread_rwlock_unlock(&d->index_lock);
	return slot;
}

static uint32_t by_dst(void *arg, const uint8_t ip[16])
{
	struct ntm_dp_user *d = arg;
	struct ntm_vip vip;
	memcpy(vip.ip, ip, 16);
	pthread_rwlock_rdlock(&d->index_lock);
	uint32_t slot = ntm_user_slot_of_vip(d, &vip);
	pthread_rwlock_unlock(&d->index_lock);
	return slot;
}

/* Asked only for a gateway's clients, and there are none: this node is no gateway. */
static bool is_local(void *arg, const uint8_t ip[16])
{
	(void)arg;
	(void)ip;
	return true;
}

static bool is_own(void *arg, const uint8_t ip[16])
{
	struct ntm_dp_user *d = arg;
	return d->conf.is_own && d->conf.is_own(d->conf.arg, ip);
}

static void too_big(struct ntm_dp_user *d, uint32_t slot, const struct ntm_engine_event *ev)
{
	struct ntm_inner in;
	if (ntm_packet_accept(d->settings, ev->data, ev->len, &in) == NTM_R_TX_OK)
		(void)ntm_user_too_big(d, slot, ev->data, &in); /* the worker has counted it */
}

static void no_path(struct ntm_dp_user *d, const struct ntm_engine_event *ev)
{
	const struct ntm_dp_events *fn = d->dp.events;
	struct ntm_inner in;
	if (d->conf.own && d->conf.own(d->conf.arg, ev->data, ev->len))
		return;
	if (fn->no_path && ev->len <= NTM_INNER_MAX &&
	    ntm_packet_accept(d->settings, ev->data, ev->len, &in) == NTM_R_TX_OK)
		fn->no_path(d->dp.arg, ev->addr.ip, ev->data, ev->len);
}

static void on_event(void *arg, const struct ntm_engine_event *ev)
{
	struct ntm_dp_user *d = arg;
	const struct ntm_dp_events *fn = d->dp.events;
	uint32_t slot = ev->path_id ? ntm_user_slot(d, ev->path_id) : 0;
	switch (ev->type) {
	case NTM_ENGINE_ROAMED:
		if (fn->roamed && slot)
			fn->roamed(d->dp.arg, ev->path_id, &ev->addr);
		break;
	case NTM_ENGINE_EPOCH:
		if (!slot)
			break; /* deleted meanwhile */
		if ((__atomic_load_n(&d->paths[slot].tx_epoch, __ATOMIC_ACQUIRE) & 15) == ev->epoch)
			ntm_user_epoch_switched(d, slot, ev->epoch);
		if (fn->epoch_confirmed)
			fn->epoch_confirmed(d->dp.arg, ev->path_id, ev->epoch);
		break;
	case NTM_ENGINE_EXPIRED:
		if (fn->expired && slot)
			fn->expired(d->dp.arg, ev->path_id);
		break;
	case NTM_ENGINE_LANE:
		if (fn->lane && slot)
			fn->lane(d->dp.arg, ev->path_id, ev->up);
		break;
	case NTM_ENGINE_NO_PATH:
		no_path(d, ev);
		break;
	case NTM_ENGINE_TOO_BIG:
		if (slot)
			too_big(d, slot, ev);
		break;
	case NTM_ENGINE_DATAGRAM:
		if (fn->datagram)
			fn->datagram(d->dp.arg, &ev->addr, ev->to, ev->data, ev->len);
		break;
	case NTM_ENGINE_TUN_GONE:
		if (d->conf.tun_gone)
			d->conf.tun_gone(d->conf.arg);
		break;
	}
}

static const struct ntm_engine_ops ops = {
    .by_id = by_id, .by_dst = by_dst, .is_local = is_local, .is_own = is_own, .event = on_event};

/* The keys of an earlier agent's paths: those of suite 0, which are in the paths' memory. */
static void adopt_keys(struct ntm_dp_user *d, uint32_t slot)
{
	struct ntm_path *p = &d->paths[slot];
	for (unsigned e = 0; e < NTM_EPOCHS; e++) {
		struct ntm_engine_keys k = {.epoch = p->rx[e].epoch, .tx = p->tx[e].key, .rx = p->rx[e].key};
		if (p->rx[e].expires_ns && (k.epoch & 1) == e && ntm_engine_set_keys(d->engine, slot, &k))
			ntm_warn("path %016llx: no memory for its keys", (unsigned long long)be64toh(p->path_id));
	}
}

int ntm_user_engine_init(struct ntm_dp_user *d)
{
	struct ntm_engine_config c = {.paths = d->paths,
				      .n_slots = d->n_slots,
				      .settings = d->settings,
				      .uplinks = d->uplinks,
				      .ops = &ops,
				      .arg = d};
	if (!d->conf.queues)
		return -EINVAL;
	int err = ntm_engine_new(&d->engine, &c);
	if (!err)
		err = ntm_user_events_watch(d, ntm_engine_fd(d->engine));
	if (err)
		return err;
	for (uint32_t slot = 1; slot < d->n_slots; slot++)
		if (d->paths[slot].path_id)
			adopt_keys(d, slot);
	d->dp.suites = 1u << NTM_SUITE_BULK_CHACHA | (ntm_aead_has_aes() ? 1u << NTM_SUITE_BULK_AES : 0);
	return 0;
}

int ntm_user_engine_start(struct ntm_dp *dp, const struct ntm_dp_start *s, char *why, size_t cap)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	struct ntm_tun tuns[NTM_WORKERS_MAX];
	if (!d->engine)
		return 0;
	unsigned n = ntm_engine_workers(d->engine);
	int err = d->conf.queues(d->conf.arg, tuns, n);
	if (err)
		snprintf(why, cap, "the device has no queues for workers: %s", strerror(-err));
	if (!err) {
		err = ntm_engine_start(d->engine, tuns, n, s->port, s->mark, s->fds);
		if (err)
			snprintf(why, cap, "sockets and threads of workers can't be made: %s", strerror(-err));
	}
	d->running = !err;
	if (err)
		ntm_user_engine_close(d);
	return err;
}

void ntm_user_engine_close(struct ntm_dp_user *d)
{
	d->dp.suites = 0;
	d->running = false;
	ntm_engine_free(d->engine);
	d->engine = NULL;
}

bool ntm_dp_user_engine_runs(struct ntm_dp *dp)
{
	return ntm_dpu(dp)->running;
}

int ntm_dp_user_new_tun(struct ntm_dp *dp)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	struct ntm_tun tuns[NTM_WORKERS_MAX];
	if (!d->running)
		return 0;
	unsigned n = ntm_engine_workers(d->engine);
	int err = d->conf.queues(d->conf.arg, tuns, n), first = 0;
	for (unsigned i = 0; !err && i < n; i++) {
		int e = ntm_engine_set_tun(d->engine, i, &tuns[i]);
		first = first ? first : e;
	}
	return err ? err : first;
}

void ntm_user_engine_forget(struct ntm_dp_user *d, uint32_t slot, uint8_t epoch)
{
	if (d->engine)
		ntm_engine_forget(d->engine, slot, epoch);
}

void ntm_user_engine_keys(struct ntm_dp_user *d, uint32_t slot, const struct ntm_dp_keys *k)
{
	int err = ntm_dp_engine_keys(d->engine, slot, k);
	if (err)
		ntm_err("path %016llx: no memory for its keys", (unsigned long long)be64toh(d->paths[slot].path_id));
}

void ntm_user_engine_del(struct ntm_dp_user *d, uint32_t slot)
{
	if (d->engine)
		ntm_engine_del(d->engine, slot);
}
