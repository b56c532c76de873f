/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy at work: taken over, and the paths released that it no longer allows. The stored row of such a path stays,
 * so that an end which is away hears of it when it comes back.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/log.h"
#include "dc.h"

/* A path carries packets both ways: one end that may ask for it is enough to keep it. */
static bool allowed(const struct ntm_dc *dc, const char *a, const char *b)
{
	return ntm_dc_policy_allows(dc->policy, a, b, NULL) || ntm_dc_policy_allows(dc->policy, b, a, NULL);
}

/* Nodes of other zones have their whole names in a policy. */
static bool path_allowed(const struct ntm_dc *dc, const struct ntm_dc_path *p)
{
	char names[2][NTM_NAME_MAX + 1];

	for (int i = 0; i < 2; i++) {
		if (!p->ends[i]->peer)
			snprintf(names[i], sizeof(names[i]), "%s", p->ends[i]->rec.label);
		else if (ntm_dc_node_fqdn(dc, p->ends[i], names[i], sizeof(names[i])))
			return false;
	}
	return allowed(dc, names[0], names[1]);
}

static void end_path(struct ntm_dc *dc, struct ntm_dc_path *p)
{
	ntm_info("path %016" PRIx64 " between %s and %s is no longer allowed", p->id, p->ends[0]->rec.label,
		 p->ends[1]->rec.label);
	ntm_dc_audit(dc, "policy", "path_release", p->ends[0]->rec.label, p->ends[1]->rec.label);
	ntm_dc_outbox_forget(&dc->outbox, p->ends[0], p->ends[1]);
	for (int i = 0; i < 2; i++) {
		if (p->ends[i]->online)
			ntm_dc_send_release(dc, p->ends[i], p->id);
	}
	ntm_dc_peer_release(dc, p);
	ntm_dc_relay_release(dc, p);
	ntm_dc_path_remove(&dc->paths, p);
}

struct stored {
	struct ntm_dc *dc;
	struct {
		uint64_t id;
		uint8_t key[NTM_DH_LEN];
	} * items;
	size_t n;
};

static int collect(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	struct stored *s = arg;
	void *more = realloc(s->items, (s->n + 1) * sizeof(*s->items));

	if (!more)
		return -ENOMEM;
	s->items = more;
	s->items[s->n].id = path_id;
	memcpy(s->items[s->n++].key, peer_key, NTM_DH_LEN);
	return 0;
}

void ntm_dc_policy_recheck(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct stored s = {.dc = dc};
	struct ntm_node_record rec;
	int err;

	if (!dc->policy)
		return;
	/* collected first: an engine may have one query under way at a time */
	err = dc->store->ops->each_path(dc->store, node->rec.id, false, collect, &s);
	for (size_t i = 0; !err && i < s.n; i++) {
		err = dc->store->ops->node_by_key(dc->store, s.items[i].key, &rec);
		if (err || rec.revoked_s || allowed(dc, node->rec.label, rec.label))
			continue;
		ntm_dc_send_release(dc, node, s.items[i].id);
		ntm_dc_release_at_relays(dc, s.items[i].id);
	}
	free(s.items);
	if (err)
		ntm_warn_limited("%s may keep paths that are no longer allowed: %s", node->rec.label, strerror(-err));
}

/* Paths that this process directed are known here; older ones are only in the store, by node. */
static void release_denied(struct ntm_dc *dc)
{
	struct ntm_dc_path *p, *next;
	struct ntm_dc_node *n, *after;

	ntm_dc_write_behind(dc, true);
	for (p = TAILQ_FIRST(&dc->paths.all); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!path_allowed(dc, p))
			end_path(dc, p);
	}
	for (n = TAILQ_FIRST(&dc->nodes.online); n; n = after) {
		after = TAILQ_NEXT(n, online_link);
		ntm_dc_policy_recheck(dc, n);
	}
}

int ntm_dc_policy_set(struct ntm_dc *dc, const char *file, char *err, size_t cap)
{
	struct ntm_dc_policy *p = NULL;
	int rc = file ? ntm_dc_policy_load(file, &p, err, cap) : 0;

	if (rc)
		return rc;
	ntm_dc_policy_free(dc->policy);
	dc->policy = p;
	if (p) {
		ntm_info("policy %s: %zu rules", file, ntm_dc_policy_rules(p));
		release_denied(dc);
	}
	return 0;
}
