/* SPDX-License-Identifier: BSD-2-Clause */
#include "admission.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"
#include "../common/relay_crypto.h"

enum {
	VERIFIED_PER_S = 50000, /* XDP lets fewer through on any one CPU; this bounds what they cost together */
	VERIFIED_BURST = 5000,
	LOCALS = 16384, /* a power of two */
};

/* Direct-mapped: an end that lost its place to another is sent to from the address that the kernel chooses. */
struct ntm_admission_local {
	uint64_t path_id;
	uint32_t end;
	uint8_t ip[16];
};

int ntm_admission_init(struct ntm_admission *a, struct ntm_relay_dp *dp, const struct ntm_net *net,
		       struct ntm_timers *timers)
{
	*a = (struct ntm_admission){.dp = dp, .net = *net, .timers = timers, .tokens = VERIFIED_BURST};
	a->refilled_ms = ntm_timers_ms(timers);
	a->held = ntm_held_new();
	a->locals = calloc(LOCALS, sizeof(*a->locals));
	if (a->held && a->locals)
		return 0;
	ntm_admission_free(a);
	return -ENOMEM;
}

void ntm_admission_free(struct ntm_admission *a)
{
	ntm_held_free(a->held);
	free(a->locals);
	free(a->own);
	ntm_wipe(a, sizeof(*a));
}

int ntm_admission_set_own(struct ntm_admission *a, const uint8_t (*ips)[16], size_t n)
{
	uint8_t(*own)[16] = malloc(n ? n * sizeof(*own) : 1);

	if (!own)
		return -ENOMEM;
	memcpy(own, ips, n * sizeof(*own));
	free(a->own);
	a->own = own;
	a->n_own = n;
	return 0;
}

void ntm_admission_set_probe_secret(struct ntm_admission *a, const uint8_t secret[NTM_KEY_LEN])
{
	memcpy(a->probe_secret, secret, NTM_KEY_LEN);
	a->has_probe_secret = true;
}

static bool take_token(struct ntm_admission *a)
{
	uint64_t now = ntm_timers_ms(a->timers), more = (now - a->refilled_ms) * (VERIFIED_PER_S / 1000);

	a->refilled_ms = now;
	a->tokens = more >= VERIFIED_BURST - a->tokens ? VERIFIED_BURST : a->tokens + more;
	if (!a->tokens) {
		a->counters.refused_rate++;
		return false;
	}
	a->tokens--;
	return true;
}

/* 0.0.0.0/8 and 240.0.0.0/4, with the limited broadcast address, are beside what ntm_ip_is_usable() refuses. */
static bool may_be_bound(const struct ntm_admission *a, const struct ntm_addr *from)
{
	if (!from->port || !ntm_ip_is_usable(from->ip))
		return false;
	if (ntm_ip_is_v4(from->ip) && (from->ip[12] == 0 || from->ip[12] >= 240))
		return false;
	for (size_t i = 0; i < a->n_own; i++)
		if (!memcmp(a->own[i], from->ip, 16))
			return false;
	return true;
}

static struct ntm_admission_local *local_slot(struct ntm_admission *a, uint64_t path_id, unsigned end)
{
	return &a->locals[(path_id ^ end) & (LOCALS - 1)];
}

static void remember_local(struct ntm_admission *a, uint64_t path_id, unsigned end, const uint8_t to[16])
{
	struct ntm_admission_local *l = local_slot(a, path_id, end);

	*l = (struct ntm_admission_local){.path_id = path_id, .end = end};
	memcpy(l->ip, to, 16);
}

static const uint8_t *local_of(struct ntm_admission *a, uint64_t path_id, unsigned end)
{
	const struct ntm_admission_local *l = local_slot(a, path_id, end);

	return l->path_id == path_id && l->end == end ? l->ip : NULL;
}

static void send_counted(struct ntm_admission *a, const struct ntm_addr *to, const uint8_t *src, const void *data,
			 size_t len, uint64_t *counter)
{
	int err = a->net.send(a->net.arg, to, src, data, len, NTM_SEND_NORMAL);

	if (!err) {
		(*counter)++;
		return;
	}
	a->counters.failed++;
	ntm_debug("relay: answer not sent: %s", strerror(-err));
}

/* No longer than what it answers, and only to who proved a key. to: own address that it came to; NULL: any. */
static void answer(struct ntm_admission *a, const struct ntm_relay_bind *m, const uint8_t key[NTM_KEY_LEN],
		   const struct ntm_addr *from, const uint8_t *to, unsigned flags, uint64_t *counter)
{
	struct ntm_relay_bound r = {.hdr = m->hdr, .seq = m->seq, .observed_port = from->port};

	r.hdr.ver_type = (uint8_t)(NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_RESP);
	memcpy(r.observed, from->ip, 16);
	r.flags = htons((uint16_t)(flags | (a->draining ? NTM_BOUND_DRAINING : 0)));
	if (ntm_bind_sign(key, &r, sizeof(r))) {
		a->counters.failed++;
		return;
	}
	send_counted(a, from, to, &r, sizeof(r), counter);
}

void ntm_admission_tell(struct ntm_admission *a, uint64_t path_id)
{
	static const enum ntm_role roles[2] = {NTM_ROLE_INITIATOR, NTM_ROLE_RESPONDER};
	struct ntm_relay_bind m = {.hdr.id = htobe64(path_id)};
	struct ntm_relay_dp_path p;
	uint8_t key[NTM_KEY_LEN];

	if (a->dp->ops->get(a->dp, path_id, &p))
		return; /* ended in between */
	for (unsigned end = 0; end < 2; end++) {
		const struct ntm_relay_dp_end *e = &p.ends[end];

		if (!e->addr.port)
			continue;
		m.seq = htobe64(e->seq);
		if (ntm_relay_end_key(p.secret, roles[end], key))
			a->counters.failed++;
		else
			answer(a, &m, key, &e->addr, local_of(a, path_id, end),
			       p.ends[!end].addr.port ? NTM_BOUND_PEER : 0, &a->counters.told);
	}
	ntm_wipe(key, sizeof(key));
	ntm_wipe(&p, sizeof(p));
}

static void on_probe(struct ntm_admission *a, const struct ntm_relay_bind *m, const struct ntm_addr *from,
		     const uint8_t to[16])
{
	uint8_t key[NTM_KEY_LEN];

	if (!may_be_bound(a, from)) {
		a->counters.refused_source++;
		return;
	}
	if (!take_token(a))
		return;
	if (!a->has_probe_secret || ntm_probe_key(a->probe_secret, be64toh(m->hdr.id), key) ||
	    !ntm_bind_verify(key, m, sizeof(*m)))
		a->counters.refused_mac++;
	else
		answer(a, m, key, from, to, 0, &a->counters.probes);
	ntm_wipe(key, sizeof(key));
}

/* Which end's key signed it: 0, 1, or -1. key: that end's. */
static int signer(const struct ntm_relay_dp_path *p, const void *msg, size_t len, uint8_t key[NTM_KEY_LEN])
{
	static const enum ntm_role roles[2] = {NTM_ROLE_INITIATOR, NTM_ROLE_RESPONDER};

	for (int end = 0; end < 2; end++)
		if (!ntm_relay_end_key(p->secret, roles[end], key) && ntm_bind_verify(key, msg, len))
			return end;
	return -1;
}

static void forward(struct ntm_admission *a, const struct ntm_relay_dp_path *p, unsigned to_end,
		    const struct ntm_tunnel_req *m)
{
	send_counted(a, &p->ends[to_end].addr, local_of(a, p->path_id, to_end), m, sizeof(*m), &a->counters.forwarded);
}

static void pass_requests(struct ntm_admission *a, const struct ntm_relay_dp_path *p, unsigned end, const uint8_t *data,
			  size_t len)
{
	uint64_t now = ntm_timers_ms(a->timers);
	struct ntm_tunnel_req m;

	if (len == sizeof(struct ntm_relay_bind_request)) {
		memcpy(&m.hdr, data, sizeof(m.hdr));
		memcpy((uint8_t *)&m + sizeof(m.hdr), data + offsetof(struct ntm_relay_bind_request, request),
		       NTM_REQUEST_BODY_LEN);
		if (p->ends[!end].addr.port)
			forward(a, p, !end, &m);
		else if (ntm_held_put(a->held, p->path_id, end, &m, now))
			a->counters.held++;
	}
	if (p->ends[!end].addr.port && ntm_held_take(a->held, p->path_id, !end, now, &m))
		forward(a, p, end, &m);
}

/* The end's address is `from` from now on. False: refused, counted. */
static bool bind_end(struct ntm_admission *a, struct ntm_relay_dp_path *p, unsigned end, uint64_t seq,
		     const struct ntm_addr *from)
{
	struct ntm_relay_dp_end *e = &p->ends[end];
	char text[NTM_ADDR_STRLEN];
	int err;

	if (seq <= e->seq) {
		a->counters.refused_seq++;
		return false;
	}
	if (p->ends[!end].addr.port && ntm_addr_equal(&p->ends[!end].addr, from)) {
		a->counters.refused_loop++;
		ntm_warn_limited("bind of both ends of a path to %s refused", ntm_addr_format(from, text));
		return false;
	}
	err = a->dp->ops->bind(a->dp, p->path_id, end, from, seq);
	if (err) {
		a->counters.failed++;
		ntm_warn_limited("bind to %s failed: %s", ntm_addr_format(from, text), strerror(-err));
		return false;
	}
	e->addr = *from;
	e->seq = seq;
	return true;
}

static void on_bind(struct ntm_admission *a, struct ntm_relay_dp_path *p, const struct ntm_addr *from,
		    const uint8_t to[16], const uint8_t *data, size_t len)
{
	uint8_t key[NTM_KEY_LEN];
	struct ntm_relay_bind m;
	char text[NTM_ADDR_STRLEN];
	uint64_t *counter = &a->counters.bound;
	const struct ntm_relay_dp_end *e;
	uint64_t seq;
	int end;

	memcpy(&m, data, sizeof(m)); /* of the longer form: all but its request and mac */
	seq = be64toh(m.seq);
	end = signer(p, data, len, key);
	if (end < 0) {
		a->counters.refused_mac++;
		ntm_warn_limited("bind from %s with a wrong mac dropped", ntm_addr_format(from, text));
		goto out;
	}
	e = &p->ends[end];
	/* A resend of the last one, from where that came from: its answer was lost, maybe. */
	if (seq && seq == e->seq && ntm_addr_equal(&e->addr, from))
		counter = &a->counters.repeated;
	else if (!bind_end(a, p, (unsigned)end, seq, from))
		goto out;
	remember_local(a, p->path_id, (unsigned)end, to);
	answer(a, &m, key, from, to, p->ends[!end].addr.port ? NTM_BOUND_PEER : 0, counter);
	pass_requests(a, p, (unsigned)end, data, len);
out:
	ntm_wipe(key, sizeof(key));
}

static bool right_form(const struct ntm_hdr *h, size_t len)
{
	return (len == sizeof(struct ntm_relay_bind) || len == sizeof(struct ntm_relay_bind_request)) && h->id &&
	       !h->ctr_hi && !h->ctr_lo;
}

bool ntm_admission_input(struct ntm_admission *a, const struct ntm_addr *from, const uint8_t to[16],
			 const uint8_t *data, size_t len)
{
	struct ntm_relay_dp_path p;
	struct ntm_relay_bind probe;
	struct ntm_hdr h;

	if (len < sizeof(h))
		return false;
	memcpy(&h, data, sizeof(h));
	if (ntm_hdr_version(&h) != NTM_WIRE_VERSION || ntm_hdr_type(&h) != NTM_T_TUNNEL_REQ)
		return false;
	if (ntm_hdr_suite(&h) == NTM_SUITE_RS_PROBE) {
		if (len != sizeof(probe) || !right_form(&h, len)) {
			a->counters.refused_form++;
			return true;
		}
		memcpy(&probe, data, sizeof(probe));
		on_probe(a, &probe, from, to);
		return true;
	}
	if (!right_form(&h, len) || ntm_hdr_suite(&h)) {
		/* A Tunnel Request proper: XDP relays those; of no relay path, it is for the gateway. */
		if (len == sizeof(struct ntm_tunnel_req) && a->dp->ops->get(a->dp, be64toh(h.id), &p))
			return false;
		ntm_wipe(&p, sizeof(p));
		a->counters.refused_form++;
		return true;
	}
	if (a->dp->ops->get(a->dp, be64toh(h.id), &p)) {
		a->counters.refused_path++;
		return true;
	}
	if (!may_be_bound(a, from))
		a->counters.refused_source++;
	else if (take_token(a))
		on_bind(a, &p, from, to, data, len);
	ntm_wipe(&p, sizeof(p));
	return true;
}
