/* SPDX-License-Identifier: BSD-2-Clause */
/* Which paths an agent reports to a DC that was started again (user/node/pathreport.c). */
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

TestSuite(path_report, .init = setup, .fini = teardown, .timeout = 60);

static bool connected(struct world *world)
{
	return ntm_dc_connected(&world->n[0]->dc) && ntm_dc_connected(&world->n[1]->dc) && world->dc.sessions[0].used &&
	       world->dc.sessions[1].used;
}

static void connect_both(void)
{
	ntm_direct(w.n[0], "bob.ntm.example", NULL, 0, NULL, NULL);
	cr_assert(world_until(&w, 1000, world_both_up));
	cr_assert_eq(w.dc.reports, 0);
}

static void restart_dc(void)
{
	world_dc_restart(&w, true);
	world_run(&w, 100);
	cr_assert(connected(&w));
}

Test(path_report, both_ends_report_the_last_path_to_a_dc_that_starts_again)
{
	connect_both();
	restart_dc();
	cr_assert_eq(w.dc.reports, 2);
	cr_assert_eq(w.dc.n_reported, 1);
	cr_assert_eq(w.dc.reported[0], w.dc.last_path);
	world_run(&w, 60000);
	cr_assert_eq(w.dc.reports, 2, "once");
	cr_assert(world_both_up(&w));
}

Test(path_report, none_where_there_is_no_path)
{
	restart_dc();
	cr_assert_eq(w.dc.reports, 0);
}

Test(path_report, not_when_the_dc_was_heard_long_after_the_direction)
{
	connect_both();
	world_run(&w, 31000); /* two Keep Alives */
	restart_dc();
	cr_assert_eq(w.dc.reports, 0);
}

Test(path_report, however_long_the_dc_was_away)
{
	unsigned before;

	connect_both();
	w.dc.down = true;
	world_run(&w, 300000);
	before = w.dc.registrations;
	w.dc.down = false;
	cr_assert(world_until(&w, 20000, connected));
	world_run(&w, 1000);
	cr_assert_eq(w.dc.registrations, before + 2);
	cr_assert_eq(w.dc.reports, 2);
}

Test(path_report, again_when_the_one_that_was_told_is_killed_soon)
{
	connect_both();
	restart_dc();
	world_run(&w, 3000);
	restart_dc();
	cr_assert_eq(w.dc.reports, 4);
	cr_assert_eq(w.dc.reported[0], w.dc.last_path);
	world_run(&w, 31000);
	restart_dc();
	cr_assert_eq(w.dc.reports, 4, "it has had time to write");
}

Test(path_report, not_of_a_session_that_goes_on)
{
	connect_both();
	ntm_dc_reregister(&w.n[0]->dc);
	world_run(&w, 100);
	cr_assert_eq(w.dc.reports, 0);
}

Test(path_report, of_a_path_that_ended_nothing_is_said)
{
	connect_both();
	ntm_path_end(world_tunnel(&w, 0), NTM_PATH_END_TELL_PEER, "test");
	world_run(&w, 50);
	cr_assert_null(world_tunnel(&w, 1));
	restart_dc();
	cr_assert_eq(w.dc.reports, 0);
}

/* Directions to alice, each with another peer, a millisecond after the other. */
static void direct_many(unsigned n)
{
	struct ntm_sig m;

	for (unsigned i = 1; i <= n; i++) {
		uint8_t ip[16];

		ntm_sig_init(&m, NTM_M_ROUTE_DIRECTION, 0x50000000 + i);
		m.path_id = 1000 + i;
		m.role = NTM_ROLE_RESPONDER;
		ntm_ip_parse("100.96.1.0", ip);
		ip[15] = (uint8_t)i;
		memcpy(m.vip4, ip + 12, 4);
		ntm_ip_parse("fd4e:544d::100", m.vip6);
		m.vip6[15] = (uint8_t)i;
		cr_assert_eq(ntm_random(m.public_key, NTM_DH_LEN), 0);
		memset(&m.tickets[0], 1, sizeof(m.tickets[0]));
		m.tickets[0].path_id = htobe64(m.path_id);
		m.n_tickets = 1;
		m.have = 1u << NTM_F_PATH_ID | 1u << NTM_F_ROLE | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6 |
			 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_PSK | NTM_SIG_BIT(NTM_F_PATH_TICKET);
		world_dc_send(&w, 0, &m);
		world_run(&w, 1);
	}
	world_run(&w, 5);
	cr_assert_eq(w.n[0]->tunnels.n, n);
}

Test(path_report, the_newest_first_so_many_at_a_time)
{
	direct_many(40);
	w.dc.refuse_report = NTM_E_BUSY;
	restart_dc();
	cr_assert_eq(w.dc.reports, 1);
	cr_assert_eq(w.dc.n_reported, NTM_PATH_TICKETS_MAX);
	for (unsigned i = 0; i < NTM_PATH_TICKETS_MAX; i++)
		cr_assert_eq(w.dc.reported[i], 1040 - i);
	w.dc.refuse_report = 0;
	world_run(&w, 1100);
	cr_assert_eq(w.dc.reports, 1 + 3, "16, 16 and 8, one after the other");
	cr_assert_eq(w.dc.n_reported, 8);
	cr_assert_eq(w.dc.reported[7], 1001);
}

Test(path_report, one_that_was_refused_for_now_comes_again_and_on_a_new_session)
{
	connect_both();
	w.dc.refuse_report = NTM_E_INTERNAL;
	restart_dc();
	cr_assert_eq(w.dc.reports, 2);
	world_run(&w, 20000);
	cr_assert_geq(w.dc.reports, 2 * 4, "after 1, 3, 7, 15 s");
	cr_assert_leq(w.dc.reports, 2 * 6, "no hammering");
	w.dc.reports = 0;
	w.dc.refuse_report = 0;
	restart_dc();
	cr_assert_eq(w.dc.reports, 2, "it is not forgotten");
	world_run(&w, 60000);
	cr_assert_eq(w.dc.reports, 2);
}

static void refused_for_good(enum ntm_error code)
{
	connect_both();
	w.dc.refuse_report = (uint16_t)code;
	restart_dc();
	cr_assert_eq(w.dc.reports, 2);
	world_run(&w, 60000);
	cr_assert_eq(w.dc.reports, 2);
	cr_assert(connected(&w));
	cr_assert(world_both_up(&w));
}

Test(path_report, a_dc_that_does_not_know_reports_gets_one)
{
	refused_for_good(NTM_E_UNKNOWN_MESSAGE);
}

Test(path_report, one_that_was_refused_for_good_does_not_come_again)
{
	refused_for_good(NTM_E_DENIED);
}

static unsigned to_drop;

static bool drop_reports(struct world *world, const struct world_packet *p)
{
	/* what an agent says to the DC after its registration was answered */
	if (p->to != WORLD_DC || (p->data[0] & 15) != NTM_T_SIGNAL || !ntm_dc_connected(&world->n[p->from]->dc) ||
	    !to_drop)
		return false;
	to_drop--;
	return true;
}

Test(path_report, one_that_was_lost_is_sent_again)
{
	connect_both();
	world_dc_restart(&w, true);
	for (int i = 0; i < 100 && !w.dc.reports; i++) {
		to_drop = 4;
		w.drop = drop_reports;
		world_run(&w, 1);
	}
	world_run(&w, 2000);
	cr_assert_eq(w.dc.reports, 2);
	world_run(&w, 60000);
	cr_assert_eq(w.dc.reports, 2);
}

Test(path_report, a_dc_without_tickets_gets_none)
{
	w.dc.no_tickets = true;
	connect_both();
	restart_dc();
	cr_assert_eq(w.dc.reports, 0);
}
