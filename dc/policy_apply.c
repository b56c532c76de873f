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

enum { TEXT_MAX = 262144 }; /* of a policy that several processes share */

/* A path carries packets both ways: one end that may ask for it is enough to keep it. */
bool ntm_dc_pair_allowed(const struct ntm_dc *dc, const char *a, const char *b)
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
	return ntm_dc_pair_allowed(dc, names[0], names[1]);
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

int ntm_dc_policy_recheck(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	struct stored s = {.dc = dc};
	struct ntm_node_record rec;
	int err;

	if (!dc->policy)
		return 0;
	/* collected first: an engine may have one query under way at a time */
	err = dc->store->ops->each_path(dc->store, node->rec.id, false, collect, &s);
	for (size_t i = 0; !err && i < s.n; i++) {
		err = dc->store->ops->node_by_key(dc->store, s.items[i].key, &rec);
		if (err || rec.revoked_s || ntm_dc_pair_allowed(dc, node->rec.label, rec.label))
			continue;
		ntm_dc_send_release(dc, node, s.items[i].id);
		ntm_dc_release_at_relays(dc, s.items[i].id);
	}
	free(s.items);
	if (err)
		ntm_warn_limited("%s may keep paths that are no longer allowed, until the store can be asked",
				 node->rec.label);
	return err;
}

/* Paths that this process directed are known here; older ones are only in the store, by node. */
static void release_denied(struct ntm_dc *dc)
{
	struct ntm_dc_path *p, *next;
	struct ntm_dc_node *n, *after;

	ntm_dc_write_all(dc);
	for (p = TAILQ_FIRST(&dc->paths.all); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!path_allowed(dc, p))
			end_path(dc, p);
	}
	for (n = TAILQ_FIRST(&dc->nodes.online); n; n = after) {
		after = TAILQ_NEXT(n, online_link);
		if (ntm_dc_policy_recheck(dc, n))
			n->unchecked = dc->unchecked = true;
	}
}

static void put_in_force(struct ntm_dc *dc, struct ntm_dc_policy *p, const char *name)
{
	ntm_dc_policy_free(dc->policy);
	dc->policy = p;
	if (p) {
		ntm_info("policy %s: %zu rules", name, ntm_dc_policy_rules(p));
		release_denied(dc);
	}
}

/* The text in the store, "" if there is none. NULL: it can't be had. */
static char *stored_text(struct ntm_dc *dc)
{
	char *text = calloc(1, TEXT_MAX);
	int err = text ? dc->store->ops->setting(dc->store, NTM_DC_POLICY_SETTING, "", false, text, TEXT_MAX) : 0;

	if (!err || err == -EEXIST)
		return text;
	free(text);
	return NULL;
}

static char *file_text(const char *file, char *err, size_t cap)
{
	char *text = calloc(1, TEXT_MAX);
	FILE *f = text && file ? fopen(file, "re") : NULL;

	if (text && !file)
		return text;
	/* the parser has read it a moment ago; what is longer cannot be kept */
	if (f && fread(text, 1, TEXT_MAX, f) < TEXT_MAX && !ferror(f)) {
		fclose(f);
		return text;
	}
	snprintf(err, cap, "%s: cannot be read, or longer than %d bytes", file ? file : "policy", TEXT_MAX - 1);
	if (f)
		fclose(f);
	free(text);
	return NULL;
}

int ntm_dc_policy_from_store(struct ntm_dc *dc)
{
	char *text = stored_text(dc), err[256] = "the store failed";
	struct ntm_dc_policy *p = NULL;
	int rc = text ? 0 : -EIO;

	if (!text || (*text && ntm_dc_policy_parse(text, "of another process", &p, err, sizeof(err))))
		ntm_err("%s: the policy stays as it was", err);
	else
		put_in_force(dc, p, "of another process");
	free(text);
	return rc;
}

/* The policy becomes that of all processes; or, at the start of one beside others, theirs becomes its own. */
static int share(struct ntm_dc *dc, const char *file, bool *theirs, char *err, size_t cap)
{
	char *mine = file_text(file, err, cap), *stored = NULL;
	int rc = mine ? 0 : -EINVAL;

	*theirs = false;
	if (!rc && !dc->running && ntm_dc_cluster_joined(dc)) {
		stored = stored_text(dc);
		*theirs = stored && strcmp(stored, mine);
		if (*theirs)
			ntm_warn("the policy in force is not what policy says here: a reload makes it so");
		rc = stored ? 0 : -EIO;
	} else if (!rc) {
		rc = dc->store->ops->setting(dc->store, NTM_DC_POLICY_SETTING, mine, true, NULL, 0);
	}
	if (rc == -EIO)
		snprintf(err, cap, "policy: the store failed");
	free(stored);
	free(mine);
	return rc;
}

int ntm_dc_policy_set(struct ntm_dc *dc, const char *file, char *err, size_t cap)
{
	struct ntm_dc_policy *p = NULL;
	bool theirs = false;
	int rc = file ? ntm_dc_policy_load(file, &p, err, cap) : 0;

	if (!rc && dc->cluster)
		rc = share(dc, file, &theirs, err, cap);
	if (rc || theirs) {
		ntm_dc_policy_free(p);
		if (!rc && ntm_dc_policy_from_store(dc)) {
			rc = -EIO;
			snprintf(err, cap, "policy: the store failed");
		}
		return rc;
	}
	put_in_force(dc, p, file);
	return 0;
}
