/* SPDX-License-Identifier: BSD-2-Clause */
#include "nodeworld.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"

static uint64_t clock_now;
static struct world *the_world;

uint64_t world_ns(void)
{
	return clock_now;
}

void world_skip(unsigned ms)
{
	clock_now += ms * 1000000ull;
}

static uint64_t now_ms(void)
{
	return clock_now / 1000000u;
}

static struct ntm_addr address(int who, bool v6)
{
	struct ntm_addr a = {.port = htons(NTM_PORT)};

	ntm_ip_parse(v6 ? "fd00::1" : "10.0.0.1", a.ip);
	a.ip[15] = (uint8_t)(who + 1);
	return a;
}

static int owner(const struct ntm_addr *a)
{
	for (int i = 0; i <= WORLD_DC; i++) {
		struct ntm_addr v4 = address(i, false), v6 = address(i, true);

		/* Any port: a test may play a NAT. */
		if (!memcmp(a->ip, v4.ip, 16) || !memcmp(a->ip, v6.ip, 16))
			return i;
	}
	return -1;
}

static void put(struct world *w, int from, const struct ntm_addr *to, const void *data, size_t len)
{
	struct world_packet *p = calloc(1, sizeof(*p));

	cr_assert_not_null(p);
	cr_assert_leq(len, sizeof(p->data));
	p->from = from;
	p->to = owner(to);
	p->src = address(from, !ntm_ip_is_v4(to->ip));
	p->dst = *to;
	p->at_ms = now_ms() + 1;
	p->len = len;
	memcpy(p->data, data, len);
	w->seen[p->data[0] & 15]++;
	if (w->see)
		w->see(w, p);
	if (p->to < 0 || (w->drop && w->drop(w, p))) {
		free(p);
		return;
	}
	*w->tail = p;
	w->tail = &p->next;
}

static int index_of(const struct ntm_node *n)
{
	return n == the_world->n[0] ? 0 : 1;
}

static int node_send(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		     enum ntm_send_mode mode)
{
	const struct ntm_hdr *h = data;
	struct ntm_node *n = arg;

	(void)src;
	(void)mode;
	if (ntm_hdr_type(h) == NTM_T_DATA && ntm_hdr_suite(h) == NTM_SUITE_KERNEL) {
		struct ntm_dp_fake_path *p = ntm_dp_fake_path(n->dp, be64toh(h->id));

		if (p)
			p->stats.last_tx_ns = clock_now;
	}
	put(the_world, index_of(n), to, data, len);
	return 0;
}

/* What node_decap does. */
static void kernel_receives(struct ntm_node *n, const struct world_packet *pkt)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)pkt->data;
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(n->dp, be64toh(h->id));
	uint8_t epoch = ntm_hdr_epoch(h);

	if (!p || !p->has_keys[epoch & 1] || p->keys[epoch & 1].epoch != epoch)
		return;
	p->stats.last_rx_ns = clock_now;
	p->stats.rx_packets += pkt->len > sizeof(*h) + NTM_TAG_LEN;
	if (p->next_epoch == epoch)
		ntm_dp_fake_confirm_epoch(n->dp, p->path.path_id);
	if (!ntm_addr_equal(&p->path.endpoint, &pkt->src))
		ntm_dp_fake_roamed(n->dp, p->path.path_id, &pkt->src);
	n->dp->ops->dispatch(n->dp);
}

/* ---- the DC ---- */

static struct world_session *session_by_id(struct world *w, uint64_t id, int *node)
{
	for (int i = 0; i < WORLD_NODES; i++) {
		if (w->dc.sessions[i].used && w->dc.sessions[i].s.local_id == id) {
			*node = i;
			return &w->dc.sessions[i];
		}
	}
	return NULL;
}

void world_dc_send(struct world *w, int node, struct ntm_sig *m)
{
	uint8_t plain[NTM_SIGNAL_MAX], out[NTM_SIGNAL_MAX];
	struct world_session *s = &w->dc.sessions[node];
	size_t len, out_len;

	cr_assert(s->used);
	cr_assert_eq(ntm_sig_encode(m, plain, sizeof(plain) - 32, &len), 0);
	cr_assert_eq(ntm_session_seal(&s->s, plain, len, out, sizeof(out), &out_len), 0);
	put(w, WORLD_DC, &s->peer, out, out_len);
}

static void vips(int node, uint8_t vip4[4], uint8_t vip6[16])
{
	uint8_t ip[16];

	ntm_ip_parse("100.96.0.1", ip);
	ip[15] = (uint8_t)(node + 1);
	memcpy(vip4, ip + 12, 4);
	ntm_ip_parse("fd4e:544d::1", vip6);
	vip6[15] = (uint8_t)(node + 1);
}

static void dc_register(struct world *w, int node, uint32_t txid)
{
	struct ntm_sig r;

	w->dc.registrations++;
	if (w->dc.refuse) {
		ntm_sig_init(&r, NTM_M_ERROR, txid);
		r.error_code = NTM_E_BAD_TOKEN;
		r.have = 1u << NTM_F_ERROR_CODE;
		world_dc_send(w, node, &r);
		return;
	}
	ntm_sig_init(&r, NTM_M_REGISTRATION_RESPONSE, txid);
	snprintf(r.name, sizeof(r.name), "%s.ntm.example", node ? "bob" : "alice");
	strcpy(r.zone, "ntm.example");
	vips(node, r.vip4, r.vip6);
	ntm_prefix_parse("100.96.0.0/12", &r.pool4);
	ntm_prefix_parse("fd4e:544d::/48", &r.pool6);
	r.reflexive = w->dc.sessions[node].peer;
	r.lifetime_s = 120;
	r.keepalive_s = 15;
	r.have = 1u << NTM_F_NAME | 1u << NTM_F_ZONE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 | 1u << NTM_F_POOL4 |
		 1u << NTM_F_POOL6 | 1u << NTM_F_REFLEXIVE | 1u << NTM_F_LIFETIME | 1u << NTM_F_KEEPALIVE;
	world_dc_send(w, node, &r);
}

static void fill(struct world *w, struct ntm_sig *m, int to, enum ntm_role role, const struct ntm_sig *key)
{
	int other = !to;

	m->path_id = key->path_id;
	memcpy(m->psk, key->psk, sizeof(m->psk));
	m->role = role;
	snprintf(m->name, sizeof(m->name), "%s.ntm.example", other ? "bob" : "alice");
	vips(other, m->vip4, m->vip6);
	memcpy(m->public_key, w->n[other]->pub, NTM_DH_LEN);
	m->n_candidates = 2;
	for (int i = 0; i < 2; i++)
		m->candidates[i] = (struct ntm_candidate){.addr = address(other, i), .kind = NTM_CAND_HOST};
	m->have = 1u << NTM_F_PATH_ID | 1u << NTM_F_PSK | 1u << NTM_F_ROLE | 1u << NTM_F_NAME | 1u << NTM_F_VIP4 |
		  1u << NTM_F_VIP6 | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_CANDIDATE;
	w->dc.last_direction[to] = *m;
}

static void dc_error(struct world *w, int node, uint32_t txid, enum ntm_error e)
{
	struct ntm_sig r;

	ntm_sig_init(&r, NTM_M_ERROR, txid);
	r.error_code = (uint16_t)e;
	r.have = 1u << NTM_F_ERROR_CODE;
	world_dc_send(w, node, &r);
}

static void dc_direct(struct world *w, int node, const struct ntm_sig *m)
{
	struct ntm_sig mine, theirs, key = {0};
	uint8_t vip4[4], vip6[16];
	bool found;

	vips(!node, vip4, vip6);
	if (w->dc.last_txid[node] != m->txid)
		w->dc.requests++;
	w->dc.last_stale = ntm_sig_has(m, NTM_F_STALE) ? m->stale_path_id : 0;
	found = (ntm_sig_has(m, NTM_F_NAME) && !strcmp(m->name, node ? "alice.ntm.example" : "bob.ntm.example")) ||
		(ntm_sig_has(m, NTM_F_VIP4) && !memcmp(m->vip4, vip4, 4)) ||
		(ntm_sig_has(m, NTM_F_VIP6) && !memcmp(m->vip6, vip6, 16));
	if (!found || w->dc.no_bob) {
		w->dc.last_txid[node] = m->txid;
		dc_error(w, node, m->txid, found ? NTM_E_OFFLINE : NTM_E_NO_SUCH_NAME);
		return;
	}
	if (w->dc.last_txid[node] == m->txid) { /* resent: the same answer */
		world_dc_send(w, node, &w->dc.last_direction[node]);
		return;
	}
	w->dc.last_txid[node] = m->txid;
	ntm_sig_init(&mine, NTM_M_ROUTE_DIRECTION, m->txid);
	if (w->dc.coalesce && w->dc.last_direction[node].path_id && !w->dc.last_stale) {
		/* The peer asked a moment ago: its path, its roles. */
		mine = w->dc.last_direction[node];
		mine.txid = m->txid;
		world_dc_send(w, node, &mine);
		return;
	}
	key.path_id = w->dc.last_path = ++w->dc.next_path;
	ntm_random(key.psk, sizeof(key.psk));
	ntm_sig_init(&theirs, NTM_M_ROUTE_DIRECTION, 0x70000000u + (uint32_t)key.path_id);
	fill(w, &mine, node, NTM_ROLE_INITIATOR, &key);
	fill(w, &theirs, !node, NTM_ROLE_RESPONDER, &key);
	world_dc_send(w, node, &mine);
	if (w->dc.sessions[!node].used)
		world_dc_send(w, !node, &theirs);
}

static void dc_signal(struct world *w, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	uint8_t plain[NTM_SIGNAL_MAX];
	struct world_session *s;
	struct ntm_sig m, r;
	size_t len;
	int node;

	s = session_by_id(w, be64toh(h->id), &node);
	if (!s || ntm_session_open(&s->s, p->data, p->len, plain, sizeof(plain), &len) ||
	    ntm_sig_decode(&m, plain, len))
		return;
	s->peer = p->src;
	switch (m.msg) {
	case NTM_M_REGISTRATION_REQUEST:
		dc_register(w, node, m.txid);
		break;
	case NTM_M_DIRECTION_REQUEST:
		dc_direct(w, node, &m);
		break;
	case NTM_M_KEEP_ALIVE:
		w->dc.keepalives++;
		ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, m.txid);
		r.reflexive = s->peer;
		r.have = 1u << NTM_F_REFLEXIVE;
		world_dc_send(w, node, &r);
		break;
	case NTM_M_RELEASE:
		w->dc.releases++;
		break;
	case NTM_M_ROUTE_ACK:
		w->dc.acks++;
		break;
	case NTM_M_ERROR:
		w->dc.last_error = m.error_code;
		break;
	}
}

static void dc_receives(struct world *w, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	struct ntm_session_resp answer;
	static uint64_t id = 0x1000;

	if (w->dc.down)
		return;
	if (ntm_hdr_type(h) == NTM_T_SESSION_INIT) {
		struct world_session s = {.used = true, .peer = p->src};

		cr_assert_eq(
		    ntm_session_accept(w->dc.priv, w->dc.pub, p->data, p->len, ++id, 3600, now_ms(), &s.s, &answer), 0);
		w->dc.sessions[p->from] = s;
		put(w, WORLD_DC, &p->src, &answer, sizeof(answer));
	} else if (ntm_hdr_type(h) == NTM_T_SESSION_RESP) {
		struct world_session s = {.used = true, .peer = p->src};

		if (w->dc.hs && !ntm_session_finish(&w->dc.hs[p->from], p->data, p->len, now_ms(), &s.s))
			w->dc.sessions[p->from] = s;
	} else if (ntm_hdr_type(h) == NTM_T_SIGNAL) {
		dc_signal(w, p);
	}
}

void world_dc_restart(struct world *w, bool contact)
{
	if (!w->dc.hs)
		w->dc.hs = calloc(WORLD_NODES, sizeof(*w->dc.hs));
	for (int i = 0; i < WORLD_NODES; i++) {
		struct ntm_cookie_client cc;
		struct ntm_addr to = address(i, false);

		w->dc.sessions[i].used = false;
		if (!contact)
			continue;
		cr_assert_eq(ntm_cookie_client_init(&cc, w->n[i]->pub), 0);
		cr_assert_eq(ntm_session_begin(&w->dc.hs[i], w->dc.priv, w->dc.pub, w->n[i]->pub, &cc, now_ms()), 0);
		put(w, WORLD_DC, &to, &w->dc.hs[i].msg, sizeof(w->dc.hs[i].msg));
	}
}

/* ---- agents ---- */

static struct ntm_node *agent(struct world *w, int i, struct ntm_node *old)
{
	struct ntm_node *n = calloc(1, sizeof(*n));
	struct ntm_uplink_info u = {.dp = {.name = "up0", .ifindex = 2, .mtu = 1500}, .n_addrs = 2};
	struct ntm_dp_config c = {.ifname = "ntm0", .runtime_dir = "/nowhere", .port = NTM_PORT};
	char why[128];

	cr_assert_not_null(n);
	n->timers.clock_ns = world_ns;
	n->loop = w->loop;
	if (old) {
		memcpy(n->priv, old->priv, sizeof(n->priv));
		memcpy(n->pub, old->pub, sizeof(n->pub));
		n->dp = old->dp;
		n->dp->arg = n;
		n->id = old->id;
		n->ready = true;
	} else {
		cr_assert_eq(ntm_x25519_generate(n->priv, n->pub), 0);
		cr_assert_eq(ntm_dp_fake_open(&n->dp, &c, &ntm_node_dp_events, n, why, sizeof(why)), 0);
	}
	strcpy(n->conf.name, i ? "bob" : "alice");
	n->conf.port = NTM_PORT;
	memcpy(n->conf.dc_key, w->dc.pub, NTM_DH_LEN);
	n->conf.dc_endpoints.addrs = calloc(1, sizeof(struct ntm_addr));
	n->conf.dc_endpoints.addrs[0] = address(WORLD_DC, false);
	n->conf.dc_endpoints.n = 1;
	n->net = (struct ntm_net){node_send, n};
	cr_assert_eq(ntm_node_core_init(n), 0);
	memcpy(u.addrs[0], address(i, false).ip, 16);
	memcpy(u.addrs[1], address(i, true).ip, 16);
	memcpy(u.dp.addr4, u.addrs[0] + 12, 4);
	memcpy(u.dp.addr6, u.addrs[1], 16);
	w->n[i] = n;
	if (old)
		ntm_path_adopt_all(n);
	ntm_node_set_uplinks(n, &u, 1, false);
	ntm_dc_start(&n->dc);
	return n;
}

static void end(struct ntm_node *n, bool keep)
{
	ntm_node_core_free(n);
	if (!keep)
		n->dp->ops->close(n->dp, false);
	free(n->conf.dc_endpoints.addrs);
	free(n);
}

void world_restart(struct world *w, int node)
{
	struct ntm_node *old = w->n[node];

	agent(w, node, old);
	end(old, true);
}

static bool registered(struct world *w)
{
	return ntm_dc_connected(&w->n[0]->dc) && ntm_dc_connected(&w->n[1]->dc);
}

void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	the_world = w;
	clock_now = 1000000000000ull;
	w->tail = &w->queue;
	ntm_log_init("test", NTM_LOG_ERROR);
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(w->dc.priv, w->dc.pub), 0);
	w->dc.next_path = 0xabcd000000000000ull;
	for (int i = 0; i < WORLD_NODES; i++)
		agent(w, i, NULL);
	cr_assert(world_until(w, 1000, registered), "agents register");
}

void world_free(struct world *w)
{
	for (int i = 0; i < WORLD_NODES; i++)
		end(w->n[i], false);
	while (w->queue) {
		struct world_packet *p = w->queue;

		w->queue = p->next;
		free(p);
	}
	free(w->dc.hs);
}

void world_deliver(struct world *w, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;

	if (p->to == WORLD_DC)
		dc_receives(w, p);
	else if (ntm_hdr_type(h) == NTM_T_DATA && ntm_hdr_suite(h) == NTM_SUITE_KERNEL)
		kernel_receives(w->n[p->to], p);
	else
		ntm_node_input(w->n[p->to], &p->src, p->dst.ip, p->data, p->len);
}

static void step(struct world *w)
{
	clock_now += 1000000;
	while (w->queue && w->queue->at_ms <= now_ms()) {
		struct world_packet *p = w->queue;

		w->queue = p->next;
		if (!w->queue)
			w->tail = &w->queue;
		world_deliver(w, p);
		free(p);
	}
	for (int i = 0; i < WORLD_NODES; i++)
		ntm_timers_run(&w->n[i]->timers);
	if (w->loop)
		uv_run(w->loop, UV_RUN_NOWAIT);
}

void world_run(struct world *w, unsigned ms)
{
	while (ms--)
		step(w);
}

bool world_until(struct world *w, unsigned ms, bool (*cond)(struct world *w))
{
	while (ms-- && !cond(w))
		step(w);
	return cond(w);
}

struct ntm_tunnel *world_tunnel(struct world *w, int node)
{
	return w->n[node]->tunnels.all;
}

bool world_both_up(struct world *w)
{
	for (int i = 0; i < WORLD_NODES; i++)
		if (!world_tunnel(w, i) || world_tunnel(w, i)->state != NTM_TUN_UP)
			return false;
	return true;
}

bool world_traffic(struct world *w, int node, size_t len)
{
	struct ntm_node *n = w->n[node];
	uint8_t inner[NTM_INNER_MAX] = {0}, out[NTM_CONTROL_MAX], vip[16], vip4[4];
	struct ntm_dp_fake_path *p = NULL;
	size_t out_len;

	/* The virtual address points to the active path, whatever the agent thinks of it. */
	vips(!node, vip4, vip);
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		struct ntm_dp_fake_path *q = ntm_dp_fake_path(n->dp, t->id);

		if (q && q->active)
			p = q;
	}
	if (!p || n->dp->ops->seal(n->dp, p->path.path_id, inner, len, out, sizeof(out), &out_len))
		return false;
	p->stats.last_tx_ns = clock_now;
	put(w, node, &p->path.endpoint, out, out_len);
	return true;
}
