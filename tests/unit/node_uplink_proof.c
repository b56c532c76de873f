/* SPDX-License-Identifier: BSD-2-Clause */
/* Two uplinks, and one of them leads nowhere: which one is used, how soon, and how much is asked for that. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "../harness/nodeworld.h"

static struct world w;
static bool running;
static struct ntm_uplink_info first, second;
static bool first_dead, second_dead;
static unsigned passed_over, taken_back, asked_by_second, dc_by_another, lose;
static char reason[64], last_handover[64];

static void teardown(void)
{
	if (running)
		world_free(&w);
	running = false;
}

TestSuite(uplink_proof, .fini = teardown, .timeout = 60);

static const struct world_net open_ = {.nat = WORLD_OPEN, .far = true, .no6 = true};
static const struct world_net hard = {.nat = WORLD_HARD, .far = true, .no6 = true};

static bool has(const struct ntm_uplink_info *u, const uint8_t ip[16])
{
	return !memcmp(u->addrs[0], ip, 16);
}

/* Beyond the router of an uplink that is dead everything is lost. The kernel's routes lead to the first. */
static bool drop(struct world *world, const struct world_packet *p)
{
	bool by_second = p->from == 0 ? has(&second, p->by) : has(&second, p->dst.ip);

	(void)world;
	if (p->from != 0 && p->to != 0)
		return false;
	if (p->from == 0 && by_second && lose && lose--)
		return true;
	return by_second ? second_dead : first_dead;
}

static void see(struct world *world, const struct world_packet *p)
{
	(void)world;
	asked_by_second += p->from == 0 && has(&second, p->by);
	dc_by_another += p->from == 0 && p->to == WORLD_DC && !has(&second, p->by);
}

static void on_event(struct ntm_node *n, json_object *ev)
{
	const char *name = json_object_get_string(json_object_object_get(ev, "event"));
	const char *why = json_object_get_string(json_object_object_get(ev, "reason"));

	(void)n;
	if (!strcmp(name, "uplink_passed_over") || !strcmp(name, "uplink_taken_back"))
		snprintf(reason, sizeof(reason), "%s", why);
	passed_over += !strcmp(name, "uplink_passed_over");
	taken_back += !strcmp(name, "uplink_taken_back");
	if (!strcmp(name, "handover"))
		snprintf(last_handover, sizeof(last_handover), "%s", why);
	json_object_put(ev);
}

static void forget_events(void)
{
	passed_over = taken_back = asked_by_second = dc_by_another = 0;
	reason[0] = last_handover[0] = 0;
}

static void watch(void)
{
	first = w.n[0]->uplinks[0];
	second = world_beside(&w, 0);
	first_dead = second_dead = false;
	lose = 0;
	forget_events();
	w.drop = drop;
	w.see = see;
	w.n[0]->on_event = on_event;
	w.n[0]->conf.uplink_settle_ms = NTM_UPLINK_SETTLE_MS;
}

static void connected(struct world_net net)
{
	struct world_net nets[WORLD_NODES] = {net, net};

	running = true;
	world_connect(&w, nets, 9);
	watch();
}

static void prefer_second(bool force)
{
	struct ntm_uplink_info u[2] = {second, first};

	ntm_node_set_uplinks(w.n[0], u, 2, force);
}

static void prefer_first(void)
{
	struct ntm_uplink_info u[2] = {first, second};

	ntm_node_set_uplinks(w.n[0], u, 2, false);
}

static bool uses_second(struct world *world)
{
	return world->n[0]->uplinks[0].dp.ifindex == second.dp.ifindex;
}

static bool uses_first(struct world *world)
{
	return !uses_second(world);
}

/* Applications talk for so long. Returns how many of bob's packets were not there in time. */
static unsigned talk(unsigned ms)
{
	struct ntm_dp_stats s;
	uint64_t was, sent = 0;

	world_run(&w, 15); /* what is on its way is counted as of before */
	cr_assert_eq(w.n[0]->dp->ops->stats(w.n[0]->dp, world_tunnel(&w, 0)->id, &s), 0);
	was = s.rx_packets;
	for (unsigned i = 0; i < ms; i += 10) {
		world_traffic(&w, 0, 100);
		sent += world_traffic(&w, 1, 100);
		world_run(&w, 10);
	}
	world_run(&w, 15);
	cr_assert_eq(w.n[0]->dp->ops->stats(w.n[0]->dp, world_tunnel(&w, 0)->id, &s), 0);
	return (unsigned)(sent - (s.rx_packets - was));
}

/* With applications talking. Returns after how many ms it is so, or max. */
static unsigned talk_until(bool (*cond)(struct world *), unsigned max)
{
	unsigned ms;

	for (ms = 0; ms < max && !cond(&w); ms++) {
		if (ms % 10 == 0) {
			world_traffic(&w, 0, 100);
			world_traffic(&w, 1, 100);
		}
		world_run(&w, 1);
	}
	return ms;
}

static bool dc_sees_second(struct world *world)
{
	return has(&second, world->dc.sessions[0].peer.ip);
}

Test(uplink_proof, one_that_answers_is_taken_after_a_round_trip)
{
	connected(open_);
	cr_assert_eq(talk(200), 0);
	prefer_second(false);
	cr_assert(uses_first(&w), "not before it has answered");
	cr_assert_eq(w.n[0]->n_uplinks, 2, "what comes by it is taken in");
	cr_assert_leq(talk_until(uses_second, 1000), 22);
	cr_assert_eq(talk(500), 0, "nothing is lost");
	cr_assert_str_eq(last_handover, "uplink");
	cr_assert_eq(passed_over + taken_back, 0);
}

Test(uplink_proof, one_that_leads_nowhere_is_not_taken)
{
	connected(open_);
	second_dead = true;
	cr_assert_eq(talk(200), 0);
	prefer_second(false);
	cr_assert_eq(talk(5000), 0, "nothing is lost");
	cr_assert(uses_first(&w));
	cr_assert_eq(passed_over, 1, "said once");
	cr_assert_str_eq(reason, "leads nowhere");
	cr_assert(ntm_proof_nowhere(w.n[0], &second));
	cr_assert(!ntm_proof_nowhere(w.n[0], &first));
	cr_assert_eq(w.n[0]->mobility.moves, 1, "that there is another address, no move");
}

/* What is watched comes into the order in which it is used, and out of it again. */
Test(uplink_proof, a_wish_that_changes_nothing_is_no_move)
{
	connected(open_);
	second_dead = true;
	prefer_second(false);
	world_run(&w, 100);
	prefer_first();
	world_run(&w, 2000);
	cr_assert_eq(w.n[0]->mobility.moves, 1);
	prefer_second(false);
	world_run(&w, 2000);
	cr_assert(ntm_proof_nowhere(w.n[0], &second));
	prefer_first();
	prefer_second(false);
	world_run(&w, 2000);
	cr_assert_eq(w.n[0]->mobility.moves, 1, "that there is another address");
	cr_assert_eq(w.n[0]->handoff.early, 0);
	cr_assert_eq(passed_over, 1);
}

Test(uplink_proof, one_that_answers_at_last_is_taken)
{
	unsigned ms;

	connected(open_);
	second_dead = true;
	prefer_second(false);
	cr_assert_eq(talk(20000), 0);
	cr_assert(uses_first(&w));
	second_dead = false;
	ms = talk_until(uses_second, 60000);
	printf("uplink_proof: preferred again %u ms after it leads somewhere\n", ms);
	cr_assert_leq(ms, 30000 + NTM_UPLINK_SETTLE_MS + 100);
	cr_assert_eq(taken_back, 1);
	cr_assert_str_eq(reason, "answers again");
	cr_assert_eq(talk(2000), 0);
	cr_assert(uses_second(&w));
	cr_assert_eq(passed_over, 1);
}

Test(uplink_proof, a_lost_question_is_asked_again)
{
	connected(open_);
	lose = 9;
	prefer_second(false);
	cr_assert_leq(talk_until(uses_second, 2000), 600);
	cr_assert_eq(passed_over, 0);
}

static void goes_dead(struct world_net net, unsigned most)
{
	unsigned ms;

	connected(net);
	prefer_first();
	cr_assert_eq(talk(1000), 0);
	forget_events();
	first_dead = true;
	ms = talk_until(uses_second, 20000);
	printf("uplink_proof: left %u ms after its router went\n", ms);
	cr_assert_leq(ms, most);
	cr_assert_eq(passed_over, 1);
	world_run(&w, 200);
	cr_assert_eq(talk(2000), 0, "the paths work");
	cr_assert_str_eq(last_handover, "leads nowhere");
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	first_dead = false;
	ms = talk_until(uses_first, 60000);
	printf("uplink_proof: taken back %u ms after it answers\n", ms);
	cr_assert_leq(ms, 31000);
	cr_assert_eq(taken_back, 1);
	cr_assert_eq(talk(70000), 0, "and that lasts");
	cr_assert(uses_first(&w));
	cr_assert_eq(passed_over, 1);
}

Test(uplink_proof, one_in_use_that_goes_dead_is_left_and_taken_back)
{
	goes_dead(open_, 1500);
}

Test(uplink_proof, also_when_paths_go_by_a_relay)
{
	goes_dead(hard, 1500);
}

/* Nobody talks: keep-alives tell. */
Test(uplink_proof, an_idle_node_leaves_it_too)
{
	unsigned ms = 0;

	connected(open_);
	prefer_first();
	world_run(&w, 100);
	first_dead = true;
	while (ms < 120000 && uses_first(&w)) {
		world_run(&w, 10);
		ms += 10;
	}
	printf("uplink_proof: idle, left after %u ms\n", ms);
	cr_assert_leq(ms, 65000);
	world_run(&w, 2000);
	cr_assert(dc_sees_second(&w));
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
}

static void idle_with_dc(unsigned most)
{
	unsigned ms = 0;

	first_dead = true;
	while (ms < 2 * most && uses_first(&w)) {
		world_run(&w, 10);
		ms += 10;
	}
	printf("uplink_proof: with the DC alone, left after %u ms\n", ms);
	cr_assert_leq(ms, most);
	cr_assert_eq(passed_over, 1);
}

/* Who else is to be asked, when its session is dead? It answers when another one is made. */
Test(uplink_proof, the_dc_alone_tells_too)
{
	running = true;
	world_init_net(&w, (struct world_net[WORLD_NODES]){open_, open_}, 0);
	w.delay_ms = 9;
	cr_assert(world_until(&w, 5000, world_registered));
	watch();
	prefer_first();
	world_run(&w, 2000);
	idle_with_dc(19000);
}

Test(uplink_proof, the_dc_tells_also_when_peers_are_gone)
{
	running = true;
	world_init_net(&w, (struct world_net[WORLD_NODES]){open_, open_}, 0);
	w.delay_ms = 9;
	cr_assert(world_until(&w, 5000, world_registered));
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 3000, world_both_up));
	watch();
	prefer_first();
	cr_assert_eq(talk(1000), 0);
	w.net[1].no4 = true;
	idle_with_dc(19000);
}

/* It would hide that what leaves by the one in use is lost. */
Test(uplink_proof, what_comes_by_the_other_is_not_heard_of_the_route_in_use)
{
	const struct ntm_tunnel *t;
	uint32_t txid = 0;
	uint64_t heard;
	struct ntm_addr to;

	connected(open_);
	prefer_first();
	world_run(&w, 500);
	t = world_tunnel(&w, 0);
	to.port = world_address(&w, 0, false).port;
	memcpy(to.ip, second.addrs[0], 16);
	heard = t->route_rx_ns;
	ntm_ctl_check(world_tunnel(&w, 1), &to, 0, &txid);
	world_run(&w, 15);
	cr_assert_eq(t->route_rx_ns, heard);
	cr_assert_gt(t->ctl_rx_ns, heard, "it came");
	memcpy(to.ip, first.addrs[0], 16);
	ntm_ctl_check(world_tunnel(&w, 1), &to, 0, &txid);
	world_run(&w, 15);
	cr_assert_gt(t->route_rx_ns, heard);
}

Test(uplink_proof, a_peer_that_is_gone_is_no_reason)
{
	uint64_t questions;

	connected(open_);
	prefer_first();
	cr_assert_eq(talk(1000), 0);
	w.net[1].no4 = true;
	for (int i = 0; i < 6000; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 10);
	}
	questions = w.n[0]->proof.questions;
	printf("uplink_proof: a peer gone for a minute: %lu questions\n", (unsigned long)questions);
	cr_assert(uses_first(&w));
	cr_assert_eq(passed_over, 0);
	cr_assert_leq(questions, 60, "two for each doubt, which are 2 s apart at least");
	cr_assert_geq(questions, 2, "there was doubt");
}

/* ---- when nobody can answer ---- */

static void nobody_there(void)
{
	w.dc.down = true;
	for (unsigned i = 0; i < w.n_relays; i++)
		w.rs[i].down = true;
}

Test(uplink_proof, without_dc_and_relays_peers_answer)
{
	connected(open_);
	nobody_there();
	cr_assert_eq(talk(200), 0);
	prefer_second(false);
	cr_assert_leq(talk_until(uses_second, 1000), 22);
	cr_assert_eq(talk(500), 0);
}

Test(uplink_proof, without_dc_and_relays_peers_tell_of_a_dead_one)
{
	connected(open_);
	nobody_there();
	second_dead = true;
	cr_assert_eq(talk(200), 0);
	prefer_second(false);
	cr_assert_eq(talk(5000), 0);
	cr_assert(uses_first(&w));
	cr_assert_eq(passed_over, 1);
}

Test(uplink_proof, when_nothing_can_be_told_apart_it_is_taken)
{
	running = true;
	world_init_net(&w, (struct world_net[WORLD_NODES]){open_, open_}, 1);
	w.delay_ms = 9;
	cr_assert(world_until(&w, 5000, world_registered));
	world_run(&w, 1500);
	watch();
	nobody_there();
	prefer_second(false);
	cr_assert(uses_first(&w));
	cr_assert(world_until(&w, 1000, uses_second), "as ever, after a short wait");
	cr_assert_eq(passed_over, 0);
}

Test(uplink_proof, who_knows_nobody_asks_nobody)
{
	running = true;
	world_init_net(&w, (struct world_net[WORLD_NODES]){open_, open_}, 1);
	watch();
	prefer_second(false);
	cr_assert(uses_second(&w), "at once");
}

/* ---- moves that cannot wait ---- */

Test(uplink_proof, the_only_one_left_is_used_at_once)
{
	connected(open_);
	second_dead = true;
	prefer_second(false);
	world_run(&w, 5);
	cr_assert(uses_first(&w));
	ntm_node_set_uplinks(w.n[0], &second, 1, false);
	cr_assert(uses_second(&w));
	world_run(&w, 2000);
	cr_assert(uses_second(&w));
}

Test(uplink_proof, one_known_to_lead_nowhere_is_the_last_resort)
{
	struct ntm_uplink_info third, three[3], two[2];

	connected(open_);
	second_dead = true;
	prefer_second(false);
	world_run(&w, 2000);
	cr_assert(ntm_proof_nowhere(w.n[0], &second));
	third = first;
	third.dp.ifindex = 9;
	third.dp.addr4[3] ^= 32;
	third.addrs[0][15] ^= 32;
	three[0] = second;
	three[1] = first;
	three[2] = third;
	ntm_node_set_uplinks(w.n[0], three, 3, false);
	cr_assert(uses_first(&w));
	two[0] = second;
	two[1] = third;
	ntm_node_set_uplinks(w.n[0], two, 2, false);
	cr_assert_eq(w.n[0]->uplinks[0].dp.ifindex, 9, "at once, and not the dead one");
	ntm_node_set_uplinks(w.n[0], &second, 1, false);
	cr_assert(uses_second(&w), "at once");
}

Test(uplink_proof, another_address_of_the_one_in_use_waits_for_nobody)
{
	struct ntm_uplink_info u[2];

	connected(open_);
	u[0] = second;
	u[1] = first;
	u[1].dp.addr4[3] ^= 8;
	u[1].addrs[0][15] ^= 8;
	ntm_node_set_uplinks(w.n[0], u, 2, false);
	cr_assert(uses_second(&w));
}

Test(uplink_proof, asked_for_it_is_used_unless_it_is_known)
{
	connected(open_);
	prefer_second(true);
	cr_assert(uses_second(&w));
	teardown();
	connected(open_);
	second_dead = true;
	prefer_second(false);
	cr_assert_eq(talk(20000), 0);
	asked_by_second = 0;
	prefer_second(true);
	cr_assert(uses_first(&w));
	cr_assert_eq(asked_by_second, 0);
	world_run(&w, 10);
	cr_assert_geq(asked_by_second, 1, "but is asked anew");
	second_dead = false;
	cr_assert_leq(talk_until(uses_second, 2000), 1000);
}

/* ---- the DC ---- */

Test(uplink_proof, the_dc_hears_by_the_uplink_in_use)
{
	connected(open_);
	prefer_second(false);
	cr_assert(world_until(&w, 100, uses_second));
	cr_assert(world_until(&w, 200, dc_sees_second));
	dc_by_another = 0;
	for (int i = 0; i < 60; i++) {
		world_run(&w, 1000);
		cr_assert(dc_sees_second(&w));
	}
	cr_assert_gt(w.dc.keepalives, 0);
	cr_assert_geq(w.n[0]->mapping.step, 1, "how long mappings live was asked, too");
	cr_assert_eq(dc_by_another, 0);
}

static bool dc_only_by_first(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->from == 0 && p->to == WORLD_DC && has(&second, p->by);
}

/* Not a reason to leave that uplink, on which the paths are fine. */
Test(uplink_proof, a_dc_that_is_reached_by_the_other_only_is_reached_by_that)
{
	connected(open_);
	prefer_second(false);
	cr_assert_leq(talk_until(uses_second, 1000), 22);
	w.drop = dc_only_by_first;
	cr_assert_eq(talk(100000), 0);
	cr_assert(ntm_dc_connected(&w.n[0]->dc));
	cr_assert(!dc_sees_second(&w));
	cr_assert(uses_second(&w));
	cr_assert_eq(passed_over, 0);
}

static bool registered(struct world *world)
{
	return ntm_dc_connected(&world->n[0]->dc);
}

/* The agent starts where the kernel's routes, and its preference, lead to a network that wants a log-in first. */
Test(uplink_proof, an_agent_that_starts_on_a_dead_one_registers_by_the_other)
{
	running = true;
	world_init_net(&w, (struct world_net[WORLD_NODES]){open_, open_}, 1);
	watch();
	first_dead = true;
	prefer_first();
	cr_assert(world_until(&w, 10000, registered));
	cr_assert(world_until(&w, 2000, uses_second));
	cr_assert_eq(passed_over, 1);
	world_run(&w, 500);
	cr_assert(dc_sees_second(&w));
	first_dead = false;
	cr_assert(world_until(&w, 40000, uses_first));
	world_run(&w, 500);
	cr_assert(!dc_sees_second(&w), "what was answered instead is forgotten");
}

/* ---- how much of it ---- */

Test(uplink_proof, a_dead_uplink_is_asked_ever_more_seldom)
{
	connected(open_);
	second_dead = true;
	prefer_second(false);
	for (int i = 0; i < 60; i++)
		cr_assert_eq(talk(10000), 0);
	printf("uplink_proof: a dead uplink for 10 minutes: %u packets by it, %lu questions\n", asked_by_second,
	       (unsigned long)w.n[0]->proof.questions);
	/* Rounds: one, then after 1, 2, 4, 8, 16 and each 30 s; four transmissions to DC, RS and peer. */
	cr_assert_leq(asked_by_second, 26 * 4 * 3);
	cr_assert_geq(asked_by_second, 18 * 4 * 3, "but goes on being asked");
	cr_assert_eq(passed_over, 1);
	cr_assert_eq(w.n[0]->mobility.moves, 1);
}

Test(uplink_proof, one_that_comes_and_goes_is_left_alone_for_ever_longer)
{
	uint64_t moves;

	connected(open_);
	prefer_second(false);
	cr_assert_leq(talk_until(uses_second, 1000), 22);
	moves = w.n[0]->mobility.moves;
	for (int i = 0; i < 100; i++) {
		second_dead = i % 2 == 0;
		(void)talk(6000);
	}
	printf("uplink_proof: dead and alive in turns of 6 s for 10 minutes: %lu moves\n",
	       (unsigned long)(w.n[0]->mobility.moves - moves));
	cr_assert_leq(w.n[0]->mobility.moves - moves, 50);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP);
	second_dead = false;
	cr_assert_leq(talk_until(uses_second, 60000), 32000);
}

/* ---- bad will ---- */

static struct world_packet kept[64];
static unsigned n_kept;

static void keep(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->to == 0 && has(&second, p->dst.ip) && n_kept < sizeof(kept) / sizeof(kept[0]))
		kept[n_kept++] = *p;
}

Test(uplink_proof, old_answers_prove_nothing)
{
	connected(open_);
	n_kept = 0;
	w.see = keep;
	prefer_second(false);
	cr_assert(world_until(&w, 100, uses_second));
	ntm_node_set_uplinks(w.n[0], &first, 1, false);
	world_run(&w, 1000);
	w.see = see;
	second_dead = true;
	prefer_second(false);
	cr_assert_geq(n_kept, 3, "of DC, RS and peer");
	for (int i = 0; i < 300; i++) {
		for (unsigned j = 0; j < n_kept; j++)
			world_deliver(&w, &kept[j]);
		world_run(&w, 10);
	}
	cr_assert(uses_first(&w));
	cr_assert_eq(passed_over, 1);
	cr_assert(!ntm_proof_answered(w.n[0], 0));
}
