/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's data plane in memory, for unit tests of the agent: the same table, and nothing that reads it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay_table.h"

struct fake {
	struct ntm_relay_dp dp; /* first */
	struct ntm_relay_table table;
	uint32_t idle_s;
	uint8_t locals[NTM_RELAY_LOCALS][16];
	size_t n_locals;
};

static struct fake *fake(struct ntm_relay_dp *dp)
{
	return (struct fake *)dp;
}

static bool op_adopted(struct ntm_relay_dp *dp)
{
	(void)dp;
	return false;
}

static int op_set_uplinks(struct ntm_relay_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	(void)dp;
	(void)why;
	(void)cap;
	for (size_t i = 0; i < n; i++)
		u[i].hook = NTM_RX_GENERIC;
	return 0;
}

static int op_set_locals(struct ntm_relay_dp *dp, const uint8_t (*ips)[16], size_t n)
{
	struct fake *f = fake(dp);
	if (n > NTM_RELAY_LOCALS)
		return -E2BIG;
	memcpy(f->locals, ips, 16 * n);
	f->n_locals = n;
	return 0;
}

static void op_routes_changed(struct ntm_relay_dp *dp)
{
	(void)dp;
}

static void op_set_draining(struct ntm_relay_dp *dp, bool draining)
{
	(void)dp;
	(void)draining;
}

static int op_add(struct ntm_relay_dp *dp, uint64_t path_id, const uint8_t secret[NTM_KEY_LEN], uint32_t rate_kbit)
{
	return ntm_relay_table_add(&fake(dp)->table, path_id, secret, rate_kbit);
}

static int op_get(struct ntm_relay_dp *dp, uint64_t path_id, struct ntm_relay_dp_path *out)
{
	return ntm_relay_table_get(&fake(dp)->table, path_id, out);
}

static int op_bind(struct ntm_relay_dp *dp, uint64_t path_id, unsigned end, const struct ntm_addr *addr, uint64_t seq)
{
	struct fake *f = fake(dp);
	for (size_t i = 0; i < f->n_locals; i++)
		if (!memcmp(f->locals[i], addr->ip, 16))
			return -EINVAL;
	return ntm_relay_table_bind(&f->table, path_id, end, addr, seq);
}

static int op_del(struct ntm_relay_dp *dp, uint64_t path_id)
{
	return ntm_relay_table_del(&fake(dp)->table, path_id);
}

static void op_foreach(struct ntm_relay_dp *dp, void (*fn)(void *arg, const struct ntm_relay_dp_path *p), void *arg)
{
	ntm_relay_table_foreach(&fake(dp)->table, fn, arg);
}

static size_t op_count(struct ntm_relay_dp *dp)
{
	return fake(dp)->table.count;
}

static size_t op_max(struct ntm_relay_dp *dp)
{
	return fake(dp)->table.max;
}

static unsigned op_expire(struct ntm_relay_dp *dp)
{
	return ntm_relay_table_expire(&fake(dp)->table, fake(dp)->idle_s);
}

static int op_counters(struct ntm_relay_dp *dp, struct ntm_counter *out)
{
	(void)dp;
	memset(out, 0, NTM_RR_COUNT * sizeof(*out));
	return 0;
}

static int op_set_next(struct ntm_relay_dp *dp, int prog_fd)
{
	(void)dp;
	(void)prog_fd;
	return 0;
}

static void op_close(struct ntm_relay_dp *dp, bool keep)
{
	struct fake *f = fake(dp);
	(void)keep;
	ntm_relay_table_clear(&f->table);
	free(f->table.paths);
	free(f->table.accounts);
	free(f->table.agents);
	free(f);
}

static const struct ntm_relay_dp_ops ops = {
    .adopted = op_adopted,
    .set_uplinks = op_set_uplinks,
    .set_locals = op_set_locals,
    .routes_changed = op_routes_changed,
    .set_draining = op_set_draining,
    .add = op_add,
    .get = op_get,
    .bind = op_bind,
    .del = op_del,
    .foreach = op_foreach,
    .count = op_count,
    .max = op_max,
    .expire = op_expire,
    .counters = op_counters,
    .set_next = op_set_next,
    .close = op_close,
};

int ntm_relay_dp_fake_open(struct ntm_relay_dp **out, const struct ntm_relay_dp_config *c, char *why, size_t cap)
{
	uint32_t max = c->max_paths ? c->max_paths : NTM_RELAY_PATHS_DEFAULT;
	uint32_t slots = NTM_RELAY_SLOTS(max);
	struct fake *f = calloc(1, sizeof(*f));
	struct ntm_relay_path *paths = calloc(slots, sizeof(*paths));
	struct ntm_relay_account *accounts = calloc(slots, sizeof(*accounts));
	struct ntm_relay_agent *agents = calloc(slots, sizeof(*agents));
	if (!f || !paths || !accounts || !agents) {
		free(f);
		free(paths);
		free(accounts);
		free(agents);
		snprintf(why, cap, "no memory for %u relay paths", max);
		return -ENOMEM;
	}
	f->dp.ops = &ops;
	f->idle_s = c->idle_s ? c->idle_s : NTM_RELAY_IDLE_S;
	ntm_relay_table_init(&f->table, paths, accounts, agents, slots, max);
	*out = &f->dp;
	return 0;
}
