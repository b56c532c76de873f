/* SPDX-License-Identifier: BSD-2-Clause */
/* Registration Request and keep-alive: who a node is, which addresses it gets, where it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <ntm/wire.h>

#include "../user/common/crypto.h"
#include "../user/common/keystore.h"
#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

int ntm_dc_label(const struct ntm_dc *dc, const char *name, char label[NTM_LABEL_MAX + 1])
{
	size_t len = strcspn(name, ".");
	char why[96], text[NTM_LABEL_MAX + 1];

	if (name[len] && strcasecmp(name + len + 1, dc->conf->zone))
		return -EXDEV;
	if (!len || len > NTM_LABEL_MAX)
		return -EINVAL;
	memcpy(text, name, len);
	text[len] = 0;
	return ntm_conf_label(text, label, why, sizeof(why));
}

int ntm_dc_fqdn(const struct ntm_dc *dc, const char *label, char *out, size_t cap)
{
	int len = snprintf(out, cap, "%s.%s", label, dc->conf->zone);

	return len < 0 || (size_t)len >= cap || len > NTM_NAME_MAX ? -ENAMETOOLONG : 0;
}

void ntm_dc_seen(struct ntm_dc *dc, struct ntm_dc_session *s)
{
	static struct ntm_log_limit limit;
	struct ntm_dc_node *n = s->node;
	struct ntm_addr via = *ntm_dc_net_bound(dc->net, s->route.sock);
	char addr[NTM_ADDR_STRLEN];

	memcpy(via.ip, s->route.local, sizeof(via.ip));
	if (n->online) {
		ntm_dc_node_seen(&dc->nodes, n, ntm_dc_now(dc));
	} else {
		ntm_log_limited(&limit, NTM_LOG_INFO, "%s is online", n->rec.label);
		ntm_dc_node_seen(&dc->nodes, n, ntm_dc_now(dc));
		ntm_dc_event(dc, "online", NULL, n->rec.label, ntm_addr_format(&s->route.peer, addr));
		ntm_dc_check_paths(dc, n);
		ntm_dc_dns_moved(dc, &n->rec);
		ntm_dc_cluster_changed(dc, n);
	}
	if (ntm_addr_equal(&n->rec.endpoint, &s->route.peer) && ntm_addr_equal(&n->rec.via, &via))
		return;
	n->rec.endpoint = s->route.peer;
	n->rec.via = via;
	ntm_dc_node_mark_dirty(&dc->nodes, n);
	ntm_dc_cluster_changed(dc, n);
	ntm_dc_dns_moved(dc, &n->rec);
}

/* A relay whose key was changed while it was not running: the configuration names both. -ENOENT: it is none. */
static int relay_comes_with_other_key(struct ntm_dc *dc, const struct ntm_dc_session *s, const char *label,
				      struct ntm_node_record *rec)
{
	struct ntm_dc_relay *r = ntm_dc_relay_may_use(&dc->relays, s->keys.peer_key);
	int err = r && !strcmp(r->info.name, label) ? ntm_dc_relay_rekey(dc, r, s->keys.peer_key) : -ENOENT;

	if (!err)
		err = dc->store->ops->node_by_key(dc->store, s->keys.peer_key, rec);
	if (!err) {
		struct ntm_dc_node now = {.rec = *rec};

		ntm_dc_key_changed(dc, &now);
	}
	return err;
}

/* The node of this key in memory, brought there from the store or by a token. NULL: an error was answered. */
static struct ntm_dc_node *admit(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m,
				 const char *label)
{
	struct ntm_dc_node *node = ntm_dc_node_by_key(&dc->nodes, s->keys.peer_key);
	const char *why = "";
	struct ntm_node_record rec;
	bool enrolled = false;
	int err;

	if (node && !strcmp(node->rec.label, label))
		return node;
	err = dc->store->ops->node_by_key(dc->store, s->keys.peer_key, &rec);
	if (err == -ENOENT)
		err = relay_comes_with_other_key(dc, s, label, &rec);
	if (err == -ENOENT) {
		struct ntm_enrolment e = {
		    .label = label,
		    .public_key = s->keys.peer_key,
		    .token = m->token,
		    .last_index = dc->conf->pool.last,
		    .now_s = ntm_dc_wall_s(),
		};

		if (!ntm_sig_has(m, NTM_F_TOKEN)) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_TOKEN, "this key is not known here: token needed");
			return NULL;
		}
		if (ntm_dns_reserved(label)) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_NAME, "%s is the zone's own name", label);
			return NULL;
		}
		err = dc->store->ops->enrol(dc->store, &e, &rec, &why);
		enrolled = !err;
		if (err == -EALREADY)
			err = 0;
	}
	if (!err && rec.revoked_s)
		err = -EKEYREVOKED;
	if (!err && strcmp(rec.label, label)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_NAME, "this key is registered as %s", rec.label);
		return NULL;
	}
	switch (err) {
	case 0:
		break;
	case -EACCES:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_TOKEN, "%s", why);
		return NULL;
	case -EPERM:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_NAME, "%s", why);
		return NULL;
	case -EEXIST:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_NAME_TAKEN, "%s: %s", label, why);
		return NULL;
	case -ENOSPC:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_POOL_EXHAUSTED, "no virtual address is left");
		return NULL;
	case -EKEYREVOKED:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "this key was revoked");
		return NULL;
	default:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "the store failed");
		return NULL;
	}
	/* a relay with another key was here before; or another process was told of a new key */
	node = ntm_dc_node_by_key(&dc->nodes, rec.public_key);
	if (!node)
		node = ntm_dc_node_rekeyed(dc, &rec);
	if (node)
		return node;
	node = ntm_dc_node_add(&dc->nodes, &rec);
	if (!node) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "out of memory");
		return NULL;
	}
	if (enrolled) {
		char key[NTM_KEY_TEXT_LEN + 1], addr[NTM_ADDR_STRLEN];

		ntm_key_to_text(rec.public_key, key);
		dc->counters.enrolments++;
		ntm_dc_dns_changed(dc, &rec);
		ntm_dc_audit(dc, rec.label, "enrolled", rec.label, key);
		ntm_info("%s enrolled: key %s, from %s", rec.label, key, ntm_addr_format(&s->route.peer, addr));
	}
	node->relay = ntm_dc_relay_by_key(&dc->relays, node->rec.public_key);
	if (node->relay)
		node->relay->node = node;
	return node;
}

/* What a node says of relays, and a relay of itself. */
static void take_reports(struct ntm_dc *dc, struct ntm_dc_node *node, const struct ntm_sig *m)
{
	if (!node->relay)
		ntm_dc_relay_rtts(&dc->relays, node, m->rtts, m->n_rtts);
	else if (ntm_sig_has(m, NTM_F_LOAD))
		ntm_dc_relay_report(dc, node->relay, &m->load);
	else
		ntm_dc_relay_update(dc, node->relay);
	if (m->n_rtts || ntm_sig_has(m, NTM_F_LOAD))
		ntm_dc_cluster_changed(dc, node);
}

static void offer_relays(struct ntm_dc *dc, struct ntm_dc_node *node, struct ntm_sig *r)
{
	node->offers_generation = dc->relays.generation;
	node->offers_txid = r->txid;
	ntm_dc_relay_offers(&dc->relays, node, r);
}

static void tell_zones(struct ntm_dc *dc, struct ntm_dc_node *node, struct ntm_sig *r)
{
	node->zones_generation = ntm_dc_peers_generation(dc);
	node->zones_txid = r->txid;
	ntm_dc_peers_tell(dc, r);
}

static void tell_keys(struct ntm_dc *dc, struct ntm_dc_node *node, struct ntm_sig *r)
{
	node->keys_generation = dc->ids.generation;
	node->keys_txid = r->txid;
	ntm_dc_identities_tell(&dc->ids, r);
}

/* Relays with long names may be too many for one message: the last are left out. */
static void fit(struct ntm_sig *r)
{
	uint8_t scratch[NTM_SIGNAL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN];
	size_t len;

	while (r->n_offers && ntm_sig_encode(r, scratch, sizeof(scratch), &len) == -ENOSPC)
		r->n_offers--;
	ntm_wipe(scratch, sizeof(scratch));
}

void ntm_dc_register(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	char label[NTM_LABEL_MAX + 1];
	struct ntm_dc_node *node;
	struct ntm_sig r;

	ntm_sig_init(&r, NTM_M_REGISTRATION_RESPONSE, m->txid);
	if (!ntm_sig_has(m, NTM_F_NAME) || ntm_dc_label(dc, m->name, label) ||
	    ntm_dc_fqdn(dc, label, r.name, sizeof(r.name))) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_NAME, "not a name of the zone %s", dc->conf->zone);
		return;
	}
	node = admit(dc, s, m, label);
	if (!node)
		return;
	if (ntm_dc_node_set_candidates(node, m->candidates, m->n_candidates)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "out of memory");
		return;
	}
	node->mtu = ntm_sig_has(m, NTM_F_MTU) ? m->mtu : 0;
	ntm_dc_bind(dc, s, node);
	ntm_dc_seen(dc, s);
	ntm_dc_dns_moved(dc, &node->rec);
	ntm_dc_invite_arrived(dc, node->rec.public_key);

	memcpy(r.zone, dc->conf->zone, sizeof(r.zone));
	ntm_pool_addresses(&dc->conf->pool, node->rec.index, r.vip4, r.vip6);
	r.pool4 = dc->conf->pool.v4;
	r.pool6 = dc->conf->pool.v6;
	r.reflexive = s->route.peer;
	r.lifetime_s = dc->conf->lifetime_s;
	r.keepalive_s = (uint16_t)dc->conf->keepalive_s;
	r.have = 1u << NTM_F_NAME | 1u << NTM_F_ZONE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 | 1u << NTM_F_POOL4 |
		 1u << NTM_F_POOL6 | 1u << NTM_F_REFLEXIVE | 1u << NTM_F_LIFETIME | 1u << NTM_F_KEEPALIVE;
	tell_zones(dc, node, &r);
	tell_keys(dc, node, &r);
	take_reports(dc, node, m);
	if (node->relay) {
		r.keepalive_s = NTM_DC_RELAY_KEEPALIVE_S;
		r.lifetime_s = NTM_DC_RELAY_LIFETIME_S;
		memcpy(r.relay_secret, node->relay->probe_secret, sizeof(r.relay_secret));
		r.have |= 1u << NTM_F_RELAY_SECRET;
	} else {
		offer_relays(dc, node, &r);
		fit(&r);
	}
	dc->counters.registrations++;
	ntm_dc_cluster_changed(dc, node);
	ntm_dc_reply(dc, s, &r);
	ntm_wipe(&r, sizeof(r));
}

static void answer_keep_alive(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *to,
			      struct ntm_sig *r)
{
	r->reflexive = to->peer;
	r->have |= 1u << NTM_F_REFLEXIVE;
	dc->counters.keepalives++;
	ntm_dc_reply_to(dc, s, to, r);
}

void ntm_dc_keep_alive(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *from,
		       const struct ntm_sig *m)
{
	struct ntm_dc_node *node = s->node;
	struct ntm_sig r;

	take_reports(dc, node, m);
	ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, m->txid);
	if (ntm_sig_has(m, NTM_F_DELAY) && m->delay_s) {
		if (m->delay_s > NTM_DC_DELAY_MAX_S)
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "an answer is delayed by %d s at most",
					   NTM_DC_DELAY_MAX_S);
		else
			ntm_dc_session_delay(&dc->sessions, s, m->txid, from, ntm_dc_now(dc), m->delay_s);
		return;
	}
	/* the same request again has the same answer */
	if (!node->relay && (node->offers_generation != dc->relays.generation || node->offers_txid == m->txid))
		offer_relays(dc, node, &r);
	if (node->zones_generation != ntm_dc_peers_generation(dc) || node->zones_txid == m->txid)
		tell_zones(dc, node, &r);
	if (node->keys_generation != dc->ids.generation || node->keys_txid == m->txid)
		tell_keys(dc, node, &r);
	fit(&r);
	answer_keep_alive(dc, s, ntm_sig_has(m, NTM_F_DELAY) ? from : &s->route, &r);
	ntm_wipe(&r, sizeof(r));
}

void ntm_dc_answer_delayed(struct ntm_dc *dc)
{
	struct ntm_dc_session *s;
	struct ntm_sig r;

	while ((s = ntm_dc_session_delay_over(&dc->sessions, ntm_dc_now(dc)))) {
		ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, s->delayed.txid);
		answer_keep_alive(dc, s, &s->delayed.to, &r);
	}
}
