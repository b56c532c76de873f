/* SPDX-License-Identifier: BSD-2-Clause */
/* What the agent and its DC say to each other: registration, keep-alive, and what the DC begins by itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../common/crypto.h"
#include "dcclient_int.h"
#include "node.h"

enum {
	REGISTER_RETRY_MS = 30000, /* after a refusal; the operator may have made a new token */
	UNABLE_RETRY_MS = 500,     /* the DC could not; then twice that and so on, up to the above */
	SETTLE_MS = 2500,          /* registration that the DC doesn't answer */
};

static void schedule_keepalive(struct ntm_dcclient *dc, uint64_t in_ms)
{
	ntm_timer_arm(&dc->node->timers, &dc->keepalive_timer, in_ms);
}

/* As often as the DC wants, and as the NAT in between does. */
static uint64_t keepalive_ms(const struct ntm_dcclient *dc)
{
	uint64_t ms = ntm_mapping_keepalive_ms(dc->node), wanted = dc->keepalive_s * 1000u;

	return ms < wanted ? ms : wanted;
}

static bool valid_identity(const struct ntm_node *n, const struct ntm_sig *m, struct ntm_identity *id)
{
	const uint32_t need =
	    1u << NTM_F_ZONE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 | 1u << NTM_F_POOL4 | 1u << NTM_F_POOL6;
	const char *label = ntm_sig_has(m, NTM_F_NAME) ? m->name : n->conf.name;
	uint8_t v4[16];
	int len;

	if ((m->have & need) != need || !m->zone[0])
		return false;
	*id = (struct ntm_identity){.known = true};
	memcpy(id->zone, m->zone, sizeof(id->zone));
	len = strchr(label, '.') ? snprintf(id->fqdn, sizeof(id->fqdn), "%s", label)
				 : snprintf(id->fqdn, sizeof(id->fqdn), "%s.%s", label, m->zone);
	if (len < 0 || (size_t)len >= sizeof(id->fqdn))
		return false;
	memcpy(id->addrs.vip4, m->vip4, 4);
	memcpy(id->addrs.vip6, m->vip6, 16);
	id->addrs.pool4 = m->pool4;
	id->addrs.pool6 = m->pool6;
	ntm_identity_add_zones(id, m);
	ntm_ip_from_v4(v4, m->vip4);
	return ntm_prefix_contains(&m->pool4, v4) && ntm_prefix_contains(&m->pool6, m->vip6);
}

static void registered(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	struct ntm_node *n = dc->node;
	char addr[NTM_ADDR_STRLEN], reflexive[NTM_ADDR_STRLEN];
	bool was = dc->registered;
	struct ntm_identity id;
	json_object *ev;
	uint64_t wait_s;
	int err;

	if (!valid_identity(n, m, &id)) {
		ntm_err("dc: registration answered without a zone, addresses of its pools and those pools");
		schedule_keepalive(dc, REGISTER_RETRY_MS);
		return;
	}
	err = ntm_node_set_identity(n, &id);
	if (err) {
		ntm_err("cannot set the virtual addresses: %s", strerror(-err));
		schedule_keepalive(dc, REGISTER_RETRY_MS);
		return;
	}
	dc->registered = true;
	dc->last_error = 0;
	dc->refused_ms = 0;
	dc->unable = 0;
	dc->try_next = false;
	if (ntm_sig_has(m, NTM_F_REFLEXIVE))
		dc->reflexive = m->reflexive;
	dc->keepalive_s = ntm_sig_has(m, NTM_F_KEEPALIVE) && m->keepalive_s ? m->keepalive_s : NTM_DC_KEEPALIVE_S;
	wait_s = keepalive_ms(dc) / 1000u;
	if (ntm_sig_has(m, NTM_F_LIFETIME) && m->lifetime_s && m->lifetime_s / 2 < wait_s)
		wait_s = m->lifetime_s / 2 ? m->lifetime_s / 2 : 1;
	schedule_keepalive(dc, wait_s * 1000);
	if (!was)
		ntm_info("registered as %s with the DC at %s, seen as %s", id.fqdn,
			 ntm_addr_format(&dc->slot[NTM_DC_CUR].addr, addr), ntm_addr_format(&dc->reflexive, reflexive));
	ev = ntm_node_event(n, "registered");
	if (ev) {
		json_object_object_add(ev, "name", json_object_new_string(id.fqdn));
		json_object_object_add(ev, "endpoint",
				       json_object_new_string(ntm_addr_format(&dc->slot[NTM_DC_CUR].addr, addr)));
		ntm_node_emit(n, ev);
	}
	ntm_dc_open_ways(dc);
	ntm_dc_keys_told(dc, m);
	ntm_rotation_registered(n);
	ntm_relays_offered(n, m, true);
	ntm_mapping_start(n);
	if (n->hooks.registered)
		n->hooks.registered(n, m);
	ntm_directions_dc_back(n);
	ntm_dc_resend_all(dc);
	ntm_path_reports_registered(n, dc->slot[NTM_DC_CUR].s.local_id);
}

static void refused(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	const char *name = ntm_error_name((enum ntm_error)m->error_code);
	json_object *ev;

	if (dc->last_error == m->error_code)
		return;
	dc->last_error = m->error_code;
	ntm_err("dc: registration refused: %s%s%s", name, m->error_text[0] ? ": " : "", m->error_text);
	ev = ntm_node_event(dc->node, "refused");
	if (!ev)
		return;
	json_object_object_add(ev, "code", json_object_new_int(m->error_code));
	json_object_object_add(ev, "error", json_object_new_string(m->error_text[0] ? m->error_text : name));
	ntm_node_emit(dc->node, ev);
}

/*
 * Until the next try. A DC that could not, since its store is away or much is asked of it, soon can; another of its
 * processes may be able to right now.
 */
static uint64_t refused_ms(struct ntm_dcclient *dc, const struct ntm_sig *m)
{
	size_t endpoints = dc->node->conf.dc_endpoints.n;
	bool unable = m->msg == NTM_M_ERROR && (m->error_code == NTM_E_INTERNAL || m->error_code == NTM_E_BUSY);

	dc->try_next = unable && endpoints > 1;
	if (!unable) {
		dc->unable = 0;
		dc->refused_ms = 0;
		return REGISTER_RETRY_MS;
	}
	if (++dc->unable < endpoints)
		return 0;
	dc->refused_ms = dc->refused_ms ? dc->refused_ms * 2 : UNABLE_RETRY_MS;
	if (dc->refused_ms > REGISTER_RETRY_MS)
		dc->refused_ms = REGISTER_RETRY_MS;
	return dc->refused_ms;
}

/* The other ends have been told to drop every path; there is nothing left to keep. */
static void revoked(struct ntm_dcclient *dc)
{
	for (struct ntm_tunnel *t = dc->node->tunnels.all, *next; t; t = next) {
		next = t->next_all;
		ntm_path_end(t, NTM_PATH_END_QUIET, "this node was revoked");
	}
}

static void on_registration(void *arg, int err, const struct ntm_sig *m)
{
	struct ntm_dcclient *dc = arg;

	dc->reg_txid = 0;
	if (err) {
		/* dcrequest.c makes a new session; this one's successor registers. */
		ntm_debug("dc: registration: %s", strerror(-err));
		return;
	}
	if (m->msg == NTM_M_REGISTRATION_RESPONSE) {
		registered(dc, m);
		return;
	}
	if (m->msg == NTM_M_ERROR && m->error_code == NTM_E_BAD_TOKEN && ntm_rotation_resume(dc->node))
		return;
	if (m->msg == NTM_M_ERROR)
		refused(dc, m);
	dc->registered = false;
	if (m->msg == NTM_M_ERROR && m->error_code == NTM_E_DENIED)
		revoked(dc);
	schedule_keepalive(dc, refused_ms(dc, m));
}

void ntm_dc_register(struct ntm_dcclient *dc, enum ntm_dc_slot slot)
{
	struct ntm_node *n = dc->node;
	struct ntm_sig m;
	uint16_t mtu;
	int err;

	ntm_sig_init(&m, NTM_M_REGISTRATION_REQUEST, 0);
	memcpy(m.name, n->conf.name, sizeof(n->conf.name));
	m.have = 1u << NTM_F_NAME;
	if (n->conf.dc_token) {
		snprintf(m.token, sizeof(m.token), "%s", n->conf.dc_token);
		m.have |= 1u << NTM_F_TOKEN;
	}
	m.n_candidates = ntm_node_candidates(n, m.candidates);
	if (m.n_candidates)
		m.have |= 1u << NTM_F_CANDIDATE;
	mtu = n->n_uplinks ? (uint16_t)(n->uplinks[0].dp.mtu > 65535 ? 65535 : n->uplinks[0].dp.mtu) : 0;
	if (mtu) {
		m.mtu = mtu;
		m.have |= 1u << NTM_F_MTU;
	}
	ntm_relays_report(n, &m);
	if (n->hooks.keepalive)
		n->hooks.keepalive(n, &m);
	/* Older registrations under way say what is no longer so. */
	ntm_dc_forget(dc, dc);
	err = ntm_dc_call_on(dc, slot, &m, SETTLE_MS, false, on_registration, dc);
	if (err)
		ntm_err("dc: registration not sent: %s", strerror(-err));
	else
		dc->reg_txid = m.txid;
}

void ntm_dc_reregister(struct ntm_dcclient *dc)
{
	struct ntm_node *n = dc->node;
	const struct ntm_dc_session *cur = &dc->slot[NTM_DC_CUR];

	if (!cur->used) {
		dc->retry_ms = 0;
		dc->last_kick_ms = 0;
		ntm_dc_kick(dc);
	} else if (n->n_uplinks && !ntm_node_has_family(n, !ntm_ip_is_v4(cur->addr.ip))) {
		/* No need to find out by silence. */
		ntm_dc_session_dead(dc);
	} else {
		ntm_dc_register(dc, NTM_DC_CUR);
	}
}

static void on_keepalive_answer(void *arg, int err, const struct ntm_sig *m)
{
	struct ntm_dcclient *dc = (struct ntm_dcclient *)((struct ntm_timer *)arg)->arg;
	char text[NTM_ADDR_STRLEN];

	if (err)
		return;
	if (m->msg == NTM_M_ERROR) {
		if (m->error_code == NTM_E_NOT_REGISTERED)
			ntm_dc_register(dc, NTM_DC_CUR);
		return;
	}
	ntm_dc_keys_told(dc, m);
	ntm_relays_offered(dc->node, m, false);
	err = ntm_node_peer_zones(dc->node, m, true);
	if (err)
		ntm_warn("dc: pools of other zones not set: %s", strerror(-err));
	/* A NAT's mapping has changed with no event on this host. */
	if (ntm_sig_has(m, NTM_F_REFLEXIVE) && !ntm_addr_equal(&m->reflexive, &dc->reflexive)) {
		dc->reflexive = m->reflexive;
		ntm_info("dc: this node is now seen as %s", ntm_addr_format(&m->reflexive, text));
		ntm_dc_register(dc, NTM_DC_CUR);
		ntm_node_reflexive_changed(dc->node);
	}
}

static void on_keepalive_timer(void *arg)
{
	struct ntm_dcclient *dc = arg;
	struct ntm_sig m;

	schedule_keepalive(dc, keepalive_ms(dc));
	if (!dc->slot[NTM_DC_CUR].used)
		return;
	if (!dc->registered) {
		if (dc->try_next) {
			dc->try_next = false;
			ntm_dc_session_dead(dc);
			return;
		}
		if (!dc->reg_txid)
			ntm_dc_register(dc, NTM_DC_CUR);
		return;
	}
	ntm_dc_open_ways(dc);
	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, 0);
	ntm_relays_report(dc->node, &m);
	if (dc->node->hooks.keepalive)
		dc->node->hooks.keepalive(dc->node, &m);
	/* Its own arg, so that forgetting registrations leaves it alone. */
	ntm_dc_call_on(dc, NTM_DC_CUR, &m, SETTLE_MS, false, on_keepalive_answer, &dc->keepalive_timer);
}

static void answer_error(struct ntm_dcclient *dc, enum ntm_dc_slot slot, uint32_t txid, enum ntm_error code)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_ERROR, txid);
	m.error_code = (uint16_t)code;
	m.have = 1u << NTM_F_ERROR_CODE;
	ntm_dc_send_on(dc, slot, &m);
}

static void acknowledge(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const struct ntm_sig *m)
{
	struct ntm_sig ack;

	ntm_sig_init(&ack, NTM_M_ROUTE_ACK, m->txid);
	ack.path_id = m->path_id;
	ack.have = 1u << NTM_F_PATH_ID;
	ntm_dc_send_on(dc, slot, &ack);
}

static void on_route_direction(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const struct ntm_sig *m)
{
	struct ntm_tunnel *t;
	int err = ntm_path_directed(dc->node, m, &t);

	if (!err)
		acknowledge(dc, slot, m);
	else if (err == -EBADMSG)
		answer_error(dc, slot, m->txid, NTM_E_MALFORMED);
	else
		answer_error(dc, slot, m->txid, err == -ENOSPC ? NTM_E_BUSY : NTM_E_INTERNAL);
}

/* An RS's part: answered here if it is that. */
static bool hooked(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const struct ntm_sig *m)
{
	struct ntm_sig answer;

	if (!dc->node->hooks.message)
		return false;
	ntm_sig_init(&answer, NTM_M_ERROR, m->txid);
	if (!dc->node->hooks.message(dc->node, m, &answer))
		return false;
	ntm_dc_send_on(dc, slot, &answer);
	return true;
}

void ntm_dc_message(struct ntm_dcclient *dc, enum ntm_dc_slot slot, const uint8_t *plain, size_t len)
{
	struct ntm_tunnel *t;
	struct ntm_sig m;

	memset(&m, 0, sizeof(m));
	if (ntm_sig_decode(&m, plain, len)) {
		ntm_warn_limited("dc: malformed message %u", m.msg);
		if (m.msg && m.msg != NTM_M_ERROR)
			answer_error(dc, slot, m.txid, NTM_E_MALFORMED);
		return;
	}
	switch (m.msg) {
	case NTM_M_KEEP_ALIVE_RESPONSE:
		if (ntm_mapping_answered(dc->node, m.txid) || ntm_proof_answered(dc->node, m.txid))
			break;
		/* fall through */
	case NTM_M_REGISTRATION_RESPONSE:
	case NTM_M_UPDATE_RESPONSE:
	case NTM_M_KEY_UPDATE_RESPONSE:
	case NTM_M_PATH_REPORT_RESPONSE:
		ntm_dc_answered(dc, &m);
		break;
	case NTM_M_ERROR: {
		bool lost = m.error_code == NTM_E_NOT_REGISTERED && !dc->reg_txid;

		(void)ntm_proof_answered(dc->node, m.txid);
		/* of its own accord; the answer to a request that was sent twice comes twice */
		if (!ntm_dc_answered(dc, &m) && !m.txid && m.error_code == NTM_E_DENIED && dc->registered) {
			ntm_err("dc: %s", m.error_text[0] ? m.error_text : "this node was revoked");
			dc->registered = false;
			revoked(dc);
		}
		if (lost && dc->registered) {
			dc->registered = false;
			ntm_dc_register(dc, NTM_DC_CUR);
		}
		break;
	}
	case NTM_M_KEEP_ALIVE: /* there is news, which the answer to ours has */
		ntm_dc_keepalive_now(dc);
		break;
	case NTM_M_ROUTE_DIRECTION:
		if (!ntm_dc_answered(dc, &m))
			on_route_direction(dc, slot, &m);
		break;
	case NTM_M_RELEASE:
		if (hooked(dc, slot, &m))
			break;
		acknowledge(dc, slot, &m);
		t = ntm_sig_has(&m, NTM_F_PATH_ID) ? ntm_tunnel_by_id(dc->node, m.path_id) : NULL;
		if (t)
			ntm_path_end(t, NTM_PATH_END_QUIET, "released by the DC");
		break;
	default:
		if (!hooked(dc, slot, &m))
			answer_error(dc, slot, m.txid, NTM_E_UNKNOWN_MESSAGE);
	}
	ntm_wipe(m.psk, sizeof(m.psk));
	ntm_wipe(m.relay_secret, sizeof(m.relay_secret));
}

void ntm_dc_keepalive_now(struct ntm_dcclient *dc)
{
	if (dc->registered)
		schedule_keepalive(dc, 1);
}

void ntm_dc_init_messages(struct ntm_dcclient *dc)
{
	ntm_timer_init(&dc->keepalive_timer, on_keepalive_timer, dc);
}
