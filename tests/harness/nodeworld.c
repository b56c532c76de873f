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
	if (w->by)
		memcpy(p->by, w->by, 16);
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

	(void)mode;
	if (ntm_hdr_type(h) == NTM_T_DATA && ntm_hdr_suite(h) == NTM_SUITE_KERNEL) {
		struct ntm_dp_fake_path *p = ntm_dp_fake_path(n->dp, be64toh(h->id));

		if (p)
			p->stats.last_tx_ns = clock_now;
	}
	the_world->by = src;
	put(the_world, index_of(n), to, data, len);
	the_world->by = NULL;
	return 0;
}

static int node_send_aside(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len)
{
	the_world->by = src;
	world_put(the_world, index_of(arg), to, htons(40000), data, len);
	the_world->by = NULL;
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
		world_dc_receives(w, p);
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
	world_dc_step(w);
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
	world_vips(!node, vip4, vip);
	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		struct ntm_dp_fake_path *q = ntm_dp_fake_path(n->dp, t->id);

		if (q && q->active)
			p = q;
	}
	if (!p || n->dp->ops->seal(n->dp, p->path.path_id, inner, len, out, sizeof(out), &out_len))
		return false;
	p->stats.last_tx_ns = clock_now;
	w->by = ntm_node_source(n, &p->path.endpoint, vip);
	put(w, node, &p->path.endpoint, out, out_len);
	w->by = NULL;
	return true;
}
