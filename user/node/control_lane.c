/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Suite 8: the two agents' own messages inside a path. Keys, counters and a 64-counter window live in the path's agent
 * record, so they survive the agent; a counter is stored before it is used.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../common/crypto.h"
#include "node.h"

enum { MESSAGE_MAX = NTM_CONTROL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN };

static int seal(struct ntm_tunnel *t, const uint8_t *plain, size_t len, uint8_t *out)
{
	struct ntm_node *n = t->node;
	struct ntm_path_agent *rec = n->dp->ops->agent_record(n->dp, t->id);
	struct ntm_hdr *h = (struct ntm_hdr *)out;
	uint8_t nonce[NTM_NONCE_LEN];
	struct ntm_dp_stats s;
	uint64_t counter;
	unsigned slot;

	if (!rec || n->dp->ops->stats(n->dp, t->id, &s))
		return -ENOENT;
	/* Until the peer has confirmed the newest epoch, it may not have it. */
	slot = s.tx_epoch & 1;
	counter = rec->ctl_tx_counter[slot];
	if (counter >= NTM_COUNTER_LIMIT)
		return -EOVERFLOW;
	rec->ctl_tx_counter[slot] = counter + 1;

	h->ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA;
	h->suite_epoch = (__u8)(NTM_SUITE_CONTROL << 4 | s.tx_epoch);
	h->ctr_hi = htobe16((uint16_t)(counter >> 32));
	h->ctr_lo = htobe32((uint32_t)counter);
	h->id = htobe64(t->id);
	ntm_nonce(nonce, counter);
	return ntm_seal(rec->ctl_tx_key[slot], nonce, h, sizeof(*h), plain, len, out + sizeof(*h));
}

/* from: NULL: where the path's packets are sent from. */
static int send_from(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *to, const uint8_t *from,
		     enum ntm_send_mode mode)
{
	uint8_t plain[MESSAGE_MAX], out[NTM_CONTROL_MAX];
	struct ntm_node *n = t->node;
	struct ntm_dp_stats s;
	uint8_t src[16];
	size_t len;
	int err = ntm_sig_encode(m, plain, sizeof(plain), &len);

	if (!err)
		err = seal(t, plain, len, out);
	if (err)
		return err;
	if (!to) {
		err = n->dp->ops->stats(n->dp, t->id, &s);
		if (err)
			return err;
		to = &s.endpoint;
	}
	if (!to->port)
		return -EDESTADDRREQ;
	err = n->net.send(n->net.arg, to, from ? from : ntm_node_source(n, to, src), out,
			  sizeof(struct ntm_hdr) + len + NTM_TAG_LEN, mode);
	if (!err && !from)
		t->ctl_tx_ns = ntm_timers_ns(&n->timers);
	return err;
}

static int send_message(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *to,
			enum ntm_send_mode mode)
{
	return send_from(t, m, to, NULL, mode);
}

static void note_probe(struct ntm_tunnel *t, uint32_t txid, uint16_t inner, enum ntm_probe_kind kind)
{
	struct ntm_probe *slot = &t->probes[0];

	for (unsigned i = 0; i < NTM_PROBES; i++)
		if (t->probes[i].sent_ns < slot->sent_ns)
			slot = &t->probes[i];
	*slot = (struct ntm_probe){
	    .sent_ns = ntm_timers_ns(&t->node->timers), .txid = txid, .inner = inner, .kind = (uint8_t)kind};
}

int ntm_ctl_probe(struct ntm_tunnel *t, enum ntm_probe_kind kind, enum ntm_msg msg, uint16_t inner, uint32_t *txid)
{
	const unsigned fixed = sizeof(struct ntm_sig_hdr) + 4; /* and the padding field's own header */
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, msg, t->next_txid++);
	/* Sealed, it is as long as a capsulated packet of that size: both add a header and a tag. */
	if (inner > fixed) {
		m.padding_len = (uint16_t)(inner - fixed);
		m.have |= 1u << NTM_F_PADDING;
	}
	/* The peer's packets must fit our uplink, too. */
	if (msg == NTM_M_UPDATE_REQUEST || msg == NTM_M_KEEP_ALIVE) {
		m.mtu = ntm_path_own_mtu(t);
		m.have |= 1u << NTM_F_MTU;
	}
	note_probe(t, m.txid, inner, kind);
	if (txid)
		*txid = m.txid;
	err = send_message(t, &m, NULL, inner ? NTM_SEND_DF : NTM_SEND_NORMAL);
	if (err && err != -EMSGSIZE)
		ntm_debug("path %016" PRIx64 ": %s not sent: %s", t->id, ntm_msg_name(msg), strerror(-err));
	return err;
}

int ntm_ctl_check(struct ntm_tunnel *t, const struct ntm_addr *to, uint8_t flags, uint32_t *txid)
{
	struct ntm_sig m;
	int err;

	if (!*txid) {
		if (!t->next_txid)
			t->next_txid++;
		*txid = t->next_txid++;
	}
	ntm_sig_init(&m, NTM_M_CHECK, *txid);
	if (flags) {
		m.check_flags = flags;
		m.have = 1u << NTM_F_CHECK_FLAGS;
	}
	err = send_message(t, &m, to, NTM_SEND_NORMAL);
	if (err)
		ntm_debug("path %016" PRIx64 ": check not sent: %s", t->id, strerror(-err));
	return err;
}

int ntm_ctl_ask(struct ntm_tunnel *t, const uint8_t src[16], uint32_t txid)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_CHECK, txid);
	return send_from(t, &m, NULL, src, NTM_SEND_NORMAL);
}

int ntm_ctl_update(struct ntm_tunnel *t, const struct ntm_addr *to, uint8_t flags)
{
	bool copies = flags & NTM_CHECK_MOVED && ntm_copies_sent(t);
	struct ntm_sig m;
	int err;

	ntm_sig_init(&m, NTM_M_UPDATE_REQUEST, t->next_txid++);
	m.mtu = ntm_path_own_mtu(t);
	m.n_candidates = ntm_node_candidates(t->node, m.candidates);
	m.have = 1u << NTM_F_MTU | (m.n_candidates ? 1u << NTM_F_CANDIDATE : 0);
	if (flags) {
		m.check_flags = flags | (copies ? NTM_CHECK_STAY : 0);
		m.have |= 1u << NTM_F_CHECK_FLAGS;
	}
	/* The round trip of a way that is not in use is not the path's. */
	if (!to)
		note_probe(t, m.txid, 0, NTM_PROBE_LIVE);
	err = send_message(t, &m, to, NTM_SEND_NORMAL);
	if (err)
		ntm_debug("path %016" PRIx64 ": update not sent: %s", t->id, strerror(-err));
	if (copies && !to)
		ntm_copies_told(t, m.txid);
	return err;
}

int ntm_ctl_release(struct ntm_tunnel *t)
{
	struct ntm_sig m;

	ntm_sig_init(&m, NTM_M_RELEASE, t->next_txid++);
	m.path_id = t->id;
	m.have = 1u << NTM_F_PATH_ID;
	return send_message(t, &m, NULL, NTM_SEND_NORMAL);
}

static void answered(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from)
{
	struct ntm_probe p = {0};
	double ms;

	for (unsigned i = 0; i < NTM_PROBES; i++) {
		if (t->probes[i].sent_ns && t->probes[i].txid == m->txid) {
			p = t->probes[i];
			t->probes[i].sent_ns = 0;
			break;
		}
	}
	if (!p.sent_ns)
		return;
	ms = (double)(ntm_timers_ns(&t->node->timers) - p.sent_ns) / 1e6;
	ntm_route_rtt(t, p.sent_ns, ms);
	if (p.kind == NTM_PROBE_PMTU)
		ntm_pmtu_answered(t, p.inner);
	else if (p.kind == NTM_PROBE_PING && t->node->pong)
		t->node->pong(t->node, t, p.txid, ms, from);
}

static void answer(struct ntm_tunnel *t, const struct ntm_sig *m, enum ntm_msg msg, const struct ntm_addr *from)
{
	struct ntm_sig r;

	ntm_sig_init(&r, msg, m->txid);
	r.reflexive = *from;
	r.have = 1u << NTM_F_REFLEXIVE;
	/* Our own Update may have been lost while there was no route at all. */
	if (msg == NTM_M_UPDATE_RESPONSE) {
		r.n_candidates = ntm_node_candidates(t->node, r.candidates);
		r.have |= r.n_candidates ? 1u << NTM_F_CANDIDATE : 0;
	}
	send_message(t, &r, from, NTM_SEND_NORMAL);
}

static void take_peer_mtu(struct ntm_tunnel *t, const struct ntm_sig *m)
{
	if (!ntm_sig_has(m, NTM_F_MTU) || m->mtu == t->peer_mtu)
		return;
	t->peer_mtu = m->mtu;
	if (t->state == NTM_TUN_UP)
		ntm_pmtu_recheck(t);
}

static void handle(struct ntm_tunnel *t, const struct ntm_sig *m, const struct ntm_addr *from, bool latest)
{
	struct ntm_sig r;

	switch (m->msg) {
	case NTM_M_KEEP_ALIVE:
		take_peer_mtu(t, m);
		answer(t, m, NTM_M_KEEP_ALIVE_RESPONSE, from);
		break;
	case NTM_M_PROBE:
		answer(t, m, NTM_M_PROBE_RESPONSE, from);
		break;
	case NTM_M_UPDATE_REQUEST:
		take_peer_mtu(t, m);
		answer(t, m, NTM_M_UPDATE_RESPONSE, from);
		/* One that was overtaken says where the peer was before. */
		if (ntm_sig_has(m, NTM_F_CANDIDATE) && latest) {
			ntm_check_candidates(t, m);
			ntm_check_start(t, false);
		}
		break;
	case NTM_M_CHECK:
		answer(t, m, NTM_M_CHECK_RESPONSE, from);
		ntm_check_received(t, m, from);
		break;
	case NTM_M_CHECK_RESPONSE:
		ntm_check_answered(t, m, from);
		break;
	case NTM_M_UPDATE_RESPONSE:
		if (ntm_sig_has(m, NTM_F_CANDIDATE))
			ntm_check_candidates(t, m);
		ntm_copies_answered(t, m->txid);
		answered(t, m, from);
		break;
	case NTM_M_KEEP_ALIVE_RESPONSE:
	case NTM_M_PROBE_RESPONSE:
		answered(t, m, from);
		break;
	case NTM_M_RELEASE:
		ntm_path_end(t, NTM_PATH_END_QUIET, "released by the peer");
		break;
	case NTM_M_ERROR:
		ntm_debug("path %016" PRIx64 ": the peer says %s", t->id,
			  ntm_error_name((enum ntm_error)m->error_code));
		break;
	default:
		ntm_sig_init(&r, NTM_M_ERROR, m->txid);
		r.error_code = NTM_E_UNKNOWN_MESSAGE;
		r.have = 1u << NTM_F_ERROR_CODE;
		send_message(t, &r, from, NTM_SEND_NORMAL);
	}
}

/* -EALREADY: seen; -ESTALE: too old. Nothing is noted: the packet may still prove a forgery. */
static int window_check(const struct ntm_path_agent *rec, unsigned slot, uint64_t counter)
{
	uint64_t head = rec->ctl_rx_head[slot];

	if (counter >= head)
		return 0;
	if (head - counter > 64)
		return -ESTALE;
	return rec->ctl_rx_window[slot] >> (head - counter - 1) & 1 ? -EALREADY : 0;
}

/* Returns whether the counter is the newest. Bit n of the window is counter head - 1 - n. */
static bool window_note(struct ntm_path_agent *rec, unsigned slot, uint64_t counter)
{
	uint64_t head = rec->ctl_rx_head[slot], shift;

	if (counter < head) {
		rec->ctl_rx_window[slot] |= 1ULL << (head - counter - 1);
		return false;
	}
	shift = counter + 1 - head;
	rec->ctl_rx_window[slot] = (shift < 64 ? rec->ctl_rx_window[slot] << shift : 0) | 1;
	rec->ctl_rx_head[slot] = counter + 1;
	return true;
}

static void roam(struct ntm_tunnel *t, const struct ntm_addr *from)
{
	struct ntm_dp *dp = t->node->dp;
	struct ntm_dp_stats s;

	if (ntm_route_held(t) || dp->ops->stats(dp, t->id, &s) || ntm_addr_equal(&s.endpoint, from))
		return;
	if (dp->ops->set_endpoint(dp, t->id, from, 0))
		return;
	t->move.followed++;
	ntm_path_moved(t);
}

/*
 * The peer has moved. Where its copies come from, or data that took the relay before it heard of us, moves nothing for
 * a while, wherever its data came from last; that it says so by the relay, too, where an answer is late, changes
 * nothing about that.
 */
static void follow(struct ntm_tunnel *t, const struct ntm_addr *from, uint8_t flags)
{
	if (!(flags & NTM_CHECK_STAY))
		ntm_route_release(t);
	else if (!ntm_bind_is_relay(t, from))
		(void)ntm_route_set(t, from, NTM_HOLD_ENDPOINT_MS, "the peer moved");
}

/* Heard of over the route in use, by the uplink in use? What comes another way says nothing about that one. */
static void note_heard(struct ntm_tunnel *t, const struct ntm_addr *from, const uint8_t to[16])
{
	struct ntm_dp_stats s;

	t->ctl_rx_ns = ntm_timers_ns(&t->node->timers);
	if (t->node->dp->ops->stats(t->node->dp, t->id, &s) || !ntm_addr_equal(&s.endpoint, from) ||
	    ntm_node_is_beside(t->node, to))
		return;
	t->route_rx_ns = t->ctl_rx_ns;
	ntm_live_heard(t);
}

void ntm_ctl_input(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *msg,
		   size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)msg;
	uint64_t counter = (uint64_t)be16toh(h->ctr_hi) << 32 | be32toh(h->ctr_lo);
	struct ntm_tunnel *t = ntm_tunnel_by_id(n, be64toh(h->id));
	unsigned slot = ntm_hdr_epoch(h) & 1;
	uint8_t plain[MESSAGE_MAX], nonce[NTM_NONCE_LEN];
	struct ntm_path_agent *rec;
	struct ntm_sig m;
	bool newest, latest = true;
	int err;

	if (!t || !t->has_keys || len < sizeof(*h) + sizeof(struct ntm_sig_hdr) + NTM_TAG_LEN ||
	    len > NTM_CONTROL_MAX || counter >= NTM_COUNTER_LIMIT)
		return;
	rec = n->dp->ops->agent_record(n->dp, t->id);
	if (!rec || window_check(rec, slot, counter))
		return;
	ntm_nonce(nonce, counter);
	if (ntm_open(rec->ctl_rx_key[slot], nonce, h, sizeof(*h), msg + sizeof(*h), len - sizeof(*h), plain)) {
		ntm_debug("path %016" PRIx64 ": control message that is not authentic", t->id);
		return;
	}
	newest = window_note(rec, slot, counter);
	ntm_path_used(t);
	t = ntm_tunnel_by_id(n, be64toh(h->id));
	if (!t)
		return;
	memset(&m, 0, sizeof(m));
	err = ntm_sig_decode(&m, plain, len - sizeof(*h) - NTM_TAG_LEN);
	if (newest && !err && m.msg == NTM_M_UPDATE_REQUEST && ntm_sig_has(&m, NTM_F_CHECK_FLAGS) &&
	    m.check_flags & NTM_CHECK_MOVED)
		follow(t, from, m.check_flags);
	/* Checks go over routes that are not in use, and so does an Update of one that has moved. */
	if (newest && m.msg != NTM_M_CHECK && m.msg != NTM_M_CHECK_RESPONSE && m.msg != NTM_M_UPDATE_RESPONSE)
		roam(t, from);
	note_heard(t, from, to);
	if (!err && m.msg == NTM_M_CHECK_RESPONSE && ntm_proof_answered(n, m.txid))
		return;
	if (t->role == NTM_ROLE_INITIATOR)
		ntm_hs_confirmed(t, ntm_hdr_epoch(h));

	if (err) {
		ntm_warn_limited("path %016" PRIx64 ": malformed control message", t->id);
		return;
	}
	if (m.msg == NTM_M_UPDATE_REQUEST) {
		latest = ntm_hdr_epoch(h) != t->update_epoch ? newest : counter >= t->update_counter;
		if (latest) {
			t->update_epoch = ntm_hdr_epoch(h);
			t->update_counter = counter;
		}
	}
	handle(t, &m, from, latest);
}
