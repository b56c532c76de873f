/* SPDX-License-Identifier: BSD-2-Clause */
/* Which relay two nodes get: a function of what is known of them and of the relays. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../../dc/nodes.h"
#include "../../dc/relays.h"
#include "../../dc/sessions.h"

static struct ntm_dc_session session;
static struct ntm_dc_relay relay[4];
static struct ntm_dc_node self[4], a, b;
static struct ntm_dc_relays rs;
static struct ntm_dc_relay_wish wish;

/* Four relays, rs0 to rs3, dual-stack and idle; two nodes on both families that have measured nothing. */
static void setup(void)
{
	memset(self, 0, sizeof(self));
	memset(relay, 0, sizeof(relay));
	memset(&rs, 0, sizeof(rs));
	memset(&a, 0, sizeof(a));
	for (unsigned i = 0; i < 4; i++) {
		self[i].session = &session;
		self[i].online = true;
		self[i].last_seen_ms = 1000;
		relay[i] = (struct ntm_dc_relay){.id = i + 1, .bit = 1u << i, .state = NTM_DC_RELAY_READY};
		relay[i].node = &self[i];
		relay[i].load.paths_max = 1000;
		snprintf(relay[i].info.name, sizeof(relay[i].info.name), "rs%u", i);
		ntm_addr_parse("192.0.2.20:4680", 0, &relay[i].info.ep4);
		ntm_addr_parse("[2001:db8::20]:4680", 0, &relay[i].info.ep6);
		rs.items[rs.n++] = &relay[i];
	}
	ntm_addr_parse("198.51.100.1:4680", 0, &a.rec.endpoint);
	b = a;
	wish = (struct ntm_dc_relay_wish){.ends = {&a, &b}};
}

TestSuite(choice, .init = setup);

static void rtt(struct ntm_dc_node *n, unsigned i, uint32_t us)
{
	n->rtts[n->n_rtts++] = (struct ntm_dc_rtt){relay[i].id, us};
}

/* Its number; -1: none. */
static int choose(void)
{
	struct ntm_dc_relay *r = ntm_dc_relay_choose(&rs, &wish), *reverse;
	struct ntm_dc_relay_wish other = wish;

	if (wish.ends[1]) {
		other.ends[0] = wish.ends[1];
		other.ends[1] = wish.ends[0];
		reverse = ntm_dc_relay_choose(&rs, &other);
		cr_assert_eq(r, reverse, "whoever asks gets the same");
	}
	return r ? (int)(r - relay) : -1;
}

Test(choice, equals_are_taken_by_name_in_any_order)
{
	cr_assert_eq(choose(), 0);
	rs.items[0] = &relay[3];
	rs.items[3] = &relay[0];
	cr_assert_eq(choose(), 0);
	rs.n = 0;
	cr_assert_eq(choose(), -1);
}

Test(choice, sum_of_both_round_trips)
{
	for (unsigned i = 0; i < 4; i++) {
		rtt(&a, i, 10000 * (i + 1));
		rtt(&b, i, i == 2 ? 1000 : 40000);
	}
	cr_assert_eq(choose(), 2);
	b.rtts[2].rtt_us = 31000; /* 61 ms against 50 */
	cr_assert_eq(choose(), 0);
}

Test(choice, unknown_round_trip_counts_as_200_ms)
{
	rtt(&a, 1, 150000);
	cr_assert_eq(choose(), 1);
	a.rtts[0].rtt_us = 250000;
	cr_assert_eq(choose(), 0);
}

Test(choice, load_outweighs_a_little_distance)
{
	rtt(&a, 0, 10000);
	rtt(&a, 1, 20000);
	relay[0].load.paths = 400;
	cr_assert_eq(choose(), 0, "8 ms");
	relay[0].load.paths = 900;
	cr_assert_eq(choose(), 1);
	relay[0].load.paths = 0;
	relay[0].load.cpu_permille = 950;
	cr_assert_eq(choose(), 1);
	relay[0].load.cpu_permille = 0;
	relay[0].load.packets_per_s = 100;
	relay[0].load.drops_per_s = 100;
	cr_assert_eq(choose(), 0);
	relay[0].load.drops_per_s = 0xffffffff;
	cr_assert_eq(choose(), 1, "a relay that only drops");
	cr_assert_leq(ntm_dc_relay_load_us(&relay[0]), 20000, "but forged packets do not empty it");
	relay[0].load = (struct ntm_load){.paths = 0xffffffff, .cpu_permille = 0xffff};
	cr_assert_lt(ntm_dc_relay_load_us(&relay[0]), 1000000, "whatever it says of itself");
}

Test(choice, paths_given_since_the_last_report_count)
{
	relay[0].directed = 30;
	cr_assert_eq(choose(), 1);
}

Test(choice, unavailable_ones_are_out_of_the_question)
{
	relay[0].state = NTM_DC_RELAY_DRAINING;
	relay[1].state = NTM_DC_RELAY_OFFLINE;
	relay[2].load.paths = 999;
	relay[2].directed = 1;
	for (unsigned i = 0; i < 3; i++) {
		rtt(&a, i, 1);
		rtt(&b, i, 1);
	}
	cr_assert_eq(choose(), 3);
	wish.refused = relay[3].bit;
	cr_assert_eq(choose(), -1);
	wish.refused = 0;
	self[3].session = NULL;
	cr_assert_eq(choose(), -1);
}

Test(choice, unreachable_one_only_if_nothing_else_is_left)
{
	for (unsigned i = 0; i < 3; i++) {
		rtt(&a, i, 1);
		rtt(&b, i, NTM_RELAY_RTT_NONE);
	}
	cr_assert_eq(choose(), 3);
	rs.n = 3;
	cr_assert_eq(choose(), 0);
	wish.suspect = &relay[3];
	rs.n = 4;
	cr_assert_eq(choose(), 3, "a suspect is better than one that does not answer");
}

Test(choice, suspect_one_only_if_nothing_else_is_left)
{
	rtt(&a, 0, 1);
	rtt(&b, 0, 1);
	wish.suspect = &relay[0];
	cr_assert_eq(choose(), 1);
	rs.n = 1;
	cr_assert_eq(choose(), 0);
	rs.n = 4;
	wish.suspect = NULL;
	relay[0].lost_ms = 1000;
	cr_assert_eq(choose(), 1, "it left a direction unanswered");
	self[0].last_seen_ms = 1001;
	cr_assert_eq(choose(), 0, "and was heard of since");
}

Test(choice, both_ends_need_a_family_of_the_relay)
{
	struct ntm_candidate c = {.kind = NTM_CAND_HOST};

	ntm_addr_parse("[2001:db8::7]:4680", 0, &b.rec.endpoint);
	memset(&relay[0].info.ep6, 0, sizeof(relay[0].info.ep6));
	memset(&relay[1].info.ep4, 0, sizeof(relay[1].info.ep4));
	cr_assert_eq(choose(), 2, "a is on IPv4 only, b on IPv6 only");
	ntm_addr_parse("203.0.113.5:4680", 0, &c.addr);
	b.candidates = &c;
	b.n_candidates = 1;
	cr_assert_eq(choose(), 0, "b has IPv4 too");
	b.n_candidates = 0;
	rs.n = 2;
	cr_assert_eq(choose(), -1);
	rtt(&b, 0, 5000);
	cr_assert_eq(choose(), 0, "it answered, so it is reached");
}

Test(choice, gateway_needs_to_be_one)
{
	wish.gateway = true;
	wish.ends[1] = NULL;
	cr_assert_eq(choose(), -1);
	relay[1].load.flags = relay[3].load.flags = NTM_LOAD_GATEWAY;
	cr_assert_eq(choose(), 1);
	rtt(&a, 3, 30000);
	cr_assert_eq(choose(), 3);
	wish.suspect = &relay[3];
	cr_assert_eq(choose(), 1);
}
