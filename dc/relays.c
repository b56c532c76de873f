/* SPDX-License-Identifier: BSD-2-Clause */
#include "relays.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "../user/common/relay_crypto.h"
#include "clock.h"
#include "dc.h"

static const char *const state_names[] = {
    [NTM_DC_RELAY_OFFLINE] = "offline",
    [NTM_DC_RELAY_DRAINING] = "draining: it gets no new paths",
    [NTM_DC_RELAY_READY] = "ready",
};

struct ntm_dc_relay *ntm_dc_relay_by_id(const struct ntm_dc_relays *rs, uint32_t id)
{
	for (unsigned i = 0; id && i < rs->n; i++) {
		if (rs->items[i]->id == id)
			return rs->items[i];
	}
	return NULL;
}

struct ntm_dc_relay *ntm_dc_relay_by_key(const struct ntm_dc_relays *rs, const uint8_t key[NTM_DH_LEN])
{
	for (unsigned i = 0; i < rs->n; i++) {
		if (!memcmp(rs->items[i]->public_key, key, NTM_DH_LEN))
			return rs->items[i];
	}
	return NULL;
}

struct ntm_dc_relay *ntm_dc_relay_may_use(const struct ntm_dc_relays *rs, const uint8_t key[NTM_DH_LEN])
{
	for (unsigned i = 0; i < rs->n; i++) {
		if (ntm_key_list_has(&rs->items[i]->keys, key))
			return rs->items[i];
	}
	return NULL;
}

struct ntm_dc_relay *ntm_dc_relay_by_name(const struct ntm_dc_relays *rs, const char *label)
{
	for (unsigned i = 0; i < rs->n; i++) {
		if (!strcmp(rs->items[i]->info.name, label))
			return rs->items[i];
	}
	return NULL;
}

static void free_relay(struct ntm_dc_relay *r)
{
	if (r->node)
		r->node->relay = NULL;
	ntm_wipe(r, sizeof(*r));
	free(r);
}

void ntm_dc_relays_free(struct ntm_dc_relays *rs)
{
	while (rs->n)
		free_relay(rs->items[--rs->n]);
}

void ntm_dc_relay_update(struct ntm_dc *dc, struct ntm_dc_relay *r)
{
	enum ntm_dc_relay_state now = NTM_DC_RELAY_OFFLINE;

	if (r->node && r->node->online)
		now = r->load.flags & NTM_LOAD_DRAINING ? NTM_DC_RELAY_DRAINING : NTM_DC_RELAY_READY;
	if (now == r->state)
		return;
	r->state = now;
	dc->relays.generation++;
	if (now == NTM_DC_RELAY_OFFLINE)
		dc->counters.relays_lost++;
	ntm_info("relay %s is %s", r->info.name, state_names[now]);
	ntm_dc_event(dc, "relay", NULL, r->info.name, state_names[now]);
}

void ntm_dc_relay_report(struct ntm_dc *dc, struct ntm_dc_relay *r, const struct ntm_load *load)
{
	r->load = *load;
	r->directed = 0;
	ntm_dc_relay_update(dc, r);
}

void ntm_dc_relays_expire(struct ntm_dc *dc)
{
	for (unsigned i = 0; i < dc->relays.n; i++) {
		struct ntm_dc_relay *r = dc->relays.items[i];

		if (r->node && r->node->online && !r->node->at &&
		    ntm_dc_now(dc) - r->node->last_seen_ms >= NTM_DC_RELAY_LIFETIME_S * 1000ULL) {
			ntm_dc_node_offline(&dc->nodes, r->node);
			ntm_dc_dns_moved(dc, &r->node->rec);
			ntm_dc_cluster_changed(dc, r->node);
		}
		ntm_dc_relay_update(dc, r);
	}
}

static struct ntm_relay_info info_of(const struct ntm_dc_remote *conf)
{
	struct ntm_relay_info info = {0};

	memcpy(info.name, conf->name, strlen(conf->name)); /* a label: the configuration's parser saw to it */
	for (size_t i = 0; i < conf->endpoints.n; i++) {
		const struct ntm_addr *a = &conf->endpoints.addrs[i];

		*(ntm_ip_is_v4(a->ip) ? &info.ep4 : &info.ep6) = *a;
	}
	return info;
}

static bool same_info(const struct ntm_relay_info *a, const struct ntm_relay_info *b)
{
	return ntm_addr_equal(&a->ep4, &b->ep4) && ntm_addr_equal(&a->ep6, &b->ep6);
}

static bool configured(const struct ntm_dc_remotes *conf, const char *label, const uint8_t key[NTM_DH_LEN])
{
	for (size_t i = 0; i < conf->n; i++) {
		if (!strcmp(conf->items[i]->name, label) && ntm_key_list_has(&conf->items[i]->keys, key))
			return true;
	}
	return false;
}

struct leftovers {
	const struct ntm_dc_remotes *conf;
	char (*labels)[NTM_LABEL_MAX + 1];
	size_t n;
};

static int collect_leftover(void *arg, const struct ntm_node_record *rec)
{
	struct leftovers *l = arg;
	char(*more)[NTM_LABEL_MAX + 1];

	if (configured(l->conf, rec->label, rec->public_key))
		return 0;
	more = realloc(l->labels, (l->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->labels = more;
	memcpy(l->labels[l->n++], rec->label, sizeof(rec->label));
	return 0;
}

/* Whoever holds the key of a relay that the operator took out must not go on as a node. */
static int revoke_leftovers(struct ntm_dc *dc, const struct ntm_dc_remotes *conf)
{
	struct leftovers l = {conf, NULL, 0};
	int err = dc->store->ops->each_node(dc->store, NTM_STORE_RELAYS, collect_leftover, &l);

	for (size_t i = 0; !err && i < l.n; i++) {
		ntm_info("relay %s with its former key is no longer in the configuration", l.labels[i]);
		err = ntm_dc_revoke(dc, l.labels[i]);
	}
	free(l.labels);
	return err;
}

/* Of its keys the one that it had last, else the first. */
static int key_in_use(struct ntm_dc *dc, const struct ntm_dc_remote *conf, const uint8_t **key)
{
	struct ntm_node_record rec;

	*key = conf->keys.keys[0];
	for (size_t i = 0; i < conf->keys.n; i++) {
		int err = dc->store->ops->node_by_key(dc->store, conf->keys.keys[i], &rec);

		if (err && err != -ENOENT)
			return err;
		if (!err && !rec.revoked_s && !strcmp(rec.label, conf->name)) {
			*key = conf->keys.keys[i];
			return 0;
		}
	}
	return 0;
}

static int let_in(struct ntm_dc *dc, const struct ntm_dc_remote *conf, struct ntm_dc_relay **out)
{
	struct ntm_admission a = {
	    .label = conf->name,
	    .last_index = dc->conf->pool.last,
	    .now_s = ntm_dc_wall_s(),
	};
	struct ntm_dc_relay *r;
	struct ntm_node_record rec;
	const char *why = "";
	int err = key_in_use(dc, conf, &a.public_key);

	if (!err)
		err = dc->store->ops->admit(dc->store, &a, &rec, &why);
	if (err == -EEXIST || err == -ENOSPC) {
		ntm_err("relay %s is left out: %s", conf->name, err == -ENOSPC ? "no virtual address is left" : why);
		return 0;
	}
	if (err)
		return err;
	ntm_dc_dns_changed(dc, &rec);
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = ntm_probe_secret(dc->priv, a.public_key, r->probe_secret);
	if (err) {
		free(r);
		return err;
	}
	memcpy(r->public_key, a.public_key, NTM_DH_LEN);
	r->keys = conf->keys;
	r->info = info_of(conf);
	r->id = ++dc->relays.last_id;
	r->node = ntm_dc_node_by_key(&dc->nodes, a.public_key);
	if (r->node)
		r->node->relay = r;
	*out = r;
	return 0;
}

int ntm_dc_relay_rekey(struct ntm_dc *dc, struct ntm_dc_relay *r, const uint8_t key[NTM_DH_LEN])
{
	uint8_t secret[NTM_KEY_LEN];
	struct ntm_node_record rec;
	int err = ntm_probe_secret(dc->priv, key, secret);

	if (!err)
		err = dc->store->ops->node_by_key(dc->store, r->public_key, &rec);
	if (!err)
		err = dc->store->ops->rekey(dc->store, rec.id, key);
	if (!err) {
		memcpy(r->public_key, key, NTM_DH_LEN);
		memcpy(r->probe_secret, secret, sizeof(secret));
		if (r->node)
			ntm_dc_node_set_key(&dc->nodes, r->node, key);
		dc->relays.generation++; /* nodes probe it by other keys */
	}
	ntm_wipe(secret, sizeof(secret));
	return err;
}

static uint64_t free_bit(const struct ntm_dc_relays *rs)
{
	uint64_t taken = 0;

	for (unsigned i = 0; i < rs->n; i++)
		taken |= rs->items[i]->bit;
	return ~taken & (taken + 1); /* lowest zero; the table has fewer than 64 here */
}

int ntm_dc_relays_apply(struct ntm_dc *dc, const struct ntm_dc_remotes *conf)
{
	struct ntm_dc_relays *rs = &dc->relays, was = *rs;
	/* a process that starts beside others may have a configuration that is older than theirs: a reload is meant */
	int err = dc->running || !ntm_dc_cluster_joined(dc) ? revoke_leftovers(dc, conf) : 0;

	if (err)
		return err;
	rs->n = 0;
	rs->generation++;
	/* those that stay keep their bits: first they, then the new ones get what is free */
	for (size_t i = 0; i < conf->n && rs->n < NTM_DC_RELAYS_MAX; i++) {
		struct ntm_dc_relay *r = ntm_dc_relay_by_name(&was, conf->items[i]->name);
		struct ntm_relay_info info = info_of(conf->items[i]);

		if (r && ntm_key_list_has(&conf->items[i]->keys, r->public_key)) {
			r->keys = conf->items[i]->keys;
			if (!same_info(&r->info, &info))
				ntm_info("relay %s has other endpoints now", info.name);
			r->info = info;
			rs->items[rs->n++] = r;
		}
	}
	for (unsigned i = 0; i < was.n; i++) {
		if (ntm_dc_relay_by_id(rs, was.items[i]->id) != was.items[i])
			free_relay(was.items[i]);
	}
	for (size_t i = 0; !err && i < conf->n && rs->n < NTM_DC_RELAYS_MAX; i++) {
		struct ntm_dc_relay *r = NULL;

		if (ntm_dc_relay_by_name(rs, conf->items[i]->name))
			continue;
		err = let_in(dc, conf->items[i], &r);
		if (!r)
			continue;
		r->bit = free_bit(rs);
		rs->items[rs->n++] = r;
	}
	for (unsigned i = 0; i < rs->n; i++)
		ntm_dc_relay_update(dc, rs->items[i]);
	return err;
}

static int fill_offer(const struct ntm_dc_relay *r, const struct ntm_dc_node *node, struct ntm_relay_offer *o)
{
	int err = ntm_probe_id(r->probe_secret, node->rec.public_key, &o->probe_id);

	if (!err)
		err = ntm_probe_key(r->probe_secret, o->probe_id, o->probe_key);
	o->relay = r->info;
	return err;
}

void ntm_dc_relay_offers(const struct ntm_dc_relays *rs, const struct ntm_dc_node *node, struct ntm_sig *m)
{
	static const enum ntm_dc_relay_state order[] = {NTM_DC_RELAY_READY, NTM_DC_RELAY_DRAINING};

	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < rs->n && m->n_offers < NTM_RELAY_OFFERS_MAX; i++) {
			if (rs->items[i]->state != order[k])
				continue;
			if (fill_offer(rs->items[i], node, &m->offers[m->n_offers]))
				ntm_warn_limited("cannot offer relay %s to %s: no keys", rs->items[i]->info.name,
						 node->rec.label);
			else
				m->n_offers++;
		}
	}
	if (m->n_offers)
		m->have |= 1u << NTM_F_RELAY_OFFER;
}

/* The place of a relay in the node's list; a full list gives up what is of no relay, else its first. */
static struct ntm_dc_rtt *rtt_slot(const struct ntm_dc_relays *rs, struct ntm_dc_node *n, uint32_t id)
{
	for (unsigned i = 0; i < n->n_rtts; i++) {
		if (n->rtts[i].relay_id == id)
			return &n->rtts[i];
	}
	if (n->n_rtts < NTM_DC_RTTS_MAX)
		return &n->rtts[n->n_rtts++];
	for (unsigned i = 0; i < n->n_rtts; i++) {
		const struct ntm_dc_relay *r = ntm_dc_relay_by_id(rs, n->rtts[i].relay_id);

		if (!r || r->state == NTM_DC_RELAY_OFFLINE)
			return &n->rtts[i];
	}
	return &n->rtts[0];
}

void ntm_dc_relay_rtts(const struct ntm_dc_relays *rs, struct ntm_dc_node *node, const struct ntm_relay_rtt *rtts,
		       unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct ntm_dc_relay *r = ntm_dc_relay_by_name(rs, rtts[i].name);

		if (r)
			*rtt_slot(rs, node, r->id) = (struct ntm_dc_rtt){r->id, rtts[i].rtt_us};
	}
}
