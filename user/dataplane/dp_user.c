/* SPDX-License-Identifier: BSD-2-Clause */
/* The data plane in the agent: opening, closing, addresses, and the vtable. */
#include "dp_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/log.h"
#include "dp_user_int.h"
#include "engineops.h"

static bool op_adopted(struct ntm_dp *dp)
{
	return ntm_dpu(dp)->adopted;
}

static void op_foreach(struct ntm_dp *dp, void (*fn)(void *arg, const struct ntm_dp_path *p), void *arg)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	for (uint32_t slot = 1; slot < d->n_slots; slot++) {
		struct ntm_dp_path p;
		if (!d->paths[slot].path_id)
			continue;
		ntm_path_fill(&d->paths[slot], &p);
		fn(arg, &p);
	}
}

static int op_get_addresses(struct ntm_dp *dp, struct ntm_dp_addresses *a)
{
	return ntm_settings_get_addresses(ntm_dpu(dp)->settings, a);
}

static int op_set_addresses(struct ntm_dp *dp, const struct ntm_dp_addresses *a)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	struct ntm_dp_addresses old;
	int err = ntm_addresses_check(a);
	if (err)
		return err;
	bool had = !op_get_addresses(dp, &old);
	bool same = had && !memcmp(old.vip4, a->vip4, 4) && !memcmp(old.vip6, a->vip6, 16);
	if (d->conf.addresses)
		err = d->conf.addresses(d->conf.arg, had ? &old : NULL, a);
	if (err)
		return err;
	ntm_settings_set_addresses(d->settings, a);
	/* The kernel dropped the routes that preferred the old source. */
	for (uint32_t slot = 1; had && !same && !err && slot < d->n_slots; slot++)
		if (d->active[slot])
			err = ntm_user_routes(d, slot);
	if (!err && !same && d->general.n)
		err = ntm_user_set_general(dp, &d->general);
	return err;
}

static int op_set_uplinks(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t best = 0;
	ntm_ways_set(d->uplinks, u, n, d->conf.duplicate_ms);
	for (size_t i = 0; i < n; i++) {
		u[i].hook = NTM_RX_GENERIC;
		if (u[i].mtu > best)
			best = u[i].mtu;
	}
	int err = n && d->conf.uplink_mtu ? d->conf.uplink_mtu(d->conf.arg, best) : 0;
	if (err)
		snprintf(why, cap, "can't set the interface's MTU to its uplinks': %s", strerror(-err));
	return err;
}

static int op_stats(struct ntm_dp *dp, uint64_t path_id, struct ntm_dp_stats *out)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_stats(&d->paths[slot], out);
	ntm_dp_engine_stats(d->engine, slot, out);
	return 0;
}

static int op_endpoint(struct ntm_dp *dp, uint64_t path_id, struct ntm_addr *ep)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	if (!slot)
		return -ENOENT;
	ntm_path_endpoint(&d->paths[slot], ep);
	return 0;
}

static int op_counters(struct ntm_dp *dp, struct ntm_counter *out)
{
	memcpy(out, ntm_dpu(dp)->counts, sizeof(ntm_dpu(dp)->counts));
	if (ntm_dpu(dp)->engine)
		ntm_engine_counters(ntm_dpu(dp)->engine, out);
	return 0;
}

static struct ntm_path_agent *op_agent_record(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	uint32_t slot = ntm_user_slot(d, path_id);
	return slot ? &d->agents[slot] : NULL;
}

static int op_fd(struct ntm_dp *dp)
{
	return ntm_dpu(dp)->poll_fd;
}

static void free_dp(struct ntm_dp_user *d, bool keep)
{
	ntm_user_engine_close(d);
	if (d->mem)
		ntm_user_paths_free(d);
	ntm_user_events_free(d);
	ntm_user_state_close(d, keep);
	free(d);
}

static void op_close(struct ntm_dp *dp, bool keep)
{
	struct ntm_dp_user *d = ntm_dpu(dp);
	ntm_user_engine_close(d);
	if (d->conf.closing)
		d->conf.closing(d->conf.arg, keep);
	free_dp(d, keep);
}

static const struct ntm_dp_ops ops = {
    .adopted = op_adopted,
    .foreach = op_foreach,
    .set_addresses = op_set_addresses,
    .get_addresses = op_get_addresses,
    .set_uplinks = op_set_uplinks,
    .set_general = ntm_user_set_general,
    .add_path = ntm_user_add_path,
    .set_keys = ntm_user_set_keys,
    .activate = ntm_user_activate,
    .set_endpoint = ntm_user_set_endpoint,
    .set_mtu = ntm_user_set_mtu,
    .del_path = ntm_user_del_path,
    .stats = op_stats,
    .endpoint = op_endpoint,
    .counters = op_counters,
    .agent_record = op_agent_record,
    .seal = ntm_user_seal,
    .open = ntm_user_open,
    .start = ntm_user_engine_start,
    .fd = op_fd,
    .dispatch = ntm_user_dispatch,
    .close = op_close,
};

int ntm_dp_user_open(struct ntm_dp **out, const struct ntm_dp_user_config *c, const struct ntm_dp_events *ev, void *arg,
		     char *why, size_t cap)
{
	struct ntm_dp_user *d = calloc(1, sizeof(*d));
	int err = d && c->deliver && c->send ? 0 : d ? -EINVAL : -ENOMEM;
	why[0] = 0;
	if (!err) {
		d->dp = (struct ntm_dp){.ops = &ops, .events = ev, .arg = arg};
		d->conf = *c;
		d->n_slots = (c->max_paths ? c->max_paths : NTM_MAX_PATHS_DEFAULT) + 1;
		d->state_fd = d->timer_fd = d->poll_fd = -1;
		pthread_rwlock_init(&d->index_lock, NULL);
		if (c->state_file && !(d->state_file = strdup(c->state_file)))
			err = -ENOMEM;
	}
	if (!err)
		err = ntm_user_state_open(d, why, cap);
	if (!err)
		err = ntm_user_events_init(d);
	if (!err)
		err = ntm_user_paths_init(d);
	if (!err && c->engine)
		err = ntm_user_engine_init(d);
	if (!err) {
		ntm_user_rearm(d);
		*out = &d->dp;
		return 0;
	}
	if (!why[0])
		snprintf(why, cap, "data plane: %s", strerror(-err));
	if (d)
		free_dp(d, true);
	return err;
}

int ntm_dp_user_remove(const struct ntm_dp_user_config *c, char *why, size_t cap)
{
	return ntm_user_state_remove(c->state_file, why, cap);
}
