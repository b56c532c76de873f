/* SPDX-License-Identifier: BSD-2-Clause */
/* The real-time clock is set while the DC runs: an hour, a month ahead, an hour back. */
#include <fcntl.h>

#include "../harness/dc_rig.h"
#include "../harness/wall_clock.h"

enum { HOUR = 3600, MONTH = 31 * 86400 };

TestSuite(clock, .init = setup, .fini = teardown, .timeout = 30);

static void wake(uv_timer_t *t)
{
	*(bool *)t->data = true;
}

/* So that the DC's own timers have run. */
static void run_for(uint64_t ms)
{
	bool over = false;
	uv_timer_t t;

	uv_timer_init(&loop, &t);
	t.data = &over;
	uv_timer_start(&t, wake, ms, 0);
	while (!over)
		uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&t, NULL);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void set_clock(int64_t ahead_s)
{
	wall_ahead_s = ahead_s;
	run_for(1100); /* a sweep */
}

static struct ntm_sig try_token(struct testnode *t, const char *name, const char *text)
{
	struct ntm_sig answer;

	open_node(t);
	cr_assert_eq(testnode_register(t, name, text, &answer), 0);
	return answer;
}

Test(clock, sessions_nodes_and_paths_do_not_go_by_it)
{
	static const int64_t times[] = {HOUR, -HOUR, MONTH, 0};
	struct testnode a, b;
	struct ntm_sig mine, theirs, again, ack;
	const struct ntm_dc_session *session;

	join(&a, "alice");
	join(&b, "bob");
	session = ntm_dc_node_by_label(&dc.nodes, "alice")->session;
	cr_assert_eq(testnode_direct(&a, "bob", &mine), 0);
	theirs = await_direction(&b);
	cr_assert_eq(theirs.path_id, mine.path_id);
	run_for(50); /* the path is written */
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		set_clock(times[i]);
		cr_assert_eq(dc.nodes.n_online, 2);
		cr_assert_eq(keep_alive(&a, &ack), 0);
		cr_assert_eq(ack.msg, NTM_M_KEEP_ALIVE_RESPONSE);
		cr_assert_eq(ntm_dc_node_by_label(&dc.nodes, "alice")->session, session, "it is the same");
	}
	cr_assert_eq(testnode_direct(&a, "bob", &again), 0);
	cr_assert_eq(again.msg, NTM_M_ROUTE_DIRECTION, "%s", again.error_text);
	testnode_close(&a);
	testnode_close(&b);
}

static int count(void *arg, uint64_t path_id, const uint8_t peer_key[NTM_DH_LEN])
{
	(void)path_id;
	(void)peer_key;
	++*(unsigned *)arg;
	return 0;
}

Test(clock, what_a_revocation_needs_is_not_cleared_away_by_a_month_that_was_never)
{
	struct testnode a, b;
	struct ntm_sig m;
	unsigned n = 0;

	join(&a, "alice");
	join(&b, "bob");
	cr_assert_eq(testnode_direct(&a, "bob", &m), 0);
	await_direction(&b);
	run_for(50);
	dc.purged_ms = 0; /* a clearing is due */
	set_clock(MONTH);
	cr_assert_eq(
	    dc.store->ops->each_path(dc.store, ntm_dc_node_by_label(&dc.nodes, "bob")->rec.id, false, count, &n), 0);
	cr_assert_eq(n, 1);
	cr_assert_eq(ntm_dc_revoke(&dc, "bob"), 0);
	await_release(&a, m.path_id);
	testnode_close(&a);
	testnode_close(&b);
}

Test(clock, tokens_expire_by_it_and_work_again_when_it_is_put_right)
{
	struct testnode t[4];
	struct ntm_sig answer;

	token("made-before", NULL);
	set_clock(HOUR);
	answer = try_token(&t[0], "alice", "made-before");
	expect_error(&answer, NTM_E_BAD_TOKEN);
	token("made-ahead", NULL);
	answer = try_token(&t[1], "bob", "made-ahead");
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "%s", answer.error_text);
	set_clock(0);
	answer = try_token(&t[2], "alice", "made-before");
	cr_assert_eq(answer.msg, NTM_M_REGISTRATION_RESPONSE, "it was not used up: %s", answer.error_text);
	set_clock(-HOUR);
	answer = try_token(&t[3], "carol", "made-ahead");
	expect_error(&answer, NTM_E_BAD_TOKEN); /* used once is used, whatever the clock says */
	for (int i = 0; i < 4; i++)
		testnode_close(&t[i]);
}

/* A revoked node stays so, though the clock says that it is still to come; and so after a restart. */
Test(clock, revocations_made_ahead_of_it_hold)
{
	struct testnode t, again;
	struct ntm_sig answer;

	join(&t, "alice");
	set_clock(HOUR);
	cr_assert_eq(ntm_dc_revoke(&dc, "alice"), 0);
	set_clock(-HOUR);
	stop_dc();
	start_dc();
	again = t;
	cr_assert_eq(testnode_move(&again), 0);
	cr_assert_eq(testnode_connect(&again), 0);
	cr_assert_eq(testnode_register(&again, "alice", "token-of-alice", &answer), 0);
	expect_error(&answer, NTM_E_DENIED);
	testnode_close(&again);
}
