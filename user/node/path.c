/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a path: from a Route Direction, or from what an earlier agent left, to its end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "node.h"
#include "state.h"

enum {
	NAMES_SLACK = 4096, /* names of paths that are gone, until the list is rewritten */
	TWINS_MS = 500,     /* paths made so close together may have been asked for by both ends */
};

static bool fqdn_of(const struct ntm_node *n, const char *name, char out[NTM_NAME_MAX + 1])
{
	int len = strchr(name, '.') || !n->id.zone[0] ? snprintf(out, NTM_NAME_MAX + 1, "%s", name)
						      : snprintf(out, NTM_NAME_MAX + 1, "%s.%s", name, n->id.zone);

	return len > 0 && len <= NTM_NAME_MAX;
}

static int make(struct ntm_node *n, const struct ntm_sig *m, const char *name, struct ntm_tunnel **out)
{
	bool gateway = ntm_sig_has(m, NTM_F_GATEWAY) && m->gateway;
	struct ntm_dp_path p = {.path_id = m->path_id,
				.inner_mtu = NTM_INNER_MTU_BASE,
				.gateway = gateway && !n->is_gateway,
				.client = gateway && n->is_gateway};
	struct ntm_path_agent *rec;
	struct ntm_tunnel *t;
	int err;

	memcpy(p.peer_vip4, m->vip4, 4);
	memcpy(p.peer_vip6, m->vip6, 16);
	err = n->dp->ops->add_path(n->dp, &p);
	if (err)
		return err;
	rec = n->dp->ops->agent_record(n->dp, p.path_id);
	t = rec ? ntm_tunnel_new(n, &p, name, m->public_key, (enum ntm_role)m->role) : NULL;
	if (!t) {
		n->dp->ops->del_path(n->dp, p.path_id);
		return -ENOMEM;
	}
	memset(rec, 0, sizeof(*rec));
	memcpy(rec->peer_key, m->public_key, NTM_DH_LEN);
	memcpy(rec->psk, m->psk, NTM_PSK_LEN);
	rec->role = m->role;
	t->gateway = gateway;
	ntm_check_candidates(t, m);
	*out = t;
	return 0;
}

/* A resent Route Direction, or one that both ends asked for: the same path. */
static bool same_path(struct ntm_node *n, const struct ntm_tunnel *t, const struct ntm_sig *m)
{
	const struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);

	return rec && t->role == m->role && ntm_equal(rec->psk, m->psk, NTM_PSK_LEN) &&
	       ntm_equal(t->peer_key, m->public_key, NTM_DH_LEN) && !memcmp(t->vip6, m->vip6, 16) &&
	       !memcmp(t->vip4, m->vip4, 4);
}

int ntm_path_directed(struct ntm_node *n, const struct ntm_sig *m, struct ntm_tunnel **out)
{
	const uint32_t need = 1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_PSK |
			      1u << NTM_F_VIP4 | 1u << NTM_F_VIP6;
	char name[NTM_NAME_MAX + 1] = "";
	struct ntm_tunnel *t;
	uint8_t v4[16];
	int err;

	if ((m->have & need) != need || !m->path_id || (m->role != NTM_ROLE_INITIATOR && m->role != NTM_ROLE_RESPONDER))
		return -EBADMSG;
	ntm_ip_from_v4(v4, m->vip4);
	err = ntm_node_peer_zones(n, m, false);
	if (err)
		return err;
	if (!ntm_node_is_virtual(n, v4) || ntm_ip_is_v4(m->vip6) || !ntm_node_is_virtual(n, m->vip6) ||
	    !memcmp(m->vip4, n->id.addrs.vip4, 4) || !memcmp(m->vip6, n->id.addrs.vip6, 16) ||
	    ntm_equal(m->public_key, n->pub, NTM_DH_LEN))
		return -EBADMSG;
	if (ntm_sig_has(m, NTM_F_NAME) && !fqdn_of(n, m->name, name))
		return -EBADMSG;

	t = ntm_tunnel_by_id(n, m->path_id);
	if (t && same_path(n, t, m)) {
		ntm_path_claim(t, m);
		ntm_check_candidates(t, m);
		if (ntm_sig_has(m, NTM_F_RELAY))
			ntm_bind_set(t, &m->relay);
		*out = t;
		return 0;
	}
	if (t)
		ntm_path_end(t, NTM_PATH_END_QUIET, "replaced by the DC");
	err = make(n, m, name, &t);
	if (err) {
		ntm_warn("path to %s not made: %s", name, strerror(-err));
		return err;
	}
	ntm_debug("path %016" PRIx64 " to %s: %s, %u candidates, relay %s", t->id, name,
		  t->role == NTM_ROLE_INITIATOR ? "initiator" : "responder", t->checks.n_pairs,
		  ntm_sig_has(m, NTM_F_RELAY) ? m->relay.name : "none");
	ntm_path_claim(t, m);
	ntm_live_start(t);
	if (ntm_sig_has(m, NTM_F_RELAY))
		ntm_bind_set(t, &m->relay);
	if (t->role == NTM_ROLE_INITIATOR) {
		err = ntm_hs_start(t);
		if (err) {
			ntm_path_end(t, NTM_PATH_END_TELL_DC, "no handshake");
			return err;
		}
	} else {
		ntm_hs_early(n, t->id);
		/* Its request may have been there, and the path may have failed to come up. */
		t = ntm_tunnel_by_id(n, m->path_id);
		if (!t)
			return -EIO;
		if (!t->has_keys)
			ntm_hs_punch(t);
	}
	*out = t;
	return 0;
}

static bool keep_name(void *arg, uint64_t path_id)
{
	return ntm_tunnel_by_id(arg, path_id) != NULL;
}

static void remember_name(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	int err;

	if (!n->state)
		return;
	err = ntm_state_add_peer(n->state, t->id, t->name);
	if (!err && ntm_state_peers(n->state) > 2 * n->tunnels.n + NAMES_SLACK)
		err = ntm_state_compact(n->state, keep_name, n);
	if (err)
		ntm_warn("name of a peer not remembered: %s", strerror(-err));
}

static void send_held(void *arg, const uint8_t *packet, size_t len)
{
	ntm_path_send(arg, packet, len, false);
}

json_object *ntm_path_event(struct ntm_tunnel *t, const char *what)
{
	json_object *ev = ntm_node_event(t->node, what);
	char text[NTM_ADDR_STRLEN], id[17];

	if (!ev)
		return NULL;
	snprintf(id, sizeof(id), "%016" PRIx64, t->id);
	json_object_object_add(ev, "peer", json_object_new_string(ntm_tunnel_label(t, text)));
	json_object_object_add(ev, "path_id", json_object_new_string(id));
	return ev;
}

static void make_old(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;

	ntm_hs_cancel(t);
	ntm_pmtu_stop(t);
	ntm_check_stop(t);
	ntm_timer_stop(&n->timers, &t->live_timer);
	t->state = NTM_TUN_OLD;
	t->old_since_ms = ntm_timers_ms(&n->timers);
	ntm_live_start(t);
}

/*
 * Both ends asked at once, and got a path each: both must keep the same one, or each would release the one that the
 * other kept. NULL: t is the one.
 */
static struct ntm_tunnel *twin(struct ntm_tunnel *t)
{
	for (struct ntm_tunnel *o = ntm_tunnel_peer_first(t->node, t->vip6); o; o = ntm_tunnel_peer_next(o)) {
		uint64_t apart =
		    o->created_ms > t->created_ms ? o->created_ms - t->created_ms : t->created_ms - o->created_ms;

		/* Of the same role it is a peer that has forgotten the former one. */
		if (o != t && o->state == NTM_TUN_UP && !o->redirected && o->role != t->role && apart < TWINS_MS &&
		    o->id > t->id)
			return o;
	}
	return NULL;
}

/* Paths to the same peer that this one supersedes; or it is superseded itself. */
static void supersede(struct ntm_tunnel *t)
{
	struct ntm_tunnel *better = twin(t);
	int err;

	for (struct ntm_tunnel *o = ntm_tunnel_peer_first(t->node, t->vip6); o; o = ntm_tunnel_peer_next(o))
		if (o != t && o != better && o->state != NTM_TUN_OLD && o->state != NTM_TUN_NEW)
			make_old(o);
	/* General destinations go one way. */
	for (struct ntm_tunnel *o = t->node->tunnels.all; o && t->gateway && !t->node->is_gateway; o = o->next_all)
		if (o != t && o->gateway && (o->state == NTM_TUN_UP || o->state == NTM_TUN_SILENT))
			make_old(o);
	if (!better)
		return;
	err = t->node->dp->ops->activate(t->node->dp, better->id);
	if (err)
		ntm_err("path %016" PRIx64 " not activated: %s", better->id, strerror(-err));
	else
		make_old(t);
}

static void up(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	char text[NTM_ADDR_STRLEN], ep[NTM_ADDR_STRLEN] = "?";
	struct ntm_dp_stats s = {0};
	uint64_t ms = ntm_timers_ms(&n->timers) - t->created_ms;
	uint8_t v4[16];
	json_object *ev;
	int err = n->dp->ops->activate(n->dp, t->id);

	if (err) {
		ntm_err("path to %s not activated: %s", ntm_tunnel_label(t, text), strerror(-err));
		ntm_path_end(t, NTM_PATH_END_TELL_DC, "not activated");
		return;
	}
	t->state = NTM_TUN_UP;
	n->dp->ops->stats(n->dp, t->id, &s);
	ntm_route_note(t, &s.endpoint);
	t->route.since_ms = ntm_timers_ms(&n->timers);
	ntm_info("path to %s up: %s, %s, %" PRIu64 " ms", ntm_tunnel_label(t, text), ntm_route_kind_name(t->route.kind),
		 ntm_addr_format(&s.endpoint, ep), ms);
	ntm_live_start(t);
	supersede(t);
	remember_name(t);
	ntm_ip_from_v4(v4, t->vip4);
	ntm_hold_take(&n->hold, v4, send_held, t);
	ntm_hold_take(&n->hold, t->vip6, send_held, t);
	ev = ntm_path_event(t, "path_up");
	if (ev) {
		json_object_object_add(ev, "route", json_object_new_string(ntm_route_name(t)));
		json_object_object_add(ev, "endpoint", json_object_new_string(ep));
		json_object_object_add(ev, "ms", json_object_new_int64((int64_t)ms));
		ntm_node_emit(n, ev);
	}
	if (t->state == NTM_TUN_UP) {
		ntm_pmtu_start(t);
		ntm_check_later(t);
		ntm_check_trickle(t);
	}
	ntm_gwclient_changed(n);
	ntm_direction_path_up(n, t);
}

static bool another_is_up(struct ntm_tunnel *t)
{
	for (struct ntm_tunnel *o = ntm_tunnel_peer_first(t->node, t->vip6); o; o = ntm_tunnel_peer_next(o))
		if (o != t && o->state == NTM_TUN_UP)
			return true;
	return false;
}

void ntm_path_keyed(struct ntm_tunnel *t)
{
	if (t->role == NTM_ROLE_INITIATOR || !another_is_up(t))
		up(t);
}

void ntm_path_used(struct ntm_tunnel *t)
{
	if (t->state == NTM_TUN_NEW && t->has_keys)
		up(t);
}

void ntm_path_end(struct ntm_tunnel *t, unsigned tell, const char *reason)
{
	struct ntm_node *n = t->node;
	char text[NTM_ADDR_STRLEN];
	bool was_up = t->state == NTM_TUN_UP || t->state == NTM_TUN_SILENT;
	struct ntm_tunnel *other;
	struct ntm_sig m;
	uint8_t vip6[16];
	json_object *ev;
	int err;

	if (t->state == NTM_TUN_OLD)
		ntm_debug("path %016" PRIx64 " to %s gone: %s", t->id, ntm_tunnel_label(t, text), reason);
	else
		ntm_info("path to %s down: %s", ntm_tunnel_label(t, text), reason);
	if ((tell & NTM_PATH_END_TELL_PEER) && t->has_keys)
		ntm_ctl_release(t);
	if (tell & NTM_PATH_END_TELL_DC) {
		ntm_sig_init(&m, NTM_M_RELEASE, 0);
		m.path_id = t->id;
		m.have = 1u << NTM_F_PATH_ID;
		ntm_dc_send(&n->dc, &m);
	}
	ev = ntm_path_event(t, "path_down");
	if (ev) {
		json_object_object_add(ev, "reason", json_object_new_string(reason));
		ntm_node_emit(n, ev);
	}
	ntm_direction_path_failed(n, t, -ETIMEDOUT);
	err = n->dp->ops->del_path(n->dp, t->id);
	if (err)
		ntm_err("path %016" PRIx64 " not removed: %s", t->id, strerror(-err));
	memcpy(vip6, t->vip6, 16);
	ntm_tunnel_forget(t);

	/* Each end may have superseded another one of two paths: traffic goes on over the one that is left. */
	other = was_up ? ntm_tunnel_by_vip(n, vip6) : NULL;
	if (other && other->state != NTM_TUN_NEW) {
		if (other->state == NTM_TUN_OLD)
			other->state = NTM_TUN_UP;
		err = n->dp->ops->activate(n->dp, other->id);
		if (err)
			ntm_err("path to %s not activated: %s", ntm_tunnel_label(other, text), strerror(-err));
	}
	ntm_gwclient_changed(n);
}

uint16_t ntm_path_own_mtu(const struct ntm_tunnel *t)
{
	struct ntm_dp_stats s;

	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return ntm_node_uplink_mtu(t->node, false);
	return ntm_node_uplink_mtu(t->node, !ntm_ip_is_v4(s.endpoint.ip));
}

int ntm_path_send(struct ntm_tunnel *t, const uint8_t *inner, size_t len, bool fragment)
{
	uint8_t out[NTM_CONTROL_MAX];
	struct ntm_node *n = t->node;
	struct ntm_addr to;
	uint8_t src[16];
	size_t out_len;
	int err = n->dp->ops->seal(n->dp, t->id, inner, len, out, sizeof(out), &out_len);

	if (!err)
		err = n->dp->ops->endpoint(n->dp, t->id, &to);
	if (!err && !to.port)
		err = -EDESTADDRREQ;
	if (!err)
		err = n->net.send(n->net.arg, &to, ntm_node_source(n, &to, src), out, out_len,
				  fragment ? NTM_SEND_FRAGMENT : NTM_SEND_NORMAL);
	if (err)
		ntm_debug("packet not sent on path %016" PRIx64 ": %s", t->id, strerror(-err));
	return err;
}

void ntm_path_moved(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN], ep[NTM_ADDR_STRLEN];
	enum ntm_route_kind from = t->route.kind;
	struct ntm_dp_stats s;
	json_object *ev;

	/* Each lane reports for itself, and the agent moves endpoints, too: what a report says may be over. */
	if (t->node->dp->ops->stats(t->node->dp, t->id, &s) || !s.endpoint.port)
		return;
	ev = ntm_path_event(t, "roamed");
	ntm_info("path to %s: the peer is now at %s", ntm_tunnel_label(t, text), ntm_addr_format(&s.endpoint, ep));
	if (ev) {
		json_object_object_add(ev, "endpoint", json_object_new_string(ep));
		ntm_node_emit(t->node, ev);
	}
	ntm_route_moved(t, &s.endpoint, "the peer moved");
	if (t->route.kind == from || (t->state != NTM_TUN_UP && t->state != NTM_TUN_SILENT))
		return;
	if (t->route.kind == NTM_ROUTE_RELAY)
		/* What it sends to us directly may not come through: it follows this. */
		ntm_path_send(t, NULL, 0, false);
	else
		ntm_check_followed(t, &s.endpoint);
}

struct adoption {
	struct ntm_dp_path *paths;
	size_t n, cap;
	bool failed;
};

static void collect(void *arg, const struct ntm_dp_path *p)
{
	struct adoption *a = arg;

	if (a->n == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 64;
		void *grown = realloc(a->paths, cap * sizeof(*p));

		if (!grown) {
			a->failed = true;
			return;
		}
		a->paths = grown;
		a->cap = cap;
	}
	a->paths[a->n++] = *p;
}

static bool adopt(struct ntm_node *n, const struct ntm_dp_path *p)
{
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, p->path_id);
	struct ntm_tunnel *t;
	struct ntm_dp_stats s;

	/* Without keys it was in the middle of its first handshake. */
	if (!rec || !rec->epoch_ns || (rec->role != NTM_ROLE_INITIATOR && rec->role != NTM_ROLE_RESPONDER) ||
	    n->dp->ops->stats(n->dp, p->path_id, &s)) {
		n->dp->ops->del_path(n->dp, p->path_id);
		return false;
	}
	t = ntm_tunnel_new(n, p, "", rec->peer_key, (enum ntm_role)rec->role);
	if (!t) {
		ntm_err("path %016" PRIx64 " not adopted: out of memory", p->path_id);
		return false;
	}
	t->has_keys = t->confirmed = true;
	t->epoch = s.tx_epoch;
	t->state = NTM_TUN_UP;
	if (n->state)
		ntm_tunnel_set_name(t, ntm_state_peer_name(n->state, t->id));
	t->gateway = p->gateway || p->client;
	ntm_bind_set(t, NULL);
	ntm_route_note(t, &s.endpoint);
	t->route.since_ms = ntm_timers_ms(&n->timers);
	ntm_live_start(t);
	ntm_check_later(t);
	t->adopted = true;
	ntm_pmtu_adopt(t, p->inner_mtu);
	return true;
}

void ntm_path_adopt_all(struct ntm_node *n)
{
	struct adoption a = {0};
	unsigned kept = 0;

	n->dp->ops->foreach(n->dp, collect, &a);
	if (a.failed)
		ntm_err("not all paths adopted: out of memory");
	for (size_t i = 0; i < a.n; i++)
		kept += adopt(n, &a.paths[i]);
	if (a.n)
		ntm_info("adopted %u paths, removed %zu without keys", kept, a.n - kept);
	free(a.paths);
}
