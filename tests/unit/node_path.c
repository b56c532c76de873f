/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of a path: silence, new directions, release, adoption by the next agent, MTU, held packets, the control
 * lane. */
#include <criterion/criterion.h>
#include <endian.h>
#include <string.h>

#include "../../user/common/crypto.h"
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

TestSuite(path, .init = setup, .fini = teardown, .timeout = 60);

static void connect_nodes(void)
{
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 2000, world_both_up));
	world_run(&w, 100);
}

static struct ntm_dp_fake_path *path(int node)
{
	return ntm_dp_fake_path(w.n[node]->dp, world_tunnel(&w, node)->id);
}

static bool drop_path_packets(struct world *world, const struct world_packet *p)
{
	(void)world;
	return (p->data[0] & 15) == NTM_T_DATA;
}

static bool drop_to_bob(struct world *world, const struct world_packet *p)
{
	(void)world;
	return p->to == 1 && p->from == 0;
}

static unsigned control_sent, padded_limit, padded_lost;

static void count_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	control_sent += (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL;
}

Test(path, idle_is_kept_alive_at_small_cost)
{
	connect_nodes();
	w.see = count_control;
	control_sent = 0;
	world_run(&w, 60000);
	cr_assert(world_both_up(&w));
	cr_assert_geq(control_sent, 6, "asked and answered at least every 15 s");
	cr_assert_leq(control_sent, 20);
	cr_assert_eq(w.dc.requests, 1);
}

Test(path, one_way_traffic_is_no_silence)
{
	connect_nodes();
	for (int i = 0; i < 300; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 100);
	}
	cr_assert(world_both_up(&w));
	cr_assert_eq(w.dc.requests, 1);
}

Test(path, silence_under_traffic_makes_a_new_path_and_keeps_the_old_until_then)
{
	uint64_t first;

	connect_nodes();
	first = world_tunnel(&w, 0)->id;
	w.drop = drop_path_packets;
	for (int i = 0; i < 150 && w.dc.requests < 2; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 10);
	}
	cr_assert_eq(w.dc.requests, 2, "a second and a half is enough to see it");
	cr_assert_eq(w.dc.last_stale, first);
	cr_assert_not_null(ntm_dp_fake_path(w.n[0]->dp, first));
	w.drop = NULL;
	for (int i = 0; i < 100; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 100);
	}
	cr_assert_null(ntm_dp_fake_path(w.n[0]->dp, first), "superseded");
	cr_assert(world_both_up(&w));
	cr_assert_neq(world_tunnel(&w, 0)->id, first);
	cr_assert(path(0)->active);
}

static bool drop_new_to_bob(struct world *world, const struct world_packet *p)
{
	return drop_to_bob(world, p) && drop_path_packets(world, p) &&
	       be64toh(((const struct ntm_hdr *)p->data)->id) == world->dc.last_path;
}

/* With a path that works, the responder's first packets on the next one need not be faster than its answer. */
Test(path, the_next_one_is_used_by_the_responder_when_the_initiator_does)
{
	uint64_t first, next;

	connect_nodes();
	first = world_tunnel(&w, 0)->id;
	w.drop = drop_new_to_bob;
	ntm_live_redirect(world_tunnel(&w, 0));
	world_run(&w, 20);
	next = w.dc.last_path;
	cr_assert_neq(next, first);
	cr_assert(ntm_dp_fake_path(w.n[0]->dp, next)->active);
	cr_assert(ntm_dp_fake_path(w.n[1]->dp, first)->active, "not heard of on the new one");
	cr_assert(world_traffic(&w, 1, 100));
	world_run(&w, 5);
	cr_assert_eq(ntm_dp_fake_path(w.n[0]->dp, first)->stats.rx_packets, 1);
	w.drop = NULL;
	world_run(&w, 300);
	cr_assert(ntm_dp_fake_path(w.n[1]->dp, next)->active);
	cr_assert(world_both_up(&w));
}

Test(path, of_which_the_responder_hears_nothing_is_given_up)
{
	uint64_t first, next;

	connect_nodes();
	first = world_tunnel(&w, 0)->id;
	w.drop = drop_new_to_bob;
	ntm_live_redirect(world_tunnel(&w, 0));
	world_run(&w, 20);
	next = w.dc.last_path;
	w.drop = drop_to_bob;
	world_run(&w, 11000);
	cr_assert_null(ntm_dp_fake_path(w.n[1]->dp, next));
	cr_assert(ntm_dp_fake_path(w.n[1]->dp, first)->active);
	w.drop = NULL;
	world_traffic(&w, 0, 100);
	world_run(&w, 5000);
	for (int i = 0; i < 50; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 100);
	}
	cr_assert(world_both_up(&w));
}

Test(path, a_peer_that_is_away_costs_no_storm)
{
	connect_nodes();
	w.dc.no_bob = true;
	w.drop = drop_path_packets;
	for (int i = 0; i < 1200; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 100);
	}
	cr_assert_leq(w.dc.requests, 12, "back-off: 1, 2, 4 ... 30 s; was %u", w.dc.requests);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_SILENT);
	w.drop = NULL;
	world_run(&w, 31000);
	cr_assert_eq(world_tunnel(&w, 0)->state, NTM_TUN_UP, "it answers again: the same path goes on");
}

Test(path, a_peer_that_lost_its_state_gets_a_new_path)
{
	connect_nodes();
	ntm_path_end(world_tunnel(&w, 1), 0, "test");
	for (int i = 0; i < 60 && w.dc.requests < 2; i++) {
		world_traffic(&w, 0, 100);
		world_run(&w, 100);
	}
	world_run(&w, 8000);
	cr_assert(world_both_up(&w));
	cr_assert_eq(w.n[0]->tunnels.n, 1);
	cr_assert(world_traffic(&w, 0, 100));
	world_run(&w, 5);
	cr_assert_eq(path(1)->stats.rx_packets, 1);
}

Test(path, release_by_the_peer_ends_it)
{
	connect_nodes();
	ntm_path_end(world_tunnel(&w, 0), NTM_PATH_END_TELL_PEER, "test");
	world_run(&w, 10);
	cr_assert_null(world_tunnel(&w, 1));
	cr_assert_eq(ntm_dp_fake_path_count(w.n[1]->dp), 0);
}

Test(path, release_by_the_dc_ends_it)
{
	struct ntm_sig m;

	connect_nodes();
	ntm_sig_init(&m, NTM_M_RELEASE, 77);
	m.path_id = world_tunnel(&w, 1)->id;
	m.have = 1u << NTM_F_PATH_ID;
	world_dc_send(&w, 1, &m);
	world_run(&w, 10);
	cr_assert_null(world_tunnel(&w, 1));
	cr_assert_eq(w.dc.acks, 2);
}

Test(path, unused_for_an_hour_is_released)
{
	connect_nodes();
	for (int i = 0; i < 62 && world_tunnel(&w, 0); i++)
		world_run(&w, 60000);
	cr_assert_null(world_tunnel(&w, 0));
	cr_assert_null(world_tunnel(&w, 1));
}

Test(path, the_next_agent_goes_on_with_it_though_the_dc_is_down)
{
	uint64_t id;

	connect_nodes();
	id = world_tunnel(&w, 0)->id;
	w.dc.down = true;
	world_restart(&w, 0);
	world_restart(&w, 1);
	cr_assert_eq(world_tunnel(&w, 0)->id, id);
	for (int i = 0; i < 150; i++) {
		cr_assert(world_traffic(&w, 0, 100));
		world_run(&w, 1000);
	}
	cr_assert(world_both_up(&w));
	cr_assert_eq(path(0)->stats.tx_epoch, 1, "rekeyed by the new agents");
	cr_assert_eq(path(1)->stats.tx_epoch, 1);
	cr_assert_eq(path(1)->stats.rx_packets, 150);
}

Test(path, a_half_made_one_is_not_adopted)
{
	w.drop = drop_to_bob;
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	world_run(&w, 100);
	cr_assert_eq(ntm_dp_fake_path_count(w.n[0]->dp), 1);
	world_restart(&w, 0);
	cr_assert_eq(ntm_dp_fake_path_count(w.n[0]->dp), 0);
	cr_assert_null(world_tunnel(&w, 0));
}

/* A link that carries so many bytes of inner packet. */
static bool drop_big(struct world *world, const struct world_packet *p)
{
	(void)world;
	if ((p->data[0] & 15) != NTM_T_DATA || p->len <= padded_limit + 32)
		return false;
	padded_lost++;
	return true;
}

Test(path, mtu_is_what_both_uplinks_allow)
{
	connect_nodes();
	cr_assert_eq(path(0)->path.inner_mtu, 1500 - 20 - 8 - 32);
	cr_assert_eq(path(1)->path.inner_mtu, 1500 - 20 - 8 - 32);
	cr_assert_not(path(0)->path.small_outer);
}

Test(path, mtu_finds_a_narrower_link)
{
	padded_limit = 1350;
	w.drop = drop_big;
	connect_nodes();
	world_run(&w, 3000);
	cr_assert_leq(path(0)->path.inner_mtu, 1350);
	cr_assert_geq(path(0)->path.inner_mtu, 1342);
	cr_assert_not(path(0)->path.small_outer);
}

Test(path, mtu_below_1280_is_made_up_for_by_fragments)
{
	padded_limit = 1000;
	w.drop = drop_big;
	connect_nodes();
	world_run(&w, 5000);
	cr_assert_leq(path(0)->path.inner_mtu, 1000);
	cr_assert_geq(path(0)->path.inner_mtu, 992);
	cr_assert(path(0)->path.small_outer);
}

Test(path, mtu_black_hole_later_is_noticed)
{
	connect_nodes();
	padded_limit = 1300;
	padded_lost = 0;
	w.drop = drop_big;
	for (int i = 0; i < 70; i++) {
		world_traffic(&w, 0, 100);
		world_traffic(&w, 1, 100);
		world_run(&w, 1000);
	}
	cr_assert_geq(padded_lost, 3);
	cr_assert_leq(path(0)->path.inner_mtu, 1300);
	cr_assert_geq(path(0)->path.inner_mtu, 1280);
}

Test(path, mtu_follows_the_peers_uplink)
{
	struct ntm_uplink_info u = w.n[1]->uplinks[0];

	connect_nodes();
	u.dp.mtu = 1400;
	ntm_node_set_uplinks(w.n[1], &u, 1, false);
	world_run(&w, 50);
	cr_assert_eq(path(0)->path.inner_mtu, 1340);
	cr_assert_eq(path(1)->path.inner_mtu, 1340);
	u.dp.mtu = 1500;
	ntm_node_set_uplinks(w.n[1], &u, 1, false);
	world_run(&w, 200);
	cr_assert_eq(path(0)->path.inner_mtu, 1440, "and up again, once proven");
}

Test(path, mtu_stays_while_the_peer_answers_nothing)
{
	connect_nodes();
	world_run(&w, 50000);
	world_traffic(&w, 0, 100);
	world_run(&w, 5000);
	w.drop = drop_path_packets;
	world_run(&w, 30000);
	cr_assert_eq(path(0)->path.inner_mtu, 1440);
}

static uint8_t bob_vip[16];

static void packets_without_path(unsigned n)
{
	uint8_t packet[100] = {0x45};

	ntm_ip_parse("100.96.0.2", bob_vip);
	for (unsigned i = 0; i < n; i++)
		ntm_dp_fake_no_path(w.n[0]->dp, bob_vip, packet, sizeof(packet));
	w.n[0]->dp->ops->dispatch(w.n[0]->dp);
}

Test(path, packets_to_a_known_address_wait_for_the_path)
{
	packets_without_path(5);
	cr_assert_eq(w.n[0]->hold.n, 5);
	cr_assert(world_until(&w, 1000, world_both_up));
	world_run(&w, 10);
	cr_assert_eq(w.n[0]->hold.n, 0);
	cr_assert_eq(path(1)->stats.rx_packets, 5, "all of them, once");
	cr_assert_eq(w.dc.requests, 1);
}

Test(path, packets_to_nobody_are_dropped_and_ask_seldom)
{
	uint8_t vip[16], packet[100] = {0x45};

	ntm_ip_parse("100.96.9.9", vip);
	for (int i = 0; i < 500; i++) {
		ntm_dp_fake_no_path(w.n[0]->dp, vip, packet, sizeof(packet));
		w.n[0]->dp->ops->dispatch(w.n[0]->dp);
		world_run(&w, 10);
		cr_assert_leq(w.n[0]->hold.n, 2);
	}
	cr_assert_geq(w.dc.requests, 4);
	cr_assert_leq(w.dc.requests, 6, "one a second, for five seconds");
}

Test(path, packets_too_big_are_sent_by_the_agent)
{
	uint8_t packet[1280] = {0x60};

	connect_nodes();
	ntm_dp_fake_too_big(w.n[0]->dp, world_tunnel(&w, 0)->id, packet, sizeof(packet));
	w.n[0]->dp->ops->dispatch(w.n[0]->dp);
	world_run(&w, 5);
	cr_assert_eq(path(1)->stats.rx_packets, 1);
}

static struct world_packet kept;
static bool keep_next;

static void keep_control(struct world *world, const struct world_packet *p)
{
	(void)world;
	if (p->from == 0 && (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL) {
		control_sent++;
		if (keep_next) {
			kept = *p;
			keep_next = false;
		}
	} else if (p->from == 1 && (p->data[0] & 15) == NTM_T_DATA && p->data[1] >> 4 == NTM_SUITE_CONTROL) {
		control_sent++;
	}
}

Test(path, control_messages_are_taken_once_and_never_forged)
{
	struct world_packet forged;

	connect_nodes();
	w.see = keep_control;
	keep_next = true;
	ntm_ctl_probe(world_tunnel(&w, 0), NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	control_sent = 0;
	world_run(&w, 5);
	cr_assert_eq(control_sent, 1, "answered");
	world_deliver(&w, &kept);
	world_run(&w, 5);
	cr_assert_eq(control_sent, 1, "a replay is not");
	/* Every bit of a fresh one counts, header included. */
	w.drop = drop_to_bob;
	keep_next = true;
	ntm_ctl_probe(world_tunnel(&w, 0), NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	control_sent = 0;
	for (size_t i = 0; i < kept.len; i++) {
		forged = kept;
		forged.data[i] ^= 0x80;
		if (i >= 8 && i < 16)
			continue; /* another path's: unknown */
		if (i > 1 || i == 0)
			world_deliver(&w, &forged);
	}
	for (size_t len = 16; len < kept.len; len++) {
		forged = kept;
		forged.len = len;
		world_deliver(&w, &forged);
	}
	world_run(&w, 5);
	cr_assert_eq(control_sent, 0);
	world_deliver(&w, &kept);
	world_run(&w, 5);
	cr_assert_eq(control_sent, 1, "the true one still is answered");
}

Test(path, control_from_a_new_address_moves_the_endpoint)
{
	struct ntm_addr moved;

	connect_nodes();
	w.see = keep_control;
	w.drop = drop_to_bob;
	keep_next = true;
	ntm_ctl_probe(world_tunnel(&w, 0), NTM_PROBE_LIVE, NTM_M_UPDATE_REQUEST, 0, NULL);
	ntm_addr_parse("10.0.0.1:9999", 0, &moved);
	kept.src = moved;
	world_deliver(&w, &kept);
	cr_assert(ntm_addr_equal(&path(1)->path.endpoint, &moved));
	/* An older one, from elsewhere, does not. */
	world_run(&w, 100);
	ntm_addr_parse("10.0.0.1:4680", 0, &kept.src);
	world_deliver(&w, &kept);
	cr_assert(ntm_addr_equal(&path(1)->path.endpoint, &moved));
}

/* Each lane reports for itself, and the agent sets endpoints: a report may be of where the peer no longer is. */
Test(path, a_late_report_of_a_move_changes_no_route)
{
	struct ntm_addr direct, elsewhere = {.port = htobe16(NTM_PORT)};
	struct ntm_tunnel *t;
	enum ntm_route_kind kind;

	connect_nodes();
	world_run(&w, 3000);
	t = world_tunnel(&w, 0);
	direct = path(0)->path.endpoint;
	kind = t->route.kind;
	if (ntm_ip_is_v4(direct.ip))
		elsewhere.ip[0] = 0x20;
	else
		ntm_ip_from_v4(elsewhere.ip, (const uint8_t[]){203, 0, 113, 77});
	ntm_dp_fake_roamed(w.n[0]->dp, t->id, &elsewhere);
	cr_assert_eq(ntm_route_set(t, &direct, 0, "test"), 0);
	w.n[0]->dp->ops->dispatch(w.n[0]->dp);
	cr_assert(ntm_addr_equal(&path(0)->path.endpoint, &direct));
	cr_assert_eq(t->route.kind, kind, "%s", ntm_route_kind_name(t->route.kind));
	/* and one that still holds does */
	ntm_dp_fake_roamed(w.n[0]->dp, t->id, &elsewhere);
	w.n[0]->dp->ops->dispatch(w.n[0]->dp);
	cr_assert_neq(t->route.kind, kind);
}

Test(path, an_unknown_control_message_is_answered_with_an_error)
{
	connect_nodes();
	w.see = keep_control;
	control_sent = 0;
	ntm_ctl_probe(world_tunnel(&w, 0), NTM_PROBE_LIVE, NTM_M_DIRECTION_REQUEST, 0, NULL);
	world_run(&w, 5);
	cr_assert_eq(control_sent, 2);
	cr_assert(world_both_up(&w));
}

Test(path, control_counters_survive_the_agent)
{
	uint64_t counter;

	connect_nodes();
	counter = path(0)->agent.ctl_tx_counter[0];
	cr_assert_gt(counter, 0);
	world_restart(&w, 0);
	cr_assert_geq(path(0)->agent.ctl_tx_counter[0], counter, "no nonce is used twice");
	w.see = keep_control;
	control_sent = 0;
	ntm_ctl_probe(world_tunnel(&w, 0), NTM_PROBE_LIVE, NTM_M_KEEP_ALIVE, 0, NULL);
	world_run(&w, 5);
	cr_assert_geq(control_sent, 2);
}

Test(path, route_directions_that_make_no_sense_are_refused)
{
	struct ntm_sig good, m;
	struct ntm_tunnel *t;

	connect_nodes();
	good = w.dc.last_direction[0];
	good.path_id = 12345;
	for (unsigned f = 0; f < 32; f++) {
		if (!(good.have >> f & 1) || f == NTM_F_NAME || f == NTM_F_CANDIDATE)
			continue;
		m = good;
		m.have &= ~NTM_SIG_BIT(f);
		cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG, "field %u is needed", f);
	}
	m = good;
	m.role = 3;
	cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG);
	m = good;
	m.path_id = 0;
	cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG);
	m = good;
	memcpy(m.vip4, w.n[0]->id.addrs.vip4, 4);
	cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG, "own address");
	m = good;
	m.vip4[0] = 8;
	cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG, "outside the pool");
	m = good;
	memcpy(m.public_key, w.n[0]->pub, NTM_DH_LEN);
	cr_assert_eq(ntm_path_directed(w.n[0], &m, &t), -EBADMSG, "own key");
	cr_assert_eq(w.n[0]->tunnels.n, 1);
}

Test(path, when_the_data_plane_is_full_the_dc_hears_of_it)
{
	ntm_dp_fake_fail_next(w.n[1]->dp, NTM_FAKE_ADD_PATH, -ENOSPC);
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	world_run(&w, 10);
	cr_assert_eq(w.dc.last_error, NTM_E_BUSY);
	world_run(&w, 2000);
	cr_assert_null(world_tunnel(&w, 0));
}

Test(path, an_uplink_change_tells_every_peer_and_the_dc)
{
	struct ntm_uplink_info u = w.n[0]->uplinks[0];
	unsigned registrations;

	connect_nodes();
	world_run(&w, 5000);
	registrations = w.dc.registrations;
	w.see = count_control;
	control_sent = 0;
	ntm_dp_fake_forget_calls(w.n[0]->dp);
	ntm_node_set_uplinks(w.n[0], &u, 1, true);
	world_run(&w, 20);
	cr_assert_eq(ntm_dp_fake_count(w.n[0]->dp, NTM_FAKE_SET_UPLINKS, 0), 1);
	cr_assert_geq(ntm_dp_fake_count(w.n[0]->dp, NTM_FAKE_SEAL, 0), 1, "the packet that moves XDP's endpoint");
	cr_assert_geq(control_sent, 2);
	cr_assert_eq(w.dc.registrations, registrations + 1);
}
