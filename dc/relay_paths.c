/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a relay is told of paths: Relay Direction when one begins, Release when it is over. Both ends hear of a path at
 * the same time as its relay; should that refuse or not answer, they are told of another one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "../user/common/relay_crypto.h"
#include "dc.h"

enum {
	RETIRED_MAX = 65536,
	RETIRED_MS = 60000, /* the ends have gone over to the new path by then, or ask for another */
};

/* A path that was replaced: it carries packets until its successor is up. */
struct ntm_dc_retired {
	uint64_t path_id, due_ms;
	uint32_t relay_id;
	TAILQ_ENTRY(ntm_dc_retired) link;
};

struct ntm_dc_relay *ntm_dc_path_relay(const struct ntm_dc *dc, const struct ntm_dc_path *p)
{
	return p->gateway ? NULL : ntm_dc_relay_by_id(&dc->relays, p->relay_id);
}

int ntm_dc_relay_take(struct ntm_dc *dc, struct ntm_dc_path *p, struct ntm_dc_relay *r)
{
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_RELAY_DIRECTION, 0);
	m.path_id = p->id;
	m.have = 1u << NTM_F_PATH_ID | 1u << NTM_F_RELAY_SECRET;
	err = ntm_relay_secret(p->psk, m.relay_secret);
	if (!err)
		err = ntm_dc_outbox_add(&dc->outbox, r->node, p->ends[0], &m);
	if (!err) {
		p->relay_id = r->id;
		p->relay_txid = m.txid;
		r->directed++;
		dc->counters.relay_directions++;
		ntm_debug("path %016" PRIx64 ": by relay %s", p->id, r->info.name);
	}
	ntm_wipe(m.relay_secret, sizeof(m.relay_secret));
	return err;
}

/* No relay of ours will do: the one that the other end's DC has for it, and will tell when it is directed itself. */
static void take_other_zones(struct ntm_dc_path *p)
{
	const struct ntm_relay_info *offered;

	for (int i = 0; i < 2; i++) {
		offered = ntm_dc_foreign_relay(p->ends[i]);
		if (!offered || !ntm_dc_relay_shares_family(p->ends[!i], offered))
			continue;
		p->peer_relay = malloc(sizeof(*p->peer_relay));
		if (p->peer_relay)
			*p->peer_relay = *offered;
		else
			ntm_warn_limited("path %016" PRIx64 " gets no relay: out of memory", p->id);
		return;
	}
}

void ntm_dc_relay_direct(struct ntm_dc *dc, struct ntm_dc_path *p, const struct ntm_dc_relay *suspect)
{
	const struct ntm_dc_relay_wish wish = {
	    .ends = {p->ends[0], p->ends[1]},
	    .refused = p->refused,
	    .suspect = suspect,
	};
	struct ntm_dc_relay *r = ntm_dc_relay_choose(&dc->relays, &wish);
	int err;

	p->relay_id = 0;
	free(p->peer_relay);
	p->peer_relay = NULL;
	if (!r) {
		take_other_zones(p);
		return;
	}
	err = ntm_dc_relay_take(dc, p, r);
	if (err)
		ntm_warn_limited("path %016" PRIx64 " gets no relay: %s", p->id, strerror(-err));
}

void ntm_dc_relay_failed(struct ntm_dc *dc, struct ntm_dc_node *node, uint64_t path_id, const char *why)
{
	struct ntm_dc_path *p = ntm_dc_path_by_id(&dc->paths, path_id);
	struct ntm_dc_relay *r = node->relay, *other;

	dc->counters.relay_refusals++;
	if (r)
		r->lost_ms = ntm_dc_now(dc);
	ntm_warn_limited("relay %s takes no path: %s", node->rec.label, why);
	if (!r || !p || !p->fresh || ntm_dc_path_relay(dc, p) != r)
		return;
	p->refused |= r->bit;
	ntm_dc_relay_direct(dc, p, NULL);
	other = ntm_dc_path_relay(dc, p);
	ntm_info("path %016" PRIx64 ": by relay %s now", p->id, other ? other->info.name : "none");
	ntm_dc_direct_again(dc, p);
}

void ntm_dc_relay_release(struct ntm_dc *dc, const struct ntm_dc_path *p)
{
	struct ntm_dc_relay *r = ntm_dc_path_relay(dc, p);

	if (!r || !r->node)
		return;
	/* a copy of the direction must not arrive behind the release */
	ntm_dc_outbox_ack(&dc->outbox, r->node, p->relay_txid, NULL);
	if (r->node->online)
		ntm_dc_send_release(dc, r->node, p->id);
}

static void release_retired(struct ntm_dc *dc, struct ntm_dc_retired *e)
{
	struct ntm_dc_relay *r = ntm_dc_relay_by_id(&dc->relays, e->relay_id);

	if (r && r->node && r->node->online)
		ntm_dc_send_release(dc, r->node, e->path_id);
	TAILQ_REMOVE(&dc->retired, e, link);
	dc->n_retired--;
	free(e);
}

void ntm_dc_relay_retire(struct ntm_dc *dc, uint64_t path_id, uint32_t relay_id)
{
	struct ntm_dc_retired *e = calloc(1, sizeof(*e));

	if (!e) {
		ntm_warn_limited("a relay keeps path %016" PRIx64 " until it is idle: out of memory", path_id);
		return;
	}
	if (dc->n_retired >= RETIRED_MAX)
		release_retired(dc, TAILQ_FIRST(&dc->retired));
	e->path_id = path_id;
	e->relay_id = relay_id;
	e->due_ms = ntm_dc_now(dc) + RETIRED_MS;
	TAILQ_INSERT_TAIL(&dc->retired, e, link);
	dc->n_retired++;
}

void ntm_dc_retired_expire(struct ntm_dc *dc, uint64_t now_ms)
{
	struct ntm_dc_retired *e;

	while ((e = TAILQ_FIRST(&dc->retired)) && e->due_ms <= now_ms)
		release_retired(dc, e);
}

void ntm_dc_retired_free(struct ntm_dc *dc)
{
	struct ntm_dc_retired *e;

	while ((e = TAILQ_FIRST(&dc->retired))) {
		TAILQ_REMOVE(&dc->retired, e, link);
		free(e);
	}
}
