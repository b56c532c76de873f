/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datagram's way: form, type, session, seal, message. Whoever is not authenticated hears nothing, but for the cookie
 * that asks a sender under load to show that it owns its address; what is authenticated is answered, if only by an
 * error.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <ntm/wire.h>

#include "../user/common/crypto.h"
#include "../user/common/keystore.h"
#include "../user/common/log.h"
#include "dc.h"

const char *ntm_dc_session_name(const struct ntm_dc_session *s)
{
	static char text[NTM_ADDR_STRLEN + NTM_KEY_TEXT_LEN + 16];
	char addr[NTM_ADDR_STRLEN], key[NTM_KEY_TEXT_LEN + 1];

	if (s->peer)
		return ntm_dc_peer_zone(s->peer);
	if (s->process)
		return "another process of this DC";
	if (s->node)
		return s->node->rec.label;
	ntm_key_to_text(s->keys.peer_key, key);
	snprintf(text, sizeof(text), "%s (key %s)", ntm_addr_format(&s->route.peer, addr), key);
	return text;
}

static void send_on(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *to, const uint8_t *data,
		    size_t len)
{
	uint8_t out[NTM_DC_DATAGRAM_MAX];
	size_t out_len;
	int err = ntm_session_seal(&s->keys, data, len, out, sizeof(out), &out_len);

	if (err)
		ntm_warn_limited("cannot seal a message to %s: %s", ntm_dc_session_name(s), strerror(-err));
	else
		ntm_dc_net_send(dc->net, to, out, out_len);
}

void ntm_dc_send_encoded(struct ntm_dc *dc, struct ntm_dc_session *s, const uint8_t *data, size_t len)
{
	send_on(dc, s, &s->route, data, len);
}

void ntm_dc_send_to_node(void *arg, struct ntm_dc_node *to, const uint8_t *data, size_t len)
{
	if (to->peer)
		ntm_dc_peer_send(arg, to->peer, data, len);
	else if (to->session)
		ntm_dc_send_encoded(arg, to->session, data, len);
	else
		ntm_dc_cluster_pass(arg, to, data, len);
}

void ntm_dc_reply_to(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *to,
		     const struct ntm_sig *m)
{
	uint8_t data[NTM_SIGNAL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN];
	size_t len;
	int err = ntm_sig_encode(m, data, sizeof(data), &len);

	if (err) {
		ntm_warn_limited("cannot encode %s for %s: %s", ntm_msg_name(m->msg), ntm_dc_session_name(s),
				 strerror(-err));
		return;
	}
	if (s->remote)
		ntm_dc_cluster_pass(dc, s->node, data, len);
	else
		send_on(dc, s, to, data, len);
	if (m->have & (1u << NTM_F_PSK | 1u << NTM_F_RELAY_SECRET | 1u << NTM_F_RELAY_OFFER))
		ntm_wipe(data, len);
}

void ntm_dc_reply(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	ntm_dc_reply_to(dc, s, &s->route, m);
}

void ntm_dc_reply_error(struct ntm_dc *dc, struct ntm_dc_session *s, uint32_t txid, enum ntm_error code,
			const char *fmt, ...)
{
	struct ntm_sig m;
	va_list ap;

	ntm_sig_init(&m, NTM_M_ERROR, txid);
	m.error_code = (uint16_t)code;
	va_start(ap, fmt);
	vsnprintf(m.error_text, sizeof(m.error_text), fmt, ap);
	va_end(ap);
	m.have = 1u << NTM_F_ERROR_CODE | 1u << NTM_F_ERROR_TEXT;
	dc->counters.errors_sent++;
	ntm_warn_limited("%s: %s: %s", ntm_dc_session_name(s), ntm_error_name(code), m.error_text);
	ntm_dc_reply(dc, s, &m);
}

void ntm_dc_bind(struct ntm_dc *dc, struct ntm_dc_session *s, struct ntm_dc_node *node)
{
	bool fresh = node->session != s;

	ntm_dc_session_bind(&dc->sessions, s, node, ntm_dc_now(dc));
	if (fresh)
		ntm_dc_cluster_claim(dc, node);
}

void ntm_dc_handshake_answered(void *arg, const struct ntm_dc_handshake *h)
{
	struct ntm_dc *dc = arg;
	char addr[NTM_ADDR_STRLEN];
	struct ntm_dc_session *s;

	if (h->err) {
		dc->counters.bad_handshake++;
		ntm_warn_limited("%s: session init: %s", ntm_addr_format(&h->from.peer, addr), strerror(-h->err));
		return;
	}
	s = ntm_dc_session_add(&dc->sessions, &h->keys, &h->from, ntm_dc_now(dc));
	if (!s)
		return;
	ntm_dc_session_keep_ss(s, h->ss, h->number);
	dc->counters.sessions_made++;
	ntm_dc_net_send(dc->net, &h->from, &h->resp, sizeof(h->resp));
}

/* data: a session init whose macs hold for the key own. */
static void ask_responder(struct ntm_dc *dc, const struct ntm_dc_identity *own, const struct ntm_dc_route *from,
			  const uint8_t *data)
{
	struct ntm_dc_handshake h = {.from = *from, .number = own->number, .now_ms = ntm_dc_now(dc)};
	char addr[NTM_ADDR_STRLEN];
	int err = ntm_dc_session_new_id(&dc->sessions, &h.local_id);

	memcpy(&h.init, data, sizeof(h.init));
	if (!err)
		err = ntm_dc_responder_ask(dc->responder, &h);
	if (err) {
		dc->counters.handshakes_refused++;
		ntm_warn_limited("%s: session init not answered: %s", ntm_addr_format(&from->peer, addr),
				 strerror(-err));
	}
}

static void on_session_init(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len)
{
	char addr[NTM_ADDR_STRLEN];
	struct ntm_cookie_reply cookie;
	uint64_t now = ntm_dc_now(dc);
	struct ntm_dc_identity *own;
	enum ntm_mac_verdict verdict;

	if (len != sizeof(struct ntm_session_init)) {
		dc->counters.bad_form++;
		return;
	}
	own = ntm_dc_identity_of(&dc->ids, data, len, &from->peer, now, &verdict);
	switch (verdict) {
	case NTM_MAC_BAD:
		dc->counters.bad_mac1++;
		ntm_warn_limited("%s: session init for another key", ntm_addr_format(&from->peer, addr));
		return;
	case NTM_MAC_COOKIE:
		dc->counters.cookies_sent++;
		if (!ntm_cookie_reply(&own->jar, data, len, &from->peer, now, &cookie))
			ntm_dc_net_send(dc->net, from, &cookie, sizeof(cookie));
		return;
	case NTM_MAC_OK:
		break;
	}
	if (own->jar.in_window >= own->jar.threshold && !ntm_dc_rate_allow(&dc->handshakes, from->peer.ip, now)) {
		dc->counters.rate_limited++;
		ntm_warn_limited("%s: too many handshakes from this address", ntm_addr_format(&from->peer, addr));
		return;
	}
	ask_responder(dc, own, from, data);
}

/* Messages of a session whose key has no node here. */
static void on_stranger_message(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	switch (m->msg) {
	case NTM_M_REGISTRATION_REQUEST:
		ntm_dc_register(dc, s, m);
		return;
	case NTM_M_DIRECTION_REQUEST:
	case NTM_M_KEEP_ALIVE:
	case NTM_M_PATH_REPORT:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_NOT_REGISTERED, "register first");
		return;
	case NTM_M_PEER_HELLO:
	case NTM_M_PEER_DIRECTION_REQUEST:
	case NTM_M_ROUTE_DIRECTION:
		ntm_warn_limited("%s: %s from a DC that is not configured", ntm_dc_session_name(s),
				 ntm_msg_name(m->msg));
		return;
	case NTM_M_ERROR:
	case NTM_M_ROUTE_ACK:
	case NTM_M_RELEASE:
		return;
	default:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_UNKNOWN_MESSAGE, "message %u is not known", m->msg);
	}
}

void ntm_dc_request_lost(void *arg, struct ntm_dc_node *to, const struct ntm_dc_sent *what)
{
	struct ntm_dc *dc = arg;

	if (to->peer)
		ntm_dc_peer_lost(dc, to->peer);
	if (what->msg != NTM_M_RELAY_DIRECTION)
		return;
	ntm_dc_relay_failed(dc, to, what->path_id, "no answer");
}

/* An answer to a request of ours: no use in resending that. */
static void on_error_answer(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	const char *name = ntm_error_name(m->error_code);
	struct ntm_dc_sent what;

	ntm_warn_limited("%s answers %s: %s", s->node->rec.label, name, m->error_text);
	if (!ntm_dc_outbox_ack(&dc->outbox, s->node, m->txid, &what)) {
		if (!s->remote)
			ntm_dc_cluster_heard(dc, s->node, m);
		return;
	}
	if (what.msg == NTM_M_RELAY_DIRECTION)
		ntm_dc_relay_failed(dc, s->node, what.path_id, name);
}

/* Of a node whose session is with another process: what was an answer to a request of ours, or is ours to answer. */
void ntm_dc_node_message(struct ntm_dc *dc, struct ntm_dc_session *remote, const struct ntm_sig *m)
{
	switch (m->msg) {
	case NTM_M_ROUTE_ACK:
	case NTM_M_RELAY_RESPONSE:
		ntm_dc_outbox_ack(&dc->outbox, remote->node, m->txid, NULL);
		return;
	case NTM_M_ERROR:
		on_error_answer(dc, remote, m);
		return;
	case NTM_M_DIRECTION_REQUEST:
		ntm_dc_direct(dc, remote, m);
		return;
	case NTM_M_RELEASE:
		if (ntm_sig_has(m, NTM_F_PATH_ID))
			ntm_dc_release(dc, remote, m);
		return;
	default:
		return;
	}
}

/* It is of no use here if another process of this DC asked. */
static void on_acknowledgement(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	if (!ntm_dc_outbox_ack(&dc->outbox, s->node, m->txid, NULL))
		ntm_dc_cluster_heard(dc, s->node, m);
}

static void on_node_message(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_route *from,
			    const struct ntm_sig *m)
{
	switch (m->msg) {
	case NTM_M_REGISTRATION_REQUEST:
		ntm_dc_register(dc, s, m);
		return;
	case NTM_M_DIRECTION_REQUEST:
		ntm_dc_direct(dc, s, m);
		return;
	case NTM_M_ROUTE_ACK:
		on_acknowledgement(dc, s, m);
		return;
	case NTM_M_RELAY_RESPONSE:
		if (s->node->relay)
			on_acknowledgement(dc, s, m);
		else
			ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "this node is no relay");
		return;
	case NTM_M_RELAY_DIRECTION:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "relays are directed by their DC only");
		return;
	case NTM_M_KEEP_ALIVE:
		ntm_dc_keep_alive(dc, s, from, m);
		return;
	case NTM_M_KEY_UPDATE_REQUEST:
		ntm_dc_key_update(dc, s, m);
		return;
	case NTM_M_PATH_REPORT:
		ntm_dc_path_report(dc, s, m);
		return;
	case NTM_M_RELEASE:
		ntm_dc_release(dc, s, m);
		return;
	case NTM_M_ERROR:
		on_error_answer(dc, s, m);
		return;
	default:
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_UNKNOWN_MESSAGE, "message %u is not known", m->msg);
	}
}

static void on_signal(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len)
{
	const struct ntm_hdr *hdr = (const void *)data;
	struct ntm_dc_session *s = ntm_dc_session_find(&dc->sessions, be64toh(hdr->id));
	uint8_t plain[NTM_DC_DATAGRAM_MAX];
	uint64_t now = ntm_dc_now(dc), head;
	char addr[NTM_ADDR_STRLEN];
	struct ntm_dc_node *node;
	struct ntm_sig m;
	size_t plain_len;
	int err;

	if (!s) {
		dc->counters.unknown_session++;
		ntm_warn_limited("%s: message for an unknown session", ntm_addr_format(&from->peer, addr));
		return;
	}
	if (len > NTM_SIGNAL_MAX && !ntm_dc_cluster_owns(dc, s)) {
		dc->counters.bad_form++;
		return;
	}
	head = s->keys.rx_head;
	err = ntm_session_open(&s->keys, data, len, plain, sizeof(plain), &plain_len);
	if (err == -EALREADY || err == -ESTALE) {
		dc->counters.replayed++;
		ntm_warn_limited("%s: replayed message from %s", ntm_dc_session_name(s),
				 ntm_addr_format(&from->peer, addr));
		return;
	}
	if (err) {
		dc->counters.bad_seal++;
		ntm_warn_limited("%s: message that fails authentication from %s", ntm_dc_session_name(s),
				 ntm_addr_format(&from->peer, addr));
		return;
	}

	if (ntm_dc_cluster_owns(dc, s)) {
		if (s->keys.rx_head > head)
			s->route = *from;
		ntm_dc_session_confirm(&dc->sessions, s, now);
		ntm_dc_cluster_message(dc, s, plain, plain_len);
		ntm_wipe(plain, plain_len); /* a PSK may be in it */
		return;
	}
	err = ntm_sig_decode(&m, plain, plain_len);
	/*
	 * Only the newest message says where the peer is: an older one may have been held back on its way. And a
	 * keep-alive that is answered later comes from another port, to find out how long a NAT remembers it.
	 */
	if (s->keys.rx_head > head && !(!err && m.msg == NTM_M_KEEP_ALIVE && ntm_sig_has(&m, NTM_F_DELAY)))
		s->route = *from;
	ntm_dc_session_confirm(&dc->sessions, s, now);
	if (s->state == NTM_DC_STRANGER && ntm_dc_peer_by_key(dc, s->keys.peer_key))
		ntm_dc_peer_bind(dc, ntm_dc_peer_by_key(dc, s->keys.peer_key), s);
	if (s->state == NTM_DC_STRANGER) {
		node = ntm_dc_node_by_key(&dc->nodes, s->keys.peer_key);
		if (node)
			ntm_dc_bind(dc, s, node);
	}
	if (s->node)
		ntm_dc_seen(dc, s);

	if (err) {
		dc->counters.malformed++;
		ntm_dc_reply_error(dc, s, m.txid, NTM_E_MALFORMED, "message could not be decoded");
		return;
	}
	if (s->peer)
		ntm_dc_peer_message(dc, s, &m);
	else if (s->node)
		on_node_message(dc, s, from, &m);
	else
		on_stranger_message(dc, s, &m);
}

void ntm_dc_receive_datagram(void *arg, const struct ntm_dc_route *from, uint8_t *data, size_t len)
{
	const struct ntm_hdr *hdr = (const void *)data;
	struct ntm_dc *dc = arg;
	char addr[NTM_ADDR_STRLEN];

	if (len >= sizeof(*hdr) && len <= NTM_DC_DATAGRAM_MAX && ntm_hdr_version(hdr) == NTM_WIRE_VERSION) {
		switch (ntm_hdr_type(hdr)) {
		case NTM_T_SESSION_INIT:
			on_session_init(dc, from, data, len);
			return;
		case NTM_T_SESSION_RESP:
			if (!ntm_dc_cluster_answer(dc, from, data, len) && !ntm_dc_peer_answer(dc, from, data, len))
				ntm_dc_invite_answer(dc, from, data, len);
			return;
		case NTM_T_COOKIE_REPLY:
			if (!ntm_dc_cluster_cookie(dc, data, len) && !ntm_dc_peer_cookie(dc, data, len))
				ntm_dc_invite_cookie(dc, data, len);
			return;
		case NTM_T_SIGNAL:
			if (len == sizeof(*hdr) && !hdr->id)
				dc->counters.openers++;
			else
				on_signal(dc, from, data, len);
			return;
		default:
			break;
		}
	}
	dc->counters.bad_form++;
	ntm_warn_limited("%s: dropped %zu bytes that are no message for a DC", ntm_addr_format(&from->peer, addr), len);
}
