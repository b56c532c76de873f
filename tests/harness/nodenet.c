/* SPDX-License-Identifier: BSD-2-Clause */
#include "nodenet.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "../../user/common/relay_crypto.h"
#include "nodeworld.h"

static uint64_t now_ms(void)
{
	return world_ns() / 1000000u;
}

static bool translated(const struct world_net *net)
{
	return net->nat == WORLD_ONE_TO_ONE || net->nat == WORLD_EASY || net->nat == WORLD_HARD;
}

/* The second uplink's address, where it counts. */
static bool is_beside(const struct world *w, int who, const uint8_t ip[16])
{
	struct ntm_addr a = world_outside(w, who, false);

	a.ip[15] ^= 64;
	return w->beside && who < WORLD_NODES && w->net[who].nat == WORLD_OPEN && !memcmp(a.ip, ip, 16);
}

struct ntm_addr world_outside(const struct world *w, int who, bool v6)
{
	struct ntm_addr a = {.port = htons(NTM_PORT)};

	ntm_ip_parse(v6 ? "fd00::1" : "10.0.0.1", a.ip);
	/* Agents behind one NAT are one address. */
	if (!v6 && who < WORLD_NODES && w->net[who].lan)
		a.ip[15] = 100 + w->net[who].lan;
	else
		a.ip[15] = (uint8_t)(who + 1);
	return a;
}

struct ntm_addr world_address(const struct world *w, int who, bool v6)
{
	struct ntm_addr a = world_outside(w, who, v6);

	if (!v6 && who < WORLD_NODES && translated(&w->net[who])) {
		ntm_ip_parse("192.168.0.1", a.ip);
		a.ip[14] = w->net[who].lan ? w->net[who].lan : (uint8_t)(100 + who);
		a.ip[15] = (uint8_t)(who + 1);
	}
	return a;
}

struct ntm_uplink_info world_beside(struct world *w, int node)
{
	struct ntm_uplink_info u = w->n[node]->uplinks[0];

	strcpy(u.dp.name, "up1");
	u.dp.ifindex++;
	u.dp.addr4[3] ^= 64;
	u.addrs[0][15] ^= 64;
	w->beside = true;
	/* What NATs remember was sent from the only uplink there was. */
	for (int i = 0; i < WORLD_NODES; i++)
		for (unsigned j = 0; j < w->flows[i].n; j++)
			memcpy(w->flows[i].f[j].by, w->n[i]->uplinks[0].addrs[0], 16);
	return u;
}

static unsigned life_ms(const struct world_net *net)
{
	return (net->life_s ? net->life_s : 180) * 1000u;
}

/* The flow of a packet that leaves, made if need be. */
static struct world_flow *flow_out(struct world *w, int who, uint16_t lport, const struct world_packet *p)
{
	static const uint8_t only[16];
	const struct ntm_addr *remote = &p->dst;
	const uint8_t *by = w->beside ? p->by : only;
	struct world_flows *fs = &w->flows[who];
	struct world_flow *f = NULL;

	for (unsigned i = 0; i < fs->n && !f; i++)
		if (fs->f[i].lport == lport && ntm_addr_equal(&fs->f[i].remote, remote) && !memcmp(fs->f[i].by, by, 16))
			f = &fs->f[i];
	if (!f) {
		cr_assert_lt(fs->n, WORLD_FLOWS);
		f = &fs->f[fs->n++];
		*f = (struct world_flow){.lport = lport, .remote = *remote};
		memcpy(f->by, by, 16);
	}
	if (!f->used_ms || now_ms() - f->used_ms > life_ms(&w->net[who])) {
		/* Agents behind one NAT must not get the same port. */
		f->eport = w->net[who].nat == WORLD_HARD ? htons((uint16_t)(50000 + 1000 * who + fs->next_port++))
			   : w->net[who].lan             ? htons((uint16_t)(ntohs(lport) + 1000 * who))
							 : lport;
	}
	f->used_ms = now_ms();
	return f;
}

static struct world_flow *flow_in(struct world *w, int who, uint16_t eport, const struct ntm_addr *remote)
{
	struct world_flows *fs = &w->flows[who];

	for (unsigned i = 0; i < fs->n; i++) {
		struct world_flow *f = &fs->f[i];

		if (f->eport == eport && ntm_addr_equal(&f->remote, remote) &&
		    now_ms() - f->used_ms <= life_ms(&w->net[who])) {
			f->used_ms = now_ms();
			return f;
		}
	}
	return NULL;
}

static bool has_family(const struct world *w, int who, bool v6)
{
	return who >= WORLD_NODES || !(v6 ? w->net[who].no6 : w->net[who].no4);
}

static bool deliver_inside(struct world *w, struct world_packet *p)
{
	for (int i = 0; i < WORLD_NODES; i++) {
		struct ntm_addr a = world_address(w, i, !ntm_ip_is_v4(p->dst.ip));

		if (i == p->from || memcmp(a.ip, p->dst.ip, 16) || !w->net[i].lan ||
		    w->net[i].lan != w->net[p->from].lan)
			continue;
		p->to = i;
		return true;
	}
	return false;
}

static bool let_in(struct world *w, struct world_packet *p, int who)
{
	bool v6 = !ntm_ip_is_v4(p->dst.ip);
	enum world_nat nat = who < WORLD_NODES ? w->net[who].nat : WORLD_OPEN;
	struct ntm_addr outside = world_outside(w, who, v6);
	struct world_flow *f = NULL;

	if ((memcmp(outside.ip, p->dst.ip, 16) && !is_beside(w, who, p->dst.ip)) || !has_family(w, who, v6))
		return false;
	if (nat == WORLD_EASY || nat == WORLD_HARD || nat == WORLD_FIREWALL) {
		f = flow_in(w, who, p->dst.port, &p->src);
		if (!f)
			return false;
	}
	if (who < WORLD_NODES && !v6 && translated(&w->net[who]))
		memcpy(p->dst.ip, world_address(w, who, false).ip, 16);
	if (f)
		p->dst.port = f->lport;
	if (f && !v6 && !ntm_ip_is_zero(f->by))
		memcpy(p->dst.ip, f->by, 16);
	p->to = who;
	return true;
}

bool world_route(struct world *w, struct world_packet *p, uint16_t lport)
{
	bool v6 = !ntm_ip_is_v4(p->dst.ip);

	p->to = -1;
	p->src = world_address(w, p->from, v6);
	p->src.port = lport;
	if (is_beside(w, p->from, p->by))
		memcpy(p->src.ip, p->by, 16);
	if (!has_family(w, p->from, v6))
		return false;
	if (p->from < WORLD_NODES) {
		const struct world_net *net = &w->net[p->from];

		if (deliver_inside(w, p))
			return true;
		if (net->nat != WORLD_OPEN) {
			struct world_flow *f = flow_out(w, p->from, lport, p);

			p->src = world_outside(w, p->from, v6);
			p->src.port =
			    v6 || net->nat == WORLD_ONE_TO_ONE || net->nat == WORLD_FIREWALL ? lport : f->eport;
			if (v6)
				f->eport = lport;
		}
	}
	for (int i = 0; i < WORLD_PARTIES; i++)
		if (i != p->from && let_in(w, p, i))
			return true;
	return false;
}

/* ---- RSs ---- */

void world_relay_info(const struct world *w, unsigned relay, struct ntm_relay_info *out)
{
	*out = (struct ntm_relay_info){.ep4 = world_address(w, WORLD_RS + (int)relay, false),
				       .ep6 = world_address(w, WORLD_RS + (int)relay, true)};
	snprintf(out->name, sizeof(out->name), "rs%u", relay + 1);
}

void world_relay_offer(const struct world *w, unsigned relay, int node, struct ntm_relay_offer *out)
{
	memset(out, 0, sizeof(*out));
	world_relay_info(w, relay, &out->relay);
	out->probe_id = 1000 * (relay + 1) + (unsigned)node;
	memset(out->probe_key, (int)(16 * (relay + 1)) + node, sizeof(out->probe_key));
}

struct world_relayed *world_relay_path(struct world *w, unsigned relay, uint64_t path_id)
{
	struct world_relay *rs = &w->rs[relay];

	for (unsigned i = 0; i < rs->n; i++)
		if (rs->path[i].id == path_id)
			return &rs->path[i];
	return NULL;
}

void world_relay_add(struct world *w, unsigned relay, uint64_t path_id, const uint8_t psk[NTM_PSK_LEN])
{
	struct world_relay *rs = &w->rs[relay];
	struct world_relayed *p;
	uint8_t secret[NTM_KEY_LEN];

	if (rs->n == WORLD_RELAYED) /* the oldest has expired */
		memmove(rs->path, rs->path + 1, sizeof(*p) * --rs->n);
	p = &rs->path[rs->n++];
	*p = (struct world_relayed){.id = path_id};
	cr_assert_eq(ntm_relay_secret(psk, secret), 0);
	cr_assert_eq(ntm_relay_end_key(secret, NTM_ROLE_INITIATOR, p->key[0]), 0);
	cr_assert_eq(ntm_relay_end_key(secret, NTM_ROLE_RESPONDER, p->key[1]), 0);
}

static void answer(struct world *w, unsigned relay, const struct world_packet *p, const uint8_t key[NTM_KEY_LEN],
		   unsigned flags)
{
	const struct ntm_relay_bind *b = (const struct ntm_relay_bind *)p->data;
	struct ntm_relay_bound r = {.hdr = b->hdr, .seq = b->seq, .flags = htobe16((uint16_t)flags)};

	r.hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_RESP;
	memcpy(r.observed, p->src.ip, 16);
	r.observed_port = p->src.port;
	cr_assert_eq(ntm_bind_sign(key, &r, sizeof(r)), 0);
	world_put(w, WORLD_RS + (int)relay, &p->src, htons(NTM_PORT), &r, sizeof(r));
}

static void on_probe(struct world *w, unsigned relay, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	struct ntm_relay_offer o;

	for (int i = 0; i < WORLD_NODES; i++) {
		world_relay_offer(w, relay, i, &o);
		if (o.probe_id != be64toh(h->id) || !ntm_bind_verify(o.probe_key, p->data, p->len))
			continue;
		w->rs[relay].probes++;
		answer(w, relay, p, o.probe_key, 0);
	}
}

static void pass_on(struct world *w, unsigned relay, struct world_relayed *r, unsigned to, const void *data, size_t len)
{
	r->packets++;
	world_put(w, WORLD_RS + (int)relay, &r->end[to], htons(NTM_PORT), data, len);
}

static void on_bind(struct world *w, unsigned relay, const struct world_packet *p)
{
	const struct ntm_relay_bind *b = (const struct ntm_relay_bind *)p->data;
	struct world_relay *rs = &w->rs[relay];
	struct world_relayed *r = world_relay_path(w, relay, be64toh(b->hdr.id));
	unsigned flags = rs->draining ? NTM_BOUND_DRAINING : 0, end;

	if (!r || rs->refuses_binds)
		return;
	for (end = 0; end < 2 && !ntm_bind_verify(r->key[end], p->data, p->len); end++)
		;
	if (end == 2 || be64toh(b->seq) <= r->seq[end]) {
		rs->dropped++;
		return;
	}
	rs->binds++;
	r->seq[end] = be64toh(b->seq);
	r->end[end] = p->src;
	if (p->len == sizeof(struct ntm_relay_bind_request)) {
		memcpy(r->request, p->data, sizeof(struct ntm_hdr));
		memcpy(r->request + sizeof(struct ntm_hdr), ((const struct ntm_relay_bind_request *)p->data)->request,
		       NTM_REQUEST_BODY_LEN);
		if (r->end[!end].port)
			pass_on(w, relay, r, !end, r->request, sizeof(r->request));
		r->held = !r->end[!end].port;
		r->held_from = end;
	} else if (r->held && r->held_from != end) {
		pass_on(w, relay, r, end, r->request, sizeof(r->request));
		r->held = false;
	}
	answer(w, relay, p, r->key[end], flags | (r->end[!end].port ? NTM_BOUND_PEER : 0));
}

void world_relay_drain(struct world *w, unsigned relay)
{
	struct world_relay *rs = &w->rs[relay];

	rs->draining = true;
	for (unsigned i = 0; i < rs->n; i++) {
		for (unsigned end = 0; end < 2; end++) {
			struct world_relayed *r = &rs->path[i];
			struct world_packet last = {.src = r->end[end]};
			struct ntm_relay_bind b = {.hdr.id = htobe64(r->id), .seq = htobe64(r->seq[end])};

			memcpy(last.data, &b, sizeof(b));
			if (r->end[end].port)
				answer(w, relay, &last, r->key[end],
				       NTM_BOUND_DRAINING | (r->end[!end].port ? NTM_BOUND_PEER : 0));
		}
	}
}

void world_relay_receives(struct world *w, unsigned relay, const struct world_packet *p)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)p->data;
	struct world_relayed *r;

	if (w->rs[relay].down)
		return;
	if (ntm_hdr_type(h) == NTM_T_TUNNEL_REQ && ntm_hdr_suite(h) == NTM_SUITE_RS_PROBE) {
		on_probe(w, relay, p);
		return;
	}
	if (ntm_hdr_type(h) == NTM_T_TUNNEL_REQ && p->len != sizeof(struct ntm_tunnel_req)) {
		on_bind(w, relay, p);
		return;
	}
	r = world_relay_path(w, relay, be64toh(h->id));
	for (unsigned i = 0; r && i < 2; i++) {
		if (!ntm_addr_equal(&r->end[i], &p->src) || !r->end[!i].port)
			continue;
		pass_on(w, relay, r, !i, p->data, p->len);
		return;
	}
	w->rs[relay].dropped++;
}

void world_connect(struct world *w, const struct world_net net[WORLD_NODES], unsigned delay_ms)
{
	world_init_net(w, net, 1);
	w->delay_ms = delay_ms;
	cr_assert(world_until(w, 5000, world_registered));
	world_run(w, 1500);
	ntm_direct(w->n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(w, 3000, world_both_up));
	world_run(w, 3000);
}
