/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tunnel Request and Response. The initiator begins with every candidate at once and then renews the keys each 120 s
 * over the endpoint in use; the responder accepts each request once, and answers a resent one as it did before.
 *
 * Timers: hs_timer resends (50 ms, doubling) and gives up; confirm_timer repeats the empty packet by which the
 * responder learns that its answer arrived.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "node.h"

enum {
	HS_RESEND_MS = 50,
	HS_RESEND_MAX_MS = 400,
	HS_GIVE_UP_MS = 1700, /* leaves room for the failure's way to who waits 2 s */
	PUNCH_EPOCH = 15,
	REKEY_RETRY_MS = 5000,
	REKEY_RETRY_MAX_MS = 30000,
	CONFIRM_MS = 50,
	CONFIRM_MAX_MS = 3000,
	EARLY_MAX = 8,
	EARLY_MS = 1000,
	SUITES = 1u << NTM_SUITE_KERNEL | 1u << NTM_SUITE_CONTROL, /* of every node */
};

static uint16_t suites(const struct ntm_node *n)
{
	return (uint16_t)(SUITES | n->dp->suites);
}

static uint64_t now_ms(const struct ntm_tunnel *t)
{
	return ntm_timers_ms(&t->node->timers);
}

static void send_request(struct ntm_tunnel *t, const struct ntm_addr *to)
{
	struct ntm_node *n = t->node;
	uint8_t src[16];
	int err =
	    n->net.send(n->net.arg, to, ntm_node_source(n, to, src), &t->hs->msg, sizeof(t->hs->msg), NTM_SEND_NORMAL);

	if (err)
		ntm_debug("path %016" PRIx64 ": tunnel request not sent: %s", t->id, strerror(-err));
}

static void transmit(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	struct ntm_dp_stats s;

	if (t->has_keys) {
		if (!n->dp->ops->stats(n->dp, t->id, &s) && s.endpoint.port)
			send_request(t, &s.endpoint);
		return;
	}
	/* The best first: of several that work, it is then the one that is answered first. */
	for (int kind = NTM_ROUTE_LAN; kind > NTM_ROUTE_RELAY; kind--) {
		for (unsigned i = 0; i < t->checks.n_pairs; i++) {
			const struct ntm_pair *p = &t->checks.pairs[i];

			if ((int)ntm_route_kind_of(t, &p->addr, p->cand) == kind &&
			    ntm_node_has_family(n, !ntm_ip_is_v4(p->addr.ip)))
				send_request(t, &p->addr);
		}
	}
	ntm_bind_request(t);
}

void ntm_hs_resend(struct ntm_tunnel *t)
{
	struct ntm_addr relay = ntm_bind_endpoint(t);

	if (t->hs && !t->has_keys && relay.port)
		send_request(t, &relay);
}

/*
 * What the responder sends before it has keys: the receiver drops it, NATs and firewalls on the way don't. The first
 * keys are those of epoch 0: with another one it is not even decrypted where it comes after them.
 */
static void send_punch(struct ntm_tunnel *t, const struct ntm_addr *to)
{
	struct ntm_node *n = t->node;
	uint8_t msg[sizeof(struct ntm_hdr) + NTM_TAG_LEN], src[16];
	struct ntm_hdr *h = (struct ntm_hdr *)msg;
	int err = ntm_random(msg, sizeof(msg));

	*h = (struct ntm_hdr){
	    .ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA, .suite_epoch = PUNCH_EPOCH, .id = htobe64(t->id)};
	if (!err)
		err = n->net.send(n->net.arg, to, ntm_node_source(n, to, src), msg, sizeof(msg), NTM_SEND_NORMAL);
	if (err)
		ntm_debug("path %016" PRIx64 ": not punched: %s", t->id, strerror(-err));
}

static void punch_all(struct ntm_tunnel *t)
{
	for (unsigned i = 0; i < t->checks.n_pairs; i++)
		if (ntm_node_has_family(t->node, !ntm_ip_is_v4(t->checks.pairs[i].addr.ip)))
			send_punch(t, &t->checks.pairs[i].addr);
}

void ntm_hs_punch(struct ntm_tunnel *t)
{
	t->hs_begin_ms = now_ms(t);
	t->hs_wait_ms = HS_RESEND_MS;
	punch_all(t);
	ntm_timer_arm(&t->node->timers, &t->hs_timer, t->hs_wait_ms);
}

static void hs_free(struct ntm_tunnel *t)
{
	ntm_timer_stop(&t->node->timers, &t->hs_timer);
	if (!t->hs)
		return;
	ntm_wipe(t->hs, sizeof(*t->hs));
	free(t->hs);
	free(t->hs_cookie);
	t->hs = NULL;
	t->hs_cookie = NULL;
}

void ntm_hs_cancel(struct ntm_tunnel *t)
{
	hs_free(t);
	ntm_timer_stop(&t->node->timers, &t->confirm_timer);
}

static void give_up(struct ntm_tunnel *t)
{
	char text[NTM_ADDR_STRLEN];

	if (!t->has_keys) {
		ntm_path_end(t, NTM_PATH_END_TELL_DC, "the peer did not answer");
		return;
	}
	hs_free(t);
	t->hs_backoff_ms = t->hs_backoff_ms ? t->hs_backoff_ms * 2 : REKEY_RETRY_MS;
	if (t->hs_backoff_ms > REKEY_RETRY_MAX_MS)
		t->hs_backoff_ms = REKEY_RETRY_MAX_MS;
	t->hs_next_ms = now_ms(t) + t->hs_backoff_ms;
	/* Its agent is there, but does not take the keys that this end knows it by: one of the two has changed its own.
	 */
	if (t->hs_backoff_ms == REKEY_RETRY_MAX_MS && ntm_live_agent_answers(t))
		ntm_live_redirect(t);
	ntm_debug("path to %s: no answer to new keys, next try in %" PRIu64 " s", ntm_tunnel_label(t, text),
		  t->hs_backoff_ms / 1000);
}

static void on_hs_timer(void *arg)
{
	struct ntm_tunnel *t = arg;
	uint64_t spent = now_ms(t) - t->hs_begin_ms;
	bool punching = t->role == NTM_ROLE_RESPONDER;

	if (punching && (t->has_keys || spent >= HS_GIVE_UP_MS))
		return;
	if (spent >= HS_GIVE_UP_MS) {
		give_up(t);
		return;
	}
	if (punching)
		punch_all(t);
	else
		transmit(t);
	t->hs_wait_ms = t->hs_wait_ms * 2 > HS_RESEND_MAX_MS ? HS_RESEND_MAX_MS : t->hs_wait_ms * 2;
	ntm_timer_arm(&t->node->timers, &t->hs_timer,
		      t->hs_wait_ms < HS_GIVE_UP_MS - spent ? t->hs_wait_ms : HS_GIVE_UP_MS - spent);
}

int ntm_hs_start(struct ntm_tunnel *t)
{
	struct ntm_node *n = t->node;
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);
	struct ntm_tunnel_req_payload p = {.suites = htobe16(suites(n))};
	uint8_t epoch = t->has_keys ? (t->epoch + 1) & 15 : 0;
	int err;

	if (!rec)
		return -ENOENT;
	hs_free(t);
	t->hs = calloc(1, sizeof(*t->hs));
	t->hs_cookie = calloc(1, sizeof(*t->hs_cookie));
	if (!t->hs || !t->hs_cookie) {
		free(t->hs);
		free(t->hs_cookie);
		t->hs = NULL;
		t->hs_cookie = NULL;
		return -ENOMEM;
	}
	p.seq = htobe64(++rec->hs_seq);
	p.mtu = htobe16(ntm_node_uplink_mtu(n, false));
	err = ntm_cookie_client_init(t->hs_cookie, t->peer_key);
	if (!err)
		err = ntm_tunnel_begin(t->hs, n->priv, n->pub, t->peer_key, rec->psk, t->id, epoch, &p, t->hs_cookie,
				       now_ms(t));
	if (err) {
		hs_free(t);
		return err;
	}
	t->hs_begin_ms = now_ms(t);
	t->hs_wait_ms = HS_RESEND_MS;
	transmit(t);
	ntm_timer_arm(&n->timers, &t->hs_timer, t->hs_wait_ms);
	return 0;
}

void ntm_hs_cookie(struct ntm_tunnel *t, const struct ntm_cookie_reply *r)
{
	if (!t->hs || ntm_cookie_consume(t->hs_cookie, r, now_ms(t)) ||
	    ntm_cookie_sign(t->hs_cookie, &t->hs->msg, sizeof(t->hs->msg), now_ms(t)))
		return;
	transmit(t);
}

/* The control lane's keys, before the kernel's: a packet on the new epoch may follow at once. */
static void set_control_keys(struct ntm_path_agent *rec, const struct ntm_tunnel_keys *k)
{
	unsigned slot = k->epoch & 1;

	memcpy(rec->ctl_tx_key[slot], k->ctl_tx, NTM_KEY_LEN);
	memcpy(rec->ctl_rx_key[slot], k->ctl_rx, NTM_KEY_LEN);
	rec->ctl_tx_counter[slot] = 0;
	rec->ctl_rx_head[slot] = 0;
	rec->ctl_rx_window[slot] = 0;
}

static int install(struct ntm_tunnel *t, const struct ntm_tunnel_keys *k, bool send)
{
	struct ntm_node *n = t->node;
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);
	struct ntm_dp_keys dk = {.epoch = k->epoch, .bulk_suite = k->bulk_suite};
	int err;

	if (!rec)
		return -ENOENT;
	memcpy(dk.tx, k->tx, NTM_KEY_LEN);
	memcpy(dk.rx, k->rx, NTM_KEY_LEN);
	memcpy(dk.bulk_tx, k->bulk_tx, NTM_KEY_LEN);
	memcpy(dk.bulk_rx, k->bulk_rx, NTM_KEY_LEN);
	err = n->dp->ops->set_keys(n->dp, t->id, &dk, send);
	ntm_wipe(&dk, sizeof(dk));
	if (err)
		return err;
	set_control_keys(rec, k);
	rec->epoch_ns = ntm_timers_ns(&n->timers);
	if (t->has_keys && k->epoch != t->epoch) {
		json_object *ev = ntm_node_event(n, "rekeyed");
		char text[NTM_ADDR_STRLEN];

		t->rekeys++;
		n->rekeys++;
		if (ev) {
			json_object_object_add(ev, "peer", json_object_new_string(ntm_tunnel_label(t, text)));
			json_object_object_add(ev, "epoch", json_object_new_int(k->epoch));
			ntm_node_emit(n, ev);
		}
	}
	t->has_keys = true;
	t->adopted = false;
	t->epoch = k->epoch;
	t->hs_backoff_ms = 0;
	return 0;
}

/* An empty packet in the new epoch switches the responder over; its answer to the probe shows that it did. */
static void confirm(struct ntm_tunnel *t)
{
	ntm_path_send(t, NULL, 0, false);
	ntm_ctl_probe(t, NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	ntm_timer_arm(&t->node->timers, &t->confirm_timer, t->confirm_wait_ms);
	t->confirm_wait_ms *= 2;
}

static void on_confirm_timer(void *arg)
{
	struct ntm_tunnel *t = arg;

	if (!t->confirmed && t->confirm_wait_ms <= CONFIRM_MAX_MS)
		confirm(t);
}

void ntm_hs_confirmed(struct ntm_tunnel *t, uint8_t epoch)
{
	if (epoch != t->epoch)
		return;
	t->confirmed = true;
	ntm_timer_stop(&t->node->timers, &t->confirm_timer);
}

void ntm_hs_response(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)msg;
	struct ntm_tunnel_resp_payload p;
	struct ntm_tunnel_keys k;
	struct ntm_tunnel *t;
	bool first;
	int err;

	if (len != sizeof(struct ntm_tunnel_resp))
		return;
	t = ntm_tunnel_by_id(n, be64toh(h->id));
	if (!t || !t->hs || ntm_tunnel_finish(t->hs, msg, len, &k, &p))
		return;
	first = !t->has_keys;
	hs_free(t);
	/* What was not offered can't be chosen. */
	if (be16toh(p.suites) & ~suites(n))
		k.bulk_suite = 0;
	t->peer_mtu = be16toh(p.mtu);
	/*
	 * The first authentic answer decides where the path goes at first; later, checks and authentic packets do. The
	 * responder may have begun with another pair, and follows: if both followed each other, neither would ever
	 * stop.
	 */
	err = first ? n->dp->ops->set_endpoint(n->dp, t->id, from, NTM_HOLD_ENDPOINT_MS) : 0;
	if (first)
		t->route.hold_until_ms = ntm_timers_ms(&n->timers) + NTM_HOLD_ENDPOINT_MS;
	if (!err)
		err = install(t, &k, true);
	ntm_wipe(&k, sizeof(k));
	if (err) {
		ntm_err("path %016" PRIx64 ": keys not set: %s", t->id, strerror(-err));
		if (first)
			ntm_path_end(t, NTM_PATH_END_TELL_DC, "keys not set");
		return;
	}
	t->confirmed = false;
	t->confirm_wait_ms = CONFIRM_MS;
	/* Before what was held for the path: the responder may send from here on. */
	confirm(t);
	if (first)
		ntm_path_keyed(t);
}

/* Requests that came before the DC's Route Direction: mac1 held, so the sender knows this node's key. Bounded. */
static struct early {
	uint64_t at_ms, path_id;
	struct ntm_node *node;
	struct ntm_addr from;
	uint8_t to[16];
	struct ntm_tunnel_req msg;
} early[EARLY_MAX];
static unsigned early_next;

void ntm_hs_early(struct ntm_node *n, uint64_t path_id)
{
	uint64_t now = ntm_timers_ms(&n->timers);

	for (unsigned i = 0; i < EARLY_MAX; i++) {
		struct early *e = &early[i], copy;

		if (e->node != n || e->path_id != path_id)
			continue;
		copy = *e;
		e->node = NULL;
		if (now - copy.at_ms <= EARLY_MS)
			ntm_hs_request(n, &copy.from, copy.to, (uint8_t *)&copy.msg, sizeof(copy.msg));
	}
}

void ntm_hs_early_forget(struct ntm_node *n)
{
	for (unsigned i = 0; i < EARLY_MAX; i++)
		if (early[i].node == n)
			early[i].node = NULL;
}

static void keep_early(struct ntm_node *n, uint64_t path_id, const struct ntm_addr *from, const uint8_t to[16],
		       const uint8_t *msg)
{
	struct early *e = &early[early_next++ % EARLY_MAX];

	*e = (struct early){.at_ms = ntm_timers_ms(&n->timers), .path_id = path_id, .node = n, .from = *from};
	memcpy(e->to, to, 16);
	memcpy(&e->msg, msg, sizeof(e->msg));
}

static bool epoch_allowed(const struct ntm_tunnel *t, uint8_t epoch)
{
	struct ntm_dp_stats s;

	if (!t->has_keys)
		return true;
	if (t->node->dp->ops->stats(t->node->dp, t->id, &s))
		return false;
	/* The first keys again: the initiator never got the answer, nothing was ever sent under them by it. */
	if (!s.last_rx_ns && !t->ctl_rx_ns)
		return epoch == t->epoch;
	return epoch == ((s.tx_epoch + 1) & 15);
}

/* One for the bulk lane, if both have any. */
static uint16_t choose_suites(uint16_t both)
{
	uint8_t bulk = ntm_bulk_suite(both);

	return (uint16_t)(SUITES | (bulk ? 1u << bulk : 0));
}

static void accept_request(struct ntm_tunnel *t, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
			   size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)msg;
	struct ntm_node *n = t->node;
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);
	struct ntm_tunnel_resp_payload p = {0};
	struct ntm_tunnel_req_payload req;
	struct ntm_tunnel_resp resp;
	struct ntm_tunnel_keys k;
	struct ntm_tunnel_req *kept;
	struct ntm_noise ns;
	bool first = !t->has_keys;
	uint8_t epoch = ntm_hdr_epoch(h);
	int err;

	if (!rec || ntm_tunnel_read(&ns, n->priv, n->pub, t->peer_key, rec->psk, msg, len, &req)) {
		ntm_warn_limited("path %016" PRIx64 ": tunnel request that is not from its peer, dropped", t->id);
		return;
	}
	if (be64toh(req.seq) <= rec->hs_seq || !epoch_allowed(t, epoch) || (be16toh(req.suites) & SUITES) != SUITES) {
		ntm_noise_clear(&ns);
		ntm_warn_limited("path %016" PRIx64 ": tunnel request replayed or out of turn, dropped", t->id);
		return;
	}
	kept = t->last_req ? t->last_req : malloc(sizeof(*kept));
	if (!kept) {
		ntm_noise_clear(&ns);
		return;
	}
	t->last_req = kept;
	p.suites = htobe16(choose_suites(be16toh(req.suites) & suites(n)));
	p.mtu = htobe16(ntm_node_uplink_mtu(n, !ntm_ip_is_v4(from->ip)));
	memcpy(p.observed, from->ip, 16);
	p.observed_port = from->port;
	err = ntm_tunnel_answer(&ns, t->id, epoch, &p, &resp, &k);
	if (!err) {
		rec->hs_seq = be64toh(req.seq);
		if (first || !t->ctl_rx_ns)
			err = n->dp->ops->set_endpoint(n->dp, t->id, from, 0);
	}
	if (!err)
		err = install(t, &k, false);
	ntm_wipe(&k, sizeof(k));
	if (err) {
		free(t->last_req);
		t->last_req = NULL;
		ntm_err("path %016" PRIx64 ": request not answered: %s", t->id, strerror(-err));
		return;
	}
	memcpy(t->last_req, msg, sizeof(*t->last_req));
	t->last_resp = resp;
	t->peer_mtu = be16toh(req.mtu);
	n->net.send(n->net.arg, from, to, &resp, sizeof(resp), NTM_SEND_NORMAL);
	if (first)
		ntm_path_keyed(t);
}

void ntm_hs_request(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		    size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)msg;
	struct ntm_cookie_reply cookie;
	struct ntm_tunnel *t;
	uint64_t now = ntm_timers_ms(&n->timers);

	if (len != sizeof(struct ntm_tunnel_req))
		return;
	switch (ntm_cookie_check(&n->jar, msg, len, from, now)) {
	case NTM_MAC_BAD:
		return;
	case NTM_MAC_COOKIE:
		if (!ntm_cookie_reply(&n->jar, msg, len, from, now, &cookie))
			n->net.send(n->net.arg, from, to, &cookie, sizeof(cookie), NTM_SEND_NORMAL);
		return;
	case NTM_MAC_OK:
		break;
	}
	t = ntm_tunnel_by_id(n, be64toh(h->id));
	if (!t) {
		keep_early(n, be64toh(h->id), from, to, msg);
		return;
	}
	if (t->role != NTM_ROLE_RESPONDER)
		return;
	/* Sent again, or to another of our addresses: the same answer. Only mac2 may differ. */
	if (t->last_req && !memcmp(t->last_req, msg, offsetof(struct ntm_tunnel_req, macs))) {
		n->net.send(n->net.arg, from, to, &t->last_resp, sizeof(t->last_resp), NTM_SEND_NORMAL);
		return;
	}
	accept_request(t, from, to, msg, len);
}

void ntm_hs_init_timers(struct ntm_tunnel *t)
{
	ntm_timer_init(&t->hs_timer, on_hs_timer, t);
	ntm_timer_init(&t->confirm_timer, on_confirm_timer, t);
}
