/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes of this DC: sessions with each other, who is there, who died. */
#include "cluster_int.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/wire.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "clock.h"

enum {
	TICK_MS = 10,
	HELLO_MS = 100,
	SILENT_MS = 350, /* then the store is asked whether it lives */
	ASK_MS = 100,    /* again */
	DEAD_MS = 1500,  /* whatever the store says */
	STALL_MS = 200,  /* we were not there to hear */
	RETRY_MS = 250,  /* handshakes */
	REFRESH_MS = 1000,
	ADOPT_MS = 1500, /* who was to invite an orphan has had its time */
	RENEW_MS = NTM_DC_SESSION_LIFETIME_S * 800,
};

uint64_t ntm_dc_cluster_stamp(struct ntm_dc_cluster *c)
{
	struct timespec ts = ntm_dc_wall();
	uint64_t now;

	/* of processes on hosts with clocks of their own: what was heard of is never later than what follows it */
	now = (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
	c->stamp = now > c->stamp ? now : c->stamp + 1;
	return c->stamp;
}

void ntm_dc_cluster_send(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m)
{
	uint8_t data[NTM_DC_DATAGRAM_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN];
	size_t len;
	int err;

	if (!p->sessions[0])
		return;
	err = ntm_cluster_encode(m, data, sizeof(data), &len);
	if (err)
		ntm_warn_limited("a message to another process of this DC is too long: %s", strerror(-err));
	else
		ntm_dc_send_encoded(dc, p->sessions[0], data, len);
	if (m->fields & 1u << NTM_CF_MESSAGE)
		ntm_wipe(data, sizeof(data)); /* a PSK may be in it */
}

static struct ntm_dc_process *by_holder(const struct ntm_dc_cluster *c, uint64_t holder)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (c->items[i]->holder == holder)
			return c->items[i];
	}
	return NULL;
}

static struct ntm_dc_process *add(struct ntm_dc *dc, uint64_t holder)
{
	struct ntm_dc_cluster *c = dc->cluster;
	struct ntm_dc_process *p = c->n < NTM_DC_PROCESSES_MAX ? calloc(1, sizeof(*p)) : NULL;

	if (!p || ntm_cookie_client_init(&p->cookies, dc->pub)) {
		free(p);
		ntm_warn_limited("another process of this DC is left out: there are more than %d, or no memory is left",
				 NTM_DC_PROCESSES_MAX);
		return NULL;
	}
	p->holder = holder;
	c->items[c->n++] = p;
	ntm_dc_cluster_restart(dc, p, 0);
	return p;
}

static void end_handshake(struct ntm_dc_process *p)
{
	if (p->shaking)
		ntm_noise_clear(&p->init.noise);
	p->shaking = false;
}

static void end_sessions(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	end_handshake(p);
	while (p->sessions[0])
		ntm_dc_session_remove(&dc->sessions, p->sessions[0]);
}

static void drop(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	struct ntm_dc_cluster *c = dc->cluster;

	end_sessions(dc, p);
	for (unsigned i = 0; i < c->n; i++) {
		if (c->items[i] == p)
			c->items[i] = c->items[--c->n];
	}
	ntm_wipe(p, sizeof(*p));
	free(p);
}

static void begin_handshake(struct ntm_dc *dc, struct ntm_dc_process *p)
{
	static const struct ntm_addr any;
	uint64_t now = ntm_dc_now(dc);
	int err = -EAFNOSUPPORT;

	p->next_try_ms = now + RETRY_MS;
	end_handshake(p);
	for (size_t i = 0; err && i < p->n_addrs; i++)
		err = ntm_dc_net_route(dc->net, &p->addrs[p->next_addr++ % p->n_addrs], &any, &p->route);
	if (!err)
		err = ntm_session_begin(&p->init, dc->priv, dc->pub, dc->pub, &p->cookies, now);
	if (err) {
		if (p->n_addrs)
			ntm_warn_limited("another process of this DC cannot be called: %s", strerror(-err));
		return;
	}
	p->shaking = true;
	ntm_dc_net_send(dc->net, &p->route, &p->init.msg, sizeof(p->init.msg));
}

static void send_hello(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_dc_process *p)
{
	struct ntm_cluster m = {
	    .msg = NTM_C_HELLO,
	    .fields = 1u << NTM_CF_HOLDER | 1u << NTM_CF_TO | 1u << NTM_CF_STAMP | 1u << NTM_CF_HAVE,
	    .holder = dc->cluster->holder,
	    .to = p ? p->holder : 0,
	    .stamp = ntm_dc_cluster_stamp(dc->cluster),
	    .have = p ? p->have : 0,
	};
	uint8_t data[128];
	size_t len;

	if (!ntm_cluster_encode(&m, data, sizeof(data), &len))
		ntm_dc_send_encoded(dc, s, data, len);
}

static const char *text_of(const struct ntm_dc_process *p, char text[NTM_ADDR_STRLEN])
{
	static const struct ntm_addr nowhere;

	return ntm_addr_format(p->sessions[0] ? &p->sessions[0]->route.peer
			       : p->n_addrs   ? &p->addrs[0]
					      : &nowhere,
			       text);
}

/* Its nodes are invited by those that are left. lives: only out of reach; it may come back. */
static void died(struct ntm_dc *dc, struct ntm_dc_process *p, bool lives)
{
	struct ntm_dc_cluster *c = dc->cluster;
	char text[NTM_ADDR_STRLEN];

	ntm_warn("the process of this DC at %s is %s: its nodes are invited", text_of(p, text),
		 lives ? "out of reach" : "gone");
	c->stats.died++;
	p->up = false;
	p->have = 0; /* should it come back, it tells everything again */
	ntm_dc_cluster_orphan(dc, p);
	c->orphans_ms = ntm_dc_now(dc) + ADOPT_MS;
	end_sessions(dc, p);
	if (lives)
		return;
	dc->store->ops->leave(dc->store, p->holder);
	drop(dc, p);
}

static bool check_alive(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t now)
{
	uint64_t silent = now - p->heard_ms;

	if (!p->up || silent < SILENT_MS)
		return true;
	if (silent >= DEAD_MS) {
		died(dc, p, dc->store->ops->process_gone(dc->store, p->holder) != 0);
		return false;
	}
	if (now - p->asked_ms < ASK_MS)
		return true;
	p->asked_ms = now;
	if (dc->store->ops->process_gone(dc->store, p->holder))
		return true;
	died(dc, p, false);
	return false;
}

static void tend(struct ntm_dc *dc, struct ntm_dc_process *p, uint64_t now, bool hello)
{
	const struct ntm_dc_session *s = p->sessions[0];

	if ((!s || now - s->keys.created_ms >= RENEW_MS) && now >= p->next_try_ms)
		begin_handshake(dc, p);
	if (!s)
		return;
	if (hello) {
		send_hello(dc, p->sessions[0], p);
		ntm_dc_cluster_tell_revoked(dc, p);
	}
	ntm_dc_cluster_tell(dc, p);
}

static void on_tick(uv_timer_t *t)
{
	struct ntm_dc *dc = t->data;
	struct ntm_dc_cluster *c = dc->cluster;
	uint64_t now = ntm_dc_now(dc);
	bool hello = now - c->hello_ms >= HELLO_MS, stalled = now - c->tick_ms >= STALL_MS;

	c->tick_ms = now;
	ntm_dc_cluster_read_changes(dc);
	if (now - c->refresh_ms >= REFRESH_MS)
		ntm_dc_cluster_refresh(dc);
	if (hello)
		c->hello_ms = now;
	for (unsigned i = c->n; i--;) {
		struct ntm_dc_process *p = c->items[i];

		if (stalled)
			p->heard_ms = now;
		if (check_alive(dc, p, now))
			tend(dc, p, now, hello);
	}
	if (c->orphans_ms && now >= c->orphans_ms) {
		c->orphans_ms = 0;
		ntm_dc_cluster_invite_all(dc);
	}
}

struct refresh {
	struct ntm_dc *dc;
	bool me;
};

static int see_process(void *arg, const struct ntm_process_record *rec)
{
	struct refresh *r = arg;
	struct ntm_dc_process *p;

	if (rec->holder == r->dc->cluster->holder) {
		r->me = true;
		return 0;
	}
	p = by_holder(r->dc->cluster, rec->holder);
	if (!p)
		p = add(r->dc, rec->holder);
	if (!p)
		return 0;
	memcpy(p->addrs, rec->addrs, sizeof(p->addrs));
	p->n_addrs = rec->n_addrs;
	return 0;
}

void ntm_dc_cluster_refresh(struct ntm_dc *dc)
{
	struct ntm_dc_cluster *c = dc->cluster;
	struct refresh r = {.dc = dc};

	int err = dc->store->ops->each_process(dc->store, see_process, &r);

	c->refresh_ms = ntm_dc_now(dc);
	for (unsigned i = c->n; !err && i--;) {
		struct ntm_dc_process *p = c->items[i];

		if (!p->up && !dc->store->ops->process_gone(dc->store, p->holder)) {
			dc->store->ops->leave(dc->store, p->holder);
			drop(dc, p);
		}
	}
	if (err || r.me)
		return;
	/* somebody thought us dead, or the server went back to an older state */
	if (dc->store->ops->join(dc->store, &c->me))
		ntm_warn_limited("other processes of this DC may not find this one: the store failed");
}

static bool wildcard(const struct ntm_addr *a)
{
	static const uint8_t zero[4];
	uint8_t any4[16];

	ntm_ip_from_v4(any4, zero);
	return ntm_ip_is_zero(a->ip) || !memcmp(a->ip, any4, 16);
}

static void take_addresses(const struct ntm_dc *dc, struct ntm_process_record *me)
{
	const struct ntm_addr_list *l = &dc->conf->process_address;

	for (size_t i = 0; i < l->n && me->n_addrs < NTM_STORE_PROCESS_ADDRS; i++)
		me->addrs[me->n_addrs++] = l->addrs[i];
	for (size_t i = 0; !l->n && i < dc->conf->listen.n && me->n_addrs < NTM_STORE_PROCESS_ADDRS; i++) {
		const struct ntm_addr *a = ntm_dc_net_bound(dc->net, (uint16_t)i);

		if (!wildcard(a))
			me->addrs[me->n_addrs++] = *a;
	}
}

int ntm_dc_cluster_start(struct ntm_dc *dc, char *why, size_t cap)
{
	struct ntm_dc_cluster *c;
	int err;

	if (!dc->store->ops->join)
		return 0;
	c = calloc(1, sizeof(*c));
	if (!c) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	TAILQ_INIT(&c->told);
	c->holder = c->me.holder = dc->store->ops->holder(dc->store);
	memcpy(c->me.public_key, dc->pub, sizeof(c->me.public_key));
	take_addresses(dc, &c->me);
	if (!c->me.n_addrs)
		ntm_warn("listen says on which addresses, but not where that is: other processes of this DC can't find "
			 "this one without process_address");
	err = dc->store->ops->join(dc->store, &c->me);
	if (err) {
		snprintf(why, cap,
			 err == -EBUSY ? "the store is in use by an ntm-dc with another private key"
				       : "the store failed");
		free(c);
		return err;
	}
	dc->cluster = c;
	c->tick_ms = ntm_dc_now(dc);
	uv_timer_init(dc->loop, &c->timer);
	c->timer.data = dc;
	uv_timer_start(&c->timer, on_tick, 0, TICK_MS);
	ntm_dc_cluster_refresh(dc);
	return 0;
}

static void timer_closed(uv_handle_t *h)
{
	free(ntm_container_of((uv_timer_t *)h, struct ntm_dc_cluster, timer));
}

void ntm_dc_cluster_stop(struct ntm_dc *dc)
{
	struct ntm_dc_cluster *c = dc->cluster;
	struct ntm_dc_node *node;

	if (!c)
		return;
	while (c->n)
		drop(dc, c->items[0]);
	while ((node = TAILQ_FIRST(&c->told))) {
		TAILQ_REMOVE(&c->told, node, told_link);
		node->told = false;
	}
	dc->store->ops->leave(dc->store, c->holder);
	dc->cluster = NULL;
	uv_close((uv_handle_t *)&c->timer, timer_closed);
}

static void put_first(struct ntm_dc_process *p, struct ntm_dc_session *s)
{
	unsigned at = 0;

	while (at < NTM_DC_PROCESS_SESSIONS - 1 && p->sessions[at] && p->sessions[at] != s)
		at++;
	for (; at; at--)
		p->sessions[at] = p->sessions[at - 1];
	p->sessions[0] = s;
}

static void bind_session(struct ntm_dc *dc, struct ntm_dc_process *p, struct ntm_dc_session *s)
{
	if (s->process == p)
		return;
	if (p->sessions[NTM_DC_PROCESS_SESSIONS - 1])
		ntm_dc_session_remove(&dc->sessions, p->sessions[NTM_DC_PROCESS_SESSIONS - 1]);
	ntm_dc_session_keep(&dc->sessions, s, ntm_dc_now(dc));
	s->process = p;
	put_first(p, s);
}

void ntm_dc_cluster_session_gone(struct ntm_dc_session *s)
{
	struct ntm_dc_process *p = s->process;
	unsigned kept = 0;

	for (unsigned i = 0; i < NTM_DC_PROCESS_SESSIONS; i++) {
		if (p->sessions[i] && p->sessions[i] != s)
			p->sessions[kept++] = p->sessions[i];
	}
	while (kept < NTM_DC_PROCESS_SESSIONS)
		p->sessions[kept++] = NULL;
}

bool ntm_dc_cluster_owns(const struct ntm_dc *dc, const struct ntm_dc_session *s)
{
	return dc->cluster && !memcmp(s->keys.peer_key, dc->pub, NTM_DH_LEN);
}

static struct ntm_dc_process *shaking_with(const struct ntm_dc *dc, const uint8_t *data)
{
	const struct ntm_hdr *hdr = (const void *)data;

	for (unsigned i = 0; dc->cluster && i < dc->cluster->n; i++) {
		struct ntm_dc_process *p = dc->cluster->items[i];

		if (p->shaking && be64toh(hdr->id) == p->init.local_id)
			return p;
	}
	return NULL;
}

bool ntm_dc_cluster_answer(struct ntm_dc *dc, const struct ntm_dc_route *from, const uint8_t *data, size_t len)
{
	struct ntm_dc_process *p = shaking_with(dc, data);
	struct ntm_session keys;
	struct ntm_dc_session *s;

	if (!p || ntm_session_finish(&p->init, data, len, ntm_dc_now(dc), &keys))
		return false;
	p->shaking = false;
	keys.confirmed = true; /* the answer to our own ephemeral key is proof enough */
	s = ntm_dc_session_find(&dc->sessions, keys.local_id)
		? NULL
		: ntm_dc_session_add(&dc->sessions, &keys, from, ntm_dc_now(dc));
	ntm_session_clear(&keys);
	/* whose it is, its Hello says: another process may have this address now, or it is ourselves */
	if (s)
		send_hello(dc, s, p);
	return true;
}

bool ntm_dc_cluster_cookie(struct ntm_dc *dc, const uint8_t *data, size_t len)
{
	struct ntm_dc_process *p = shaking_with(dc, data);
	uint64_t now = ntm_dc_now(dc);

	if (!p || len != sizeof(struct ntm_cookie_reply) || ntm_cookie_consume(&p->cookies, (const void *)data, now) ||
	    ntm_cookie_sign(&p->cookies, &p->init.msg, sizeof(p->init.msg), now))
		return false;
	ntm_dc_net_send(dc->net, &p->route, &p->init.msg, sizeof(p->init.msg));
	return true;
}

/* False: the session is gone. */
static bool on_hello(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_cluster *m)
{
	struct ntm_dc_cluster *c = dc->cluster;
	struct ntm_dc_process *p = by_holder(c, m->holder);
	char text[NTM_ADDR_STRLEN];
	bool fresh = !s->process;

	if (!m->holder || m->holder == c->holder) { /* an address of ours */
		ntm_dc_session_remove(&dc->sessions, s);
		return false;
	}
	if (s->process && s->process != p)
		return true;
	if (!p)
		p = add(dc, m->holder);
	if (!p)
		return true;
	bind_session(dc, p, s);
	if (!p->up) {
		ntm_info("the process of this DC at %s is there", text_of(p, text));
		ntm_dc_cluster_restart(dc, p, m->to == c->holder ? m->have : 0);
	}
	p->up = true;
	if (m->to == c->holder)
		ntm_dc_cluster_acked(dc, p, m->have);
	if (fresh)
		send_hello(dc, s, p);
	return true;
}

void ntm_dc_cluster_message(struct ntm_dc *dc, struct ntm_dc_session *s, const uint8_t *data, size_t len)
{
	struct ntm_cluster m;

	if (ntm_cluster_decode(&m, data, len)) {
		dc->counters.malformed++;
		ntm_warn_limited("malformed message from another process of this DC");
		return;
	}
	if (m.stamp > dc->cluster->stamp)
		dc->cluster->stamp = m.stamp;
	if (m.msg == NTM_C_HELLO && !on_hello(dc, s, &m))
		return;
	if (!s->process || !s->process->up)
		return;
	put_first(s->process, s);
	s->process->heard_ms = ntm_dc_now(dc);
	switch (m.msg) {
	case NTM_C_NODE:
		ntm_dc_cluster_on_node(dc, s->process, &m);
		return;
	case NTM_C_HAVE:
		ntm_dc_cluster_acked(dc, s->process, m.have);
		return;
	case NTM_C_PASS:
		ntm_dc_cluster_on_pass(dc, s->process, &m);
		return;
	case NTM_C_HEARD:
		ntm_dc_cluster_on_heard(dc, s->process, &m);
		return;
	case NTM_C_GONE:
		ntm_dc_cluster_on_gone(dc, &m);
		return;
	default: /* a newer version's */
		return;
	}
}

bool ntm_dc_cluster_joined(const struct ntm_dc *dc)
{
	return dc->cluster && dc->cluster->n;
}

bool ntm_dc_cluster_stats(const struct ntm_dc *dc, struct ntm_dc_cluster_stats *out)
{
	const struct ntm_dc_cluster *c = dc->cluster;

	if (!c)
		return false;
	*out = c->stats;
	out->processes = c->n;
	for (unsigned i = 0; i < c->n; i++)
		out->up += c->items[i]->up;
	return true;
}

void ntm_dc_cluster_each(const struct ntm_dc *dc, ntm_dc_cluster_visit visit, void *arg)
{
	char text[NTM_ADDR_STRLEN];

	for (unsigned i = 0; dc->cluster && i < dc->cluster->n; i++)
		visit(arg, dc->cluster->items[i]->holder, dc->cluster->items[i]->up,
		      text_of(dc->cluster->items[i], text));
}
