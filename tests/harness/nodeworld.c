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

void world_put(struct world *w, int from, const struct ntm_addr *to, uint16_t lport, const void *data, size_t len)
{
	bool arrives;
	struct world_packet *p = calloc(1, sizeof(*p));

	cr_assert_not_null(p);
	cr_assert_leq(len, sizeof(p->data));
	p->from = from;
	p->dst = *to;
	arrives = world_route(w, p, lport);
	p->at_ms = now_ms() + 1 + w->delay_ms;
	p->len = len;
	memcpy(p->data, data, len);
	w->seen[p->data[0] & 15]++;
	if (w->see)
		w->see(w, p);
	if (!arrives || (w->drop && w->drop(w, p))) {
		free(p);
		return;
	}
	*w->tail = p;
	w->tail = &p->next;
}

static void put(struct world *w, int from, const struct ntm_addr *to, const void *data, size_t len)
{
	world_put(w, from, to, htons(NTM_PORT), data, len);
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

static int node_send_aside(void *arg, const struct ntm_addr *to, const void *data, size_t len)
{
	world_put(the_world, index_of(arg), to, htons(40000), data, len);
	return 0;
}

/* Is this counter above all before? */
static bool newest(struct world *w, int node, const struct ntm_hdr *h)
{
	uint64_t counter = (uint64_t)be16toh(h->ctr_hi) << 32 | be32toh(h->ctr_lo);
	unsigned i = (unsigned)(be64toh(h->id) << 4 | ntm_hdr_epoch(h)) % WORLD_HEADS;

	if (w->heads[node][i].id != h->id || w->heads[node][i].epoch != ntm_hdr_epoch(h))
		w->heads[node][i].id = 0;
	if (w->heads[node][i].id && counter < w->heads[node][i].head)
		return false;
	w->heads[node][i].id = h->id;
	w->heads[node][i].epoch = ntm_hdr_epoch(h);
	w->heads[node][i].head = counter + 1;
	return true;
}

/* What node_decap does. */
static bool held(struct ntm_node *n, const struct ntm_dp_fake_path *p)
{
	const struct ntm_dp_fake_call *calls;
	size_t count = ntm_dp_fake_calls(n->dp, &calls);
	const struct ntm_tunnel *t = ntm_tunnel_by_id(n, p->path.path_id);

	/* The data plane was told so, and it is so still. */
	for (size_t i = count; i-- > 0;)
		if (calls[i].op == NTM_FAKE_SET_ENDPOINT && calls[i].path_id == p->path.path_id)
			return calls[i].hold_ms && t && now_ms() < t->route.hold_until_ms;
	return false;
}

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
	if (newest(the_world, index_of(n), h) && !ntm_addr_equal(&p->path.endpoint, &pkt->src) && !held(n, p))
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
		r.error_code = w->dc.refuse;
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
	r.keepalive_s = w->n_relays ? 60 : 15;
	for (unsigned i = 0; i < w->n_relays; i++)
		if (!w->dc.avoid[i])
			world_relay_offer(w, i, node, &r.offers[r.n_offers++]);
	r.have = 1u << NTM_F_NAME | 1u << NTM_F_ZONE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 | 1u << NTM_F_POOL4 |
		 1u << NTM_F_POOL6 | 1u << NTM_F_REFLEXIVE | 1u << NTM_F_LIFETIME | 1u << NTM_F_KEEPALIVE |
		 (r.n_offers ? 1u << NTM_F_RELAY_OFFER : 0);
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
	m->n_candidates = w->dc.n_cands[other];
	memcpy(m->candidates, w->dc.cands[other], sizeof(m->candidates));
	if (m->n_candidates < NTM_CANDIDATES_MAX)
		m->candidates[m->n_candidates++] =
		    (struct ntm_candidate){.addr = w->dc.sessions[other].peer, .kind = NTM_CAND_REFLEXIVE};
	m->have = 1u << NTM_F_PATH_ID | 1u << NTM_F_PSK | 1u << NTM_F_ROLE | 1u << NTM_F_NAME | 1u << NTM_F_VIP4 |
		  1u << NTM_F_VIP6 | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_CANDIDATE;
	if (w->dc.relay_of_path >= 0) {
		world_relay_info(w, (unsigned)w->dc.relay_of_path, &m->relay);
		m->have |= 1u << NTM_F_RELAY;
	}
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

/* The first that may be used and is not the one of a dead path. */
static void choose_relay(struct world *w, const struct ntm_sig *key)
{
	int chosen = -1;

	for (int i = (int)w->n_relays - 1; i >= 0; i--) {
		bool stale = w->dc.last_stale && world_relay_path(w, (unsigned)i, w->dc.last_stale);

		if (!w->dc.avoid[i] && !w->rs[i].draining && (!stale || chosen < 0))
			chosen = i;
	}
	/* Unless it is the only one. */
	for (int i = 0; i < (int)w->n_relays; i++)
		if (!w->dc.avoid[i] && !w->rs[i].draining && w->dc.last_stale && chosen >= 0 && i != chosen &&
		    world_relay_path(w, (unsigned)chosen, w->dc.last_stale))
			chosen = i;
	w->dc.relay_of_path = chosen;
	if (chosen >= 0)
		world_relay_add(w, (unsigned)chosen, key->path_id, key->psk);
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
		(ntm_sig_has(m, NTM_F_VIP6) && !memcmp(m->vip6, vip6, 16)) || ntm_sig_has(m, NTM_F_GATEWAY);
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
	choose_relay(w, &key);
	ntm_sig_init(&theirs, NTM_M_ROUTE_DIRECTION, 0x70000000u + (uint32_t)key.path_id);
	fill(w, &mine, node, NTM_ROLE_INITIATOR, &key);
	fill(w, &theirs, !node, NTM_ROLE_RESPONDER, &key);
	if (ntm_sig_has(m, NTM_F_GATEWAY)) { /* the other one is the gateway */
		mine.gateway = theirs.gateway = 1;
		mine.have |= 1u << NTM_F_GATEWAY;
		theirs.have |= 1u << NTM_F_GATEWAY;
	}
	world_dc_send(w, node, &mine);
	if (w->dc.sessions[!node].used)
		world_dc_send(w, !node, &theirs);
}

static void answer_later(struct world *w, int node, const struct ntm_sig *m, const struct ntm_addr *to)
{
	for (unsigned i = 0; i < sizeof(w->dc.later) / sizeof(w->dc.later[0]); i++) {
		if (w->dc.later[i].at_ms)
			continue;
		w->dc.later[i].at_ms = now_ms() + m->delay_s * 1000u;
		w->dc.later[i].txid = m->txid;
		w->dc.later[i].node = node;
		w->dc.later[i].to = *to;
		return;
	}
}

static void dc_step(struct world *w)
{
	for (unsigned i = 0; i < sizeof(w->dc.later) / sizeof(w->dc.later[0]); i++) {
		struct world_session *s = &w->dc.sessions[w->dc.later[i].node];
		struct ntm_addr peer = s->peer;
		struct ntm_sig r;

		if (!w->dc.later[i].at_ms || now_ms() < w->dc.later[i].at_ms)
			continue;
		w->dc.later[i].at_ms = 0;
		if (!s->used)
			continue;
		ntm_sig_init(&r, NTM_M_KEEP_ALIVE_RESPONSE, w->dc.later[i].txid);
		s->peer = w->dc.later[i].to;
		world_dc_send(w, w->dc.later[i].node, &r);
		s->peer = peer;
	}
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
	/* Such a Keep Alive comes from a port of its own. */
	if (ntm_sig_has(&m, NTM_F_DELAY)) {
		answer_later(w, node, &m, &p->src);
		return;
	}
	s->peer = p->src;
	if (m.n_rtts) {
		w->dc.n_rtts[node] = m.n_rtts;
		memcpy(w->dc.rtts[node], m.rtts, sizeof(m.rtts));
	}
	switch (m.msg) {
	case NTM_M_REGISTRATION_REQUEST:
		w->dc.n_cands[node] = m.n_candidates;
		memcpy(w->dc.cands[node], m.candidates, sizeof(m.candidates));
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
		struct ntm_addr to = world_outside(w, i, false);

		w->dc.sessions[i].used = false;
		if (!contact)
			continue;
		cr_assert_eq(ntm_cookie_client_init(&cc, w->n[i]->pub), 0);
		cr_assert_eq(ntm_session_begin(&w->dc.hs[i], w->dc.priv, w->dc.pub, w->n[i]->pub, &cc, now_ms()), 0);
		put(w, WORLD_DC, &to, &w->dc.hs[i].msg, sizeof(w->dc.hs[i].msg));
	}
}

/* ---- agents ---- */

static struct ntm_uplink_info uplink(const struct world *w, int i)
{
	struct ntm_uplink_info u = {.dp = {.name = "up0", .ifindex = 2, .mtu = 1500}};
	const struct world_net *net = &w->net[i];

	for (int v6 = 0; v6 < 2; v6++) {
		struct ntm_addr a = world_address(w, i, v6);

		if (v6 ? net->no6 : net->no4)
			continue;
		if (v6)
			memcpy(u.dp.addr6, a.ip, 16);
		else
			memcpy(u.dp.addr4, a.ip + 12, 4);
		u.default4 |= !v6;
		u.default6 |= v6;
		u.prefix_len[u.n_addrs] = net->far ? 128 : v6 ? 64 : 120;
		memcpy(u.addrs[u.n_addrs++], a.ip, 16);
	}
	return u;
}

void world_set_net(struct world *w, int node, const struct world_net *net)
{
	struct ntm_uplink_info u;

	w->net[node] = *net;
	w->flows[node].n = 0;
	u = uplink(w, node);
	ntm_node_set_uplinks(w->n[node], &u, u.n_addrs ? 1 : 0, false);
}

static struct ntm_node *agent(struct world *w, int i, struct ntm_node *old)
{
	struct ntm_node *n = calloc(1, sizeof(*n));
	struct ntm_uplink_info u = uplink(w, i);
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
	memcpy(n->conf.dc_keys.keys[0], w->dc.pub, NTM_DH_LEN);
	n->conf.dc_keys.n = 1;
	n->conf.dc_endpoints.addrs = calloc(2, sizeof(struct ntm_addr));
	n->conf.dc_endpoints.addrs[0] = world_address(w, WORLD_DC, false);
	n->conf.dc_endpoints.addrs[1] = world_address(w, WORLD_DC, true);
	n->conf.dc_endpoints.n = w->n_relays ? 2 : 1;
	n->net = (struct ntm_net){.send = node_send, .arg = n};
	n->send_aside = w->n_relays ? node_send_aside : NULL;
	cr_assert_eq(ntm_node_core_init(n), 0);
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

bool world_registered(struct world *w)
{
	return ntm_dc_connected(&w->n[0]->dc) && ntm_dc_connected(&w->n[1]->dc);
}

void world_init_net(struct world *w, const struct world_net net[WORLD_NODES], unsigned relays)
{
	memset(w, 0, sizeof(*w));
	memcpy(w->net, net, sizeof(w->net));
	w->n_relays = relays;
	w->dc.relay_of_path = -1;
	the_world = w;
	clock_now = 1000000000000ull;
	w->tail = &w->queue;
	ntm_log_init("test", NTM_LOG_ERROR);
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(w->dc.priv, w->dc.pub), 0);
	w->dc.next_path = 0xabcd000000000000ull;
	for (int i = 0; i < WORLD_NODES; i++)
		agent(w, i, NULL);
}

void world_init(struct world *w)
{
	static const struct world_net plain[WORLD_NODES];

	world_init_net(w, plain, 0);
	cr_assert(world_until(w, 1000, world_registered), "agents register");
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

	if (p->to >= WORLD_RS)
		world_relay_receives(w, (unsigned)(p->to - WORLD_RS), p);
	else if (p->to == WORLD_DC)
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
	dc_step(w);
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
