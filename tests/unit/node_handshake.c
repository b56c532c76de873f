/* SPDX-License-Identifier: BSD-2-Clause */
/* Tunnel Request and Response between two agents: loss, repetition, replay, rekeying, both asking at once. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/nodeworld.h"

static struct world w;

static void setup(void)
{
	world_init(&w);
}

static void teardown(void)
{
	world_free(&w);
}

TestSuite(handshake, .init = setup, .fini = teardown, .timeout = 60);

struct outcome {
	unsigned calls;
	int result;
	uint64_t at_ms;
};

static void done(void *arg, int result, struct ntm_tunnel *t)
{
	struct outcome *o = arg;

	o->calls++;
	o->result = result;
	o->at_ms = world_ns() / 1000000;
	cr_assert_eq(result == 0, t != NULL);
}

static void connect_nodes(void)
{
	struct outcome o = {0};

	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	cr_assert(world_until(&w, 2000, world_both_up));
	world_run(&w, 50);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, 0);
}

static struct ntm_dp_fake_path *path(int node)
{
	return ntm_dp_fake_path(w.n[node]->dp, world_tunnel(&w, node)->id);
}

static void assert_same_keys(void)
{
	uint8_t e = path(0)->stats.tx_epoch & 1;

	cr_assert_arr_eq(path(0)->keys[e].tx, path(1)->keys[e].rx, NTM_KEY_LEN);
	cr_assert_arr_eq(path(0)->keys[e].rx, path(1)->keys[e].tx, NTM_KEY_LEN);
	cr_assert_arr_neq(path(0)->keys[e].rx, path(0)->keys[e].tx, NTM_KEY_LEN);
	cr_assert_arr_eq(path(0)->agent.ctl_tx_key[e], path(1)->agent.ctl_rx_key[e], NTM_KEY_LEN);
}

Test(handshake, brings_both_ends_up)
{
	connect_nodes();
	assert_same_keys();
	cr_assert(path(0)->active);
	cr_assert(path(1)->active);
	cr_assert_eq(world_tunnel(&w, 0)->role, NTM_ROLE_INITIATOR);
	cr_assert_eq(world_tunnel(&w, 1)->role, NTM_ROLE_RESPONDER);
	cr_assert_str_eq(world_tunnel(&w, 0)->name, "bob.ntm.example");
	cr_assert_str_eq(world_tunnel(&w, 1)->name, "alice.ntm.example");
	cr_assert_eq(path(0)->path.endpoint.ip[15], 2);
	cr_assert_eq(path(1)->path.endpoint.ip[15], 1);
	cr_assert(world_tunnel(&w, 0)->confirmed, "the responder uses the keys, too");
	cr_assert_eq(w.dc.acks, 1, "the responder acknowledges its Route Direction");
	cr_assert(world_traffic(&w, 0, 100));
	world_run(&w, 5);
	cr_assert_eq(path(1)->stats.rx_packets, 1);
}

static unsigned to_drop;
static uint8_t drop_type;

static bool drop_first(struct world *world, const struct world_packet *p)
{
	(void)world;
	if ((p->data[0] & 15) != drop_type || !to_drop)
		return false;
	to_drop--;
	return true;
}

Test(handshake, survives_lost_requests)
{
	drop_type = NTM_T_TUNNEL_REQ;
	to_drop = 5;
	w.drop = drop_first;
	connect_nodes();
	assert_same_keys();
	cr_assert_eq(to_drop, 0);
}

Test(handshake, a_lost_response_is_given_again_not_made_anew)
{
	drop_type = NTM_T_TUNNEL_RESP;
	to_drop = 3;
	w.drop = drop_first;
	connect_nodes();
	assert_same_keys();
	cr_assert_eq(ntm_dp_fake_count(w.n[1]->dp, NTM_FAKE_SET_KEYS, 0), 1);
}

Test(handshake, a_lost_route_direction_to_the_responder_is_made_up_for_by_resends)
{
	struct ntm_sig again;
	struct outcome o = {0};

	drop_type = NTM_T_SIGNAL;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	while (!w.dc.last_path)
		world_run(&w, 1);
	/* The DC's message to bob arrives 300 ms late: requests meanwhile meet a node that knows nothing. */
	again = w.dc.last_direction[1];
	for (struct world_packet **p = &w.queue, *gone; *p;) {
		if ((*p)->to != 1) {
			p = &(*p)->next;
			continue;
		}
		gone = *p;
		*p = gone->next;
		free(gone);
	}
	w.tail = &w.queue;
	while (*w.tail)
		w.tail = &(*w.tail)->next;
	world_run(&w, 300);
	cr_assert_null(world_tunnel(&w, 1));
	world_dc_send(&w, 1, &again);
	/* An early request waits for just that: no resend of the initiator's is needed. */
	world_run(&w, 4);
	cr_assert(world_both_up(&w));
	cr_assert_eq(o.result, 0);
	cr_assert_eq(o.calls, 1);
}

static bool drop_handshakes(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_TUNNEL_REQ;
}

Test(handshake, without_an_answer_fails_within_two_seconds_and_says_stale_next_time)
{
	struct outcome o = {0};
	uint64_t begin = world_ns() / 1000000, first;

	w.drop = drop_handshakes;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 2100);
	cr_assert_eq(o.calls, 1);
	cr_assert_eq(o.result, -ETIMEDOUT);
	cr_assert_leq(o.at_ms - begin, 2000);
	cr_assert_null(world_tunnel(&w, 0), "nothing stays behind");
	cr_assert_eq(ntm_dp_fake_path_count(w.n[0]->dp), 0);
	cr_assert_eq(w.dc.releases, 1, "the DC is told");
	first = w.dc.last_path;

	world_run(&w, 1000);
	w.drop = NULL;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o);
	world_run(&w, 200);
	cr_assert_eq(o.calls, 2);
	cr_assert_eq(o.result, 0);
	cr_assert_eq(w.dc.last_stale, first);
	/* The responder forgets the first one by itself. */
	world_run(&w, 15000);
	cr_assert_null(ntm_tunnel_by_id(w.n[1], first));
}

static struct world_packet kept[64];
static unsigned n_kept;

static void keep_requests(struct world *world, const struct world_packet *p)
{
	(void)world;
	if ((p->data[0] & 15) == NTM_T_TUNNEL_REQ && n_kept < 64)
		kept[n_kept++] = *p;
}

Test(handshake, replayed_requests_change_nothing)
{
	size_t before;
	unsigned answers;

	n_kept = 0;
	w.see = keep_requests;
	connect_nodes();
	world_run(&w, 140000);
	cr_assert_eq(path(1)->stats.tx_epoch, 1, "rekeyed once");
	w.see = NULL;
	before = ntm_dp_fake_count(w.n[1]->dp, NTM_FAKE_SET_KEYS, 0);
	answers = w.seen[NTM_T_TUNNEL_RESP];
	world_deliver(&w, &kept[0]); /* the very first: its sequence number is behind */
	world_run(&w, 10);
	cr_assert_eq(w.seen[NTM_T_TUNNEL_RESP], answers, "no answer to a replay");
	world_deliver(&w, &kept[n_kept - 1]); /* the newest: answered as before, keys stay */
	world_run(&w, 10);
	cr_assert_eq(w.seen[NTM_T_TUNNEL_RESP], answers + 1);
	cr_assert_eq(ntm_dp_fake_count(w.n[1]->dp, NTM_FAKE_SET_KEYS, 0), before);
	assert_same_keys();
}

Test(handshake, forged_and_truncated_requests_are_dropped_in_silence)
{
	struct world_packet p;
	unsigned answers;

	n_kept = 0;
	w.see = keep_requests;
	connect_nodes();
	w.see = NULL;
	answers = w.seen[NTM_T_TUNNEL_RESP];
	for (size_t i = 0; i < sizeof(struct ntm_tunnel_req) - sizeof(struct ntm_macs); i++) {
		p = kept[0];
		p.data[i] ^= 1;
		world_deliver(&w, &p);
	}
	for (size_t len = 0; len < sizeof(struct ntm_tunnel_req); len++) {
		p = kept[0];
		p.len = len;
		world_deliver(&w, &p);
	}
	world_run(&w, 10);
	cr_assert_eq(w.seen[NTM_T_TUNNEL_RESP], answers);
	cr_assert_eq(ntm_dp_fake_count(w.n[1]->dp, NTM_FAKE_SET_KEYS, 0), 1);
}

Test(handshake, rekeys_every_two_minutes_without_a_gap)
{
	connect_nodes();
	for (int i = 0; i < 400; i++) {
		cr_assert(world_traffic(&w, 0, 100));
		cr_assert(world_traffic(&w, 1, 100));
		world_run(&w, 1000);
	}
	cr_assert_eq(path(0)->stats.tx_epoch, 3);
	cr_assert_eq(path(1)->stats.tx_epoch, 3);
	assert_same_keys();
	cr_assert_eq(path(1)->stats.rx_packets, 400);
	cr_assert_eq(path(0)->stats.rx_packets, 400);
	cr_assert_eq(world_tunnel(&w, 0)->rekeys, 3);
	cr_assert_eq(w.dc.requests, 1, "no new direction");
}

Test(handshake, the_initiator_repeats_its_confirmation_until_the_responder_uses_the_keys)
{
	connect_nodes();
	world_run(&w, 119000);
	drop_type = NTM_T_DATA;
	w.drop = drop_first;
	while (world_tunnel(&w, 0)->epoch == 0)
		world_run(&w, 1);
	to_drop = 6;
	world_run(&w, 2000);
	cr_assert_eq(path(1)->stats.tx_epoch, 1);
	cr_assert(world_tunnel(&w, 0)->confirmed);
}

static bool drop_tunnel_messages(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_TUNNEL_REQ || (p->data[0] & 15) == NTM_T_TUNNEL_RESP;
}

Test(handshake, an_unanswered_rekey_leaves_the_path_as_it_is)
{
	connect_nodes();
	w.drop = drop_tunnel_messages;
	for (int i = 0; i < 180; i++) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1000);
	}
	cr_assert(world_both_up(&w));
	cr_assert_eq(path(0)->stats.tx_epoch, 0);
	cr_assert_eq(path(1)->stats.rx_packets, 180);
	cr_assert_leq(w.seen[NTM_T_TUNNEL_REQ], 2 + 60, "tried now and then, with back-off");
	w.drop = NULL;
	world_run(&w, 31000);
	cr_assert_eq(path(0)->stats.tx_epoch, 1);
	assert_same_keys();
}

static unsigned usable(int node)
{
	unsigned n = 0;

	for (struct ntm_tunnel *t = w.n[node]->tunnels.all; t; t = t->next_all)
		n += t->state == NTM_TUN_UP;
	return n;
}

static void both_ask(struct outcome o[2])
{
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, done, &o[0]);
	ntm_direct(w.n[1], "alice.ntm.example", NULL, 0, done, &o[1]);
	world_run(&w, 200);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(o[i].calls, 1);
		cr_assert_eq(o[i].result, 0);
	}
}

Test(handshake, both_ask_at_once_and_get_one_path)
{
	struct outcome o[2] = {0};

	w.dc.coalesce = true;
	both_ask(o);
	cr_assert(world_both_up(&w));
	cr_assert_eq(world_tunnel(&w, 0)->id, world_tunnel(&w, 1)->id);
	assert_same_keys();
}

Test(handshake, both_ask_at_once_and_get_two_paths_that_become_one)
{
	struct outcome o[2] = {0};
	unsigned lost = 0;

	both_ask(o);
	for (int i = 0; i < 300; i++) {
		lost += !world_traffic(&w, 0, 100);
		lost += !world_traffic(&w, 1, 100);
		world_run(&w, 100);
	}
	cr_assert_eq(lost, 0);
	cr_assert_geq(usable(0), 1);
	cr_assert_geq(usable(1), 1);
	cr_assert_eq(w.n[0]->tunnels.n, w.n[1]->tunnels.n);
	/* Whatever each end sent reached a path that the other end has. */
	lost = 0;
	for (struct ntm_tunnel *t = w.n[0]->tunnels.all; t; t = t->next_all)
		lost += ntm_tunnel_by_id(w.n[1], t->id) == NULL;
	cr_assert_eq(lost, 0);
}

Test(handshake, under_load_asks_for_a_cookie_and_goes_on)
{
	w.n[1]->jar.threshold = 0;
	connect_nodes();
	assert_same_keys();
	cr_assert_geq(w.seen[NTM_T_COOKIE_REPLY], 1);
}
