/* SPDX-License-Identifier: BSD-2-Clause */
/* A move to the other address family, or to the peer's own link: which way the peer hears of it. */
#include <criterion/criterion.h>

#include "../harness/nodeworld.h"

static struct world w;
static bool running;

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(family, .fini = teardown, .timeout = 60);

static const struct world_net only4 = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net only6 = {.nat = WORLD_OPEN, .far = true, .no4 = true};
static const struct world_net both = {.nat = WORLD_OPEN, .far = true};

static const struct world_net elsewhere = {.nat = WORLD_EASY, .far = true, .no6 = true};
static const struct world_net home = {.nat = WORLD_EASY, .lan = 7, .no6 = true};

static void traffic(unsigned for_ms)
{
	for (unsigned i = 0; i < for_ms / 10; i++) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 10);
	}
}

/* Where the other end sends. */
static struct ntm_addr peers_endpoint(void)
{
	return ntm_dp_fake_path(w.n[1]->dp, world_tunnel(&w, 1)->id)->path.endpoint;
}

/* Where the other end sends once it has followed, which is said; at most 100 ms. */
static struct ntm_addr next_endpoint(void)
{
	struct ntm_addr was = peers_endpoint(), is;
	unsigned ms = 0;

	do {
		world_run(&w, 1);
		is = peers_endpoint();
	} while (ntm_addr_equal(&is, &was) && ++ms < 100);
	cr_assert(!ntm_addr_equal(&is, &was));
	printf("family: followed after %u ms\n", ms);
	return is;
}

/* What this end sent by the relay before it heard of the peer is no reason to send there. */
static void stays_for(unsigned ms)
{
	struct ntm_addr was = peers_endpoint(), is;

	for (unsigned i = 0; i < ms; i++) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1);
		is = peers_endpoint();
		cr_assert(ntm_addr_equal(&is, &was), "after %u ms", i);
	}
}

Test(family, the_peer_hears_of_it_directly_and_first)
{
	struct world_net net[WORLD_NODES] = {both, both};
	struct ntm_addr before, after;

	running = true;
	world_connect(&w, net, 9);
	world_set_net(&w, 0, &only4);
	traffic(2000);
	before = peers_endpoint();
	cr_assert(ntm_ip_is_v4(before.ip));
	cr_assert_neq(world_tunnel(&w, 1)->route.kind, NTM_ROUTE_RELAY);
	cr_assert_neq(ntm_bind_endpoint(world_tunnel(&w, 0)).port, 0, "there is a way by the relay, too");
	world_set_net(&w, 0, &only6);
	after = next_endpoint();
	cr_assert(!ntm_bind_is_relay(world_tunnel(&w, 1), &after), "the way by the relay is twice as long");
	cr_assert(!ntm_ip_is_v4(after.ip));
	stays_for(200);
	traffic(2000);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_neq(world_tunnel(&w, i)->route.kind, NTM_ROUTE_RELAY);
	cr_assert_eq(w.dc.requests, 1);
}

/* The NAT's address leads nowhere from inside; what the peer's link is, this host knows when it is there. */
Test(family, to_the_link_of_the_peer)
{
	struct world_net net[WORLD_NODES] = {elsewhere, home};
	struct ntm_addr after;

	running = true;
	world_connect(&w, net, 9);
	traffic(2000);
	cr_assert_eq(world_tunnel(&w, 0)->route.kind, NTM_ROUTE_PUNCHED);
	world_set_net(&w, 0, &home);
	after = next_endpoint();
	cr_assert(!ntm_bind_is_relay(world_tunnel(&w, 1), &after));
	cr_assert_eq(ntm_route_of_endpoint(world_tunnel(&w, 1), &after), NTM_ROUTE_LAN);
	stays_for(200);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(world_tunnel(&w, i)->route.kind, NTM_ROUTE_LAN);
	cr_assert_eq(w.dc.requests, 1);
}

static bool one_way(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from == 1 && p->to == 0;
}

/* Told to stay where its packets are lost, it is told otherwise once an answer is overdue. */
Test(family, a_direct_way_that_leads_one_way_only)
{
	struct world_net net[WORLD_NODES] = {only4, both};
	const uint64_t *came;
	uint64_t before;
	unsigned ms = 0;

	running = true;
	world_connect(&w, net, 9);
	traffic(2000);
	w.drop = one_way;
	world_set_net(&w, 0, &only6);
	came = &ntm_dp_fake_path(w.n[0]->dp, world_tunnel(&w, 0)->id)->stats.rx_packets;
	before = *came;
	while (*came == before && ++ms < 2000) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1);
	}
	printf("family: heard by the relay after %u ms\n", ms);
	cr_assert_lt(ms, 200, "the peer is held for a second");
}

/* IPv4 is there first, and the peer follows to it; whenever IPv6 comes, that is what is wanted. */
Test(family, to_both_ends_on_ipv6)
{
	struct world_net net[WORLD_NODES] = {only6, both};

	for (unsigned ms = 0; ms < 80; ms++) {
		running = true;
		world_connect(&w, net, 9);
		traffic(500);
		world_set_net(&w, 0, &only4);
		world_run(&w, ms);
		world_set_net(&w, 0, &both);
		traffic(1000);
		for (unsigned i = 0; i < 2; i++)
			cr_expect_eq(world_tunnel(&w, i)->route.kind, NTM_ROUTE_IPV6, "after %u ms, end %u: %s", ms, i,
				     ntm_route_kind_name(world_tunnel(&w, i)->route.kind));
		teardown();
	}
}

static unsigned control;

static void count_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	control += (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL;
}

static bool no_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL;
}

/* Data comes before it is known what kind of address it comes from; to propose a better one ends with the best. */
Test(family, ends_that_agree_are_quiet)
{
	struct world_net net[WORLD_NODES] = {only4, only4};
	struct world_net elsewhere = {.nat = WORLD_OPEN, .far = true, .no6 = true, .lan = 7};

	running = true;
	world_connect(&w, net, 9);
	cr_assert_eq(world_tunnel(&w, 0)->role, NTM_ROLE_INITIATOR);
	traffic(500);
	w.drop = no_control;
	world_set_net(&w, 1, &elsewhere);
	traffic(30);
	w.drop = NULL;
	traffic(130000); /* each minute they look for a better address */
	control = 0;
	w.see = count_control;
	traffic(5000);
	cr_expect_leq(control, 50, "%u messages in 5 s", control);
	for (unsigned i = 0; i < 2; i++)
		cr_expect_eq(world_tunnel(&w, i)->route.kind, NTM_ROUTE_IPV4, "end %u: %s", i,
			     ntm_route_kind_name(world_tunnel(&w, i)->route.kind));
}

/* The data plane has followed the peer to the RS, and its Update is read before the word of that. */
Test(family, candidates_do_not_hide_that_the_endpoint_moved)
{
	struct world_net net[WORLD_NODES] = {both, both};
	struct ntm_tunnel *t, *peer;
	struct ntm_sig m = {0};

	running = true;
	world_connect(&w, net, 9);
	traffic(2000);
	t = world_tunnel(&w, 0);
	peer = world_tunnel(&w, 1);
	cr_assert_eq(t->role, NTM_ROLE_INITIATOR);
	cr_assert_eq(t->route.kind, NTM_ROUTE_IPV6);
	ntm_dp_fake_path(w.n[1]->dp, t->id)->path.endpoint = ntm_bind_endpoint(peer);
	ntm_path_moved(peer);
	ntm_dp_fake_path(w.n[0]->dp, t->id)->path.endpoint = ntm_bind_endpoint(t);
	m.n_candidates = ntm_node_candidates(w.n[1], m.candidates);
	ntm_check_candidates(t, &m);
	ntm_path_moved(t);
	cr_assert_eq(t->route.kind, NTM_ROUTE_RELAY);
	traffic(5000);
	cr_assert_eq(t->route.kind, NTM_ROUTE_IPV6, "looked for again within seconds, not after a minute");
}
