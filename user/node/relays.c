/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RSs that the DC offers. Each is probed over both families, three times 100 ms apart, at once, after each change
 * of addresses and every minute: the least round trip goes to the DC, which chooses RSs by it; what address an RS
 * observed is a candidate, and the only reflexive one of the family that the session with the DC doesn't use.
 */
#include "relays.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/relay_crypto.h"
#include "node.h"

enum {
	PROBE_EVERY_MS = 100,
	PROBE_WAIT_MS = 800, /* after the last */
	ROUND_EVERY_MS = 60000,
};

static const struct ntm_addr *endpoint_of(const struct ntm_relay_info *r, int v6)
{
	return v6 ? &r->ep6 : &r->ep4;
}

int ntm_relays_ask(struct ntm_node *n, const struct ntm_relay_known *k, bool v6, const uint8_t src[16], uint64_t seq)
{
	const struct ntm_addr *to = endpoint_of(&k->offer.relay, v6);
	struct ntm_relay_bind msg = {0};
	int err;

	if (!to->port)
		return -EDESTADDRREQ;
	msg.hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ;
	msg.hdr.suite_epoch = NTM_SUITE_RS_PROBE << 4;
	msg.hdr.id = htobe64(k->offer.probe_id);
	msg.seq = htobe64(seq);
	err = ntm_bind_sign(k->offer.probe_key, &msg, sizeof(msg));
	return err ? err : n->net.send(n->net.arg, to, src, &msg, sizeof(msg), NTM_SEND_NORMAL);
}

static void send_probe(struct ntm_node *n, struct ntm_relay_known *k, int v6)
{
	const struct ntm_addr *to = endpoint_of(&k->offer.relay, v6);
	struct ntm_relay_seen *seen = &k->seen[v6];
	unsigned slot = n->relays.sends % NTM_RELAY_PROBES;
	uint8_t src[16];
	int err;

	if (!to->port || !ntm_node_has_family(n, v6))
		return;
	seen->seq[slot] = ++n->relays.next_seq;
	seen->sent_ns[slot] = ntm_timers_ns(&n->timers);
	err = ntm_relays_ask(n, k, v6, ntm_node_source(n, to, src), seen->seq[slot]);
	if (err)
		ntm_debug("relay %s: probe not sent: %s", k->offer.relay.name, strerror(-err));
}

static uint32_t rtt_of(const struct ntm_relay_known *k)
{
	return k->seen[0].rtt_us < k->seen[1].rtt_us ? k->seen[0].rtt_us : k->seen[1].rtt_us;
}

/* Tells the DC of reflexive addresses that it cannot see for itself. */
static void tell_reflexive(struct ntm_node *n)
{
	struct ntm_addr seen[NTM_RELAY_OFFERS_MAX];
	struct ntm_relays *rs = &n->relays;
	unsigned count = ntm_relays_reflexive(n, seen, NTM_RELAY_OFFERS_MAX);
	bool same = count == rs->n_told;

	for (unsigned i = 0; i < count && same; i++)
		same = ntm_addr_equal(&seen[i], &rs->told[i]);
	/* After too many moves in a row: what is so when the last of them is told is measured then. */
	if (same || n->mobility.deferred)
		return;
	memcpy(rs->told, seen, sizeof(rs->told));
	rs->n_told = count;
	if (ntm_dc_connected(&n->dc))
		ntm_dc_reregister(&n->dc);
	ntm_node_reflexive_changed(n);
}

static void finish_round(struct ntm_node *n)
{
	bool news = false;

	for (unsigned i = 0; i < n->relays.n; i++) {
		struct ntm_relay_known *k = &n->relays.r[i];
		uint32_t before = rtt_of(k), now;

		for (int v6 = 0; v6 < 2; v6++)
			k->seen[v6].rtt_us = k->seen[v6].round_us;
		now = rtt_of(k);
		/* The DC must not choose by what is no longer so. */
		news |= !k->measured || (before == NTM_RELAY_RTT_NONE) != (now == NTM_RELAY_RTT_NONE);
		k->measured = true;
		ntm_debug("relay %s: %u us", k->offer.relay.name, now);
	}
	n->relays.sends = 0;
	if (news)
		ntm_dc_keepalive_now(&n->dc);
	tell_reflexive(n);
}

static void on_timer(void *arg)
{
	struct ntm_node *n = arg;
	struct ntm_relays *rs = &n->relays;

	if (!rs->n)
		return;
	if (rs->sends == NTM_RELAY_PROBES) {
		finish_round(n);
		ntm_timer_arm_coarse(&n->timers, &rs->timer, ROUND_EVERY_MS, 1000);
		return;
	}
	for (unsigned i = 0; i < rs->n; i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			if (!rs->sends)
				rs->r[i].seen[v6].round_us = NTM_RELAY_RTT_NONE;
			send_probe(n, &rs->r[i], v6);
		}
	}
	rs->sends++;
	ntm_timer_arm(&n->timers, &rs->timer, rs->sends < NTM_RELAY_PROBES ? PROBE_EVERY_MS : PROBE_WAIT_MS);
}

void ntm_relays_measure(struct ntm_node *n)
{
	struct ntm_relays *rs = &n->relays;

	rs->sends = 0;
	for (unsigned i = 0; i < rs->n; i++)
		for (int v6 = 0; v6 < 2; v6++)
			rs->r[i].seen[v6].observed = (struct ntm_addr){0};
	if (rs->n)
		ntm_timer_arm(&n->timers, &rs->timer, 1);
}

static struct ntm_relay_known *known(struct ntm_node *n, const char *name)
{
	for (unsigned i = 0; i < n->relays.n; i++)
		if (!strcmp(n->relays.r[i].offer.relay.name, name))
			return &n->relays.r[i];
	return NULL;
}

void ntm_relays_offered(struct ntm_node *n, const struct ntm_sig *m, bool all)
{
	struct ntm_relay_known now[NTM_RELAY_OFFERS_MAX];
	struct ntm_relays *rs = &n->relays;
	bool news = false;

	if (!ntm_sig_has(m, NTM_F_RELAY_OFFER) && !all)
		return;
	for (unsigned i = 0; i < m->n_offers; i++) {
		const struct ntm_relay_offer *o = &m->offers[i];
		const struct ntm_relay_known *k = known(n, o->relay.name);

		if (k && ntm_addr_equal(&k->offer.relay.ep4, &o->relay.ep4) &&
		    ntm_addr_equal(&k->offer.relay.ep6, &o->relay.ep6)) {
			now[i] = *k;
			now[i].offer = *o;
			continue;
		}
		now[i] = (struct ntm_relay_known){.offer = *o};
		for (int v6 = 0; v6 < 2; v6++)
			now[i].seen[v6].rtt_us = now[i].seen[v6].round_us = NTM_RELAY_RTT_NONE;
		news = true;
	}
	memcpy(rs->r, now, m->n_offers * sizeof(now[0]));
	rs->n = m->n_offers;
	ntm_wipe(now, sizeof(now));
	if (news)
		ntm_relays_measure(n);
}

void ntm_relays_report(const struct ntm_node *n, struct ntm_sig *m)
{
	m->n_rtts = 0;
	for (unsigned i = 0; i < n->relays.n; i++) {
		const struct ntm_relay_known *k = &n->relays.r[i];

		if (!k->measured)
			continue;
		memcpy(m->rtts[m->n_rtts].name, k->offer.relay.name, sizeof(m->rtts[0].name));
		m->rtts[m->n_rtts++].rtt_us = rtt_of(k);
	}
	if (m->n_rtts)
		m->have |= 1u << NTM_F_RELAY_RTT;
}

void ntm_relays_answer(struct ntm_node *n, const struct ntm_addr *from, const uint8_t *msg, size_t len)
{
	const struct ntm_relay_bound *m = (const struct ntm_relay_bound *)msg;
	uint64_t now = ntm_timers_ns(&n->timers);

	if (len != sizeof(*m))
		return;
	for (unsigned i = 0; i < n->relays.n; i++) {
		struct ntm_relay_known *k = &n->relays.r[i];
		struct ntm_relay_seen *seen = &k->seen[!ntm_ip_is_v4(from->ip)];

		if (k->offer.probe_id != be64toh(m->hdr.id) ||
		    !ntm_addr_equal(from, endpoint_of(&k->offer.relay, !ntm_ip_is_v4(from->ip))) ||
		    !ntm_bind_verify(k->offer.probe_key, msg, len))
			continue;
		if (be64toh(m->seq) >> 32 == NTM_RELAY_ASKED) {
			ntm_proof_answered(n, (uint32_t)be64toh(m->seq));
			return;
		}
		for (unsigned j = 0; j < NTM_RELAY_PROBES; j++) {
			uint64_t us = (now - seen->sent_ns[j]) / 1000u;

			if (!seen->sent_ns[j] || seen->seq[j] != be64toh(m->seq))
				continue;
			seen->sent_ns[j] = 0;
			if (us < seen->round_us)
				seen->round_us = (uint32_t)us;
			memcpy(seen->observed.ip, m->observed, 16);
			seen->observed.port = m->observed_port;
		}
		return;
	}
}

bool ntm_relays_prefer_v6(const struct ntm_node *n, const struct ntm_relay_info *r)
{
	bool both = r->ep4.port && r->ep6.port && ntm_node_has_family(n, false) && ntm_node_has_family(n, true);

	if (!both)
		return !r->ep4.port || (n->n_uplinks && !ntm_node_has_family(n, false));
	for (unsigned i = 0; i < n->relays.n; i++) {
		const struct ntm_relay_known *k = &n->relays.r[i];

		if (k->measured && ntm_addr_equal(&k->offer.relay.ep4, &r->ep4))
			return k->seen[0].rtt_us == NTM_RELAY_RTT_NONE && k->seen[1].rtt_us != NTM_RELAY_RTT_NONE;
	}
	return false;
}

const char *ntm_relays_name(const struct ntm_node *n, const struct ntm_addr *a)
{
	for (unsigned i = 0; i < n->relays.n; i++) {
		const struct ntm_relay_info *r = &n->relays.r[i].offer.relay;

		if (a->port && (ntm_addr_equal(a, &r->ep4) || ntm_addr_equal(a, &r->ep6)))
			return r->name;
	}
	return NULL;
}

static unsigned add_seen(const struct ntm_node *n, const struct ntm_addr *a, struct ntm_addr *out, unsigned count,
			 unsigned cap)
{
	if (!a->port || count == cap || ntm_node_has_addr(n, a->ip))
		return count;
	/* Where the port depends on who looks, another one's is no better a guess than the first. */
	for (unsigned i = 0; i < count; i++)
		if (!memcmp(out[i].ip, a->ip, 16))
			return count;
	out[count] = *a;
	return count + 1;
}

unsigned ntm_relays_reflexive(const struct ntm_node *n, struct ntm_addr *out, unsigned cap)
{
	unsigned count = add_seen(n, &n->dc.reflexive, out, 0, cap);

	for (unsigned i = 0; i < n->relays.n; i++)
		for (int v6 = 0; v6 < 2; v6++)
			count = add_seen(n, &n->relays.r[i].seen[v6].observed, out, count, cap);
	return count;
}

void ntm_relays_init(struct ntm_node *n)
{
	ntm_timer_init(&n->relays.timer, on_timer, n);
}

void ntm_relays_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->relays.timer);
	ntm_wipe(n->relays.r, sizeof(n->relays.r));
	n->relays.n = 0;
}
