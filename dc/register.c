/* SPDX-License-Identifier: BSD-2-Clause */
/* Registration Request and keep-alive: who a node is, which addresses it gets, where it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../user/common/keystore.h"
#include "../user/common/log.h"
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

	memcpy(via.ip, s->route.local, sizeof(via.ip));
	if (n->online) {
		ntm_dc_node_seen(&dc->nodes, n, ntm_dc_now(dc));
	} else {
		ntm_log_limited(&limit, NTM_LOG_INFO, "%s is online", n->rec.label);
		ntm_dc_node_seen(&dc->nodes, n, ntm_dc_now(dc));
		ntm_dc_repeat_releases(dc, n);
	}
	if (ntm_addr_equal(&n->rec.endpoint, &s->route.peer) && ntm_addr_equal(&n->rec.via, &via))
		return;
	n->rec.endpoint = s->route.peer;
	n->rec.via = via;
	ntm_dc_node_mark_dirty(&dc->nodes, n);
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
	if (err == -ENOENT) {
		struct ntm_enrolment e = {
		    .label = label,
		    .public_key = s->keys.peer_key,
		    .token = m->token,
		    .last_index = dc->conf->pool.last,
		    .now_s = time(NULL),
		};

		if (!ntm_sig_has(m, NTM_F_TOKEN)) {
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_BAD_TOKEN, "this key is not known here: token needed");
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
	node = ntm_dc_node_add(&dc->nodes, &rec);
	if (!node) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_INTERNAL, "out of memory");
		return NULL;
	}
	if (enrolled) {
		char key[NTM_KEY_TEXT_LEN + 1], addr[NTM_ADDR_STRLEN];

		ntm_key_to_text(rec.public_key, key);
		dc->counters.enrolments++;
		ntm_info("%s enrolled: key %s, from %s", rec.label, key, ntm_addr_format(&s->route.peer, addr));
	}
	return node;
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
	ntm_dc_session_bind(&dc->sessions, s, node, ntm_dc_now(dc));
	ntm_dc_seen(dc, s);
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
	dc->counters.registrations++;
	ntm_dc_reply(dc, s, &r);
}

void ntm_dc_keep_alive(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_sig r;

	ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, m->txid);
	r.reflexive = s->route.peer;
	r.have = 1u << NTM_F_REFLEXIVE;
	dc->counters.keepalives++;
	ntm_dc_reply(dc, s, &r);
}
