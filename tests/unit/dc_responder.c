/* SPDX-License-Identifier: BSD-2-Clause */
/* Handshakes that wait for a thread: too many of them, and some whose key is not ours any more when their turn comes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../dc/responder.h"

enum { CURRENT = 7, PREVIOUS = 8 }; /* numbers of our keys */

static uv_loop_t loop;
static struct ntm_dc_sessions sessions;
static struct ntm_dc_identities ids;
static struct ntm_dc_responder *responder;
static struct ntm_session_init_state asked[2]; /* for the keys of ids */
static uint8_t node_pub[NTM_DH_LEN];
static unsigned answered, of_previous, refused;
static struct ntm_dc_handshake last;

static void on_done(void *arg, const struct ntm_dc_handshake *h)
{
	static const struct ntm_session_resp none;

	(void)arg;
	answered++;
	if (h->err) {
		cr_assert_eq(h->err, -ENOKEY);
		cr_assert_eq(h->number, PREVIOUS);
		cr_assert_eq(memcmp(&h->resp, &none, sizeof(none)), 0, "nothing to be sent");
		refused++;
	} else {
		cr_assert_arr_eq(h->keys.peer_key, node_pub, NTM_DH_LEN);
		of_previous += h->number == PREVIOUS;
	}
	last = *h;
}

static void add_key(uint32_t number)
{
	struct ntm_dc_identity *id = &ids.items[ids.n];
	struct ntm_cookie_client cookies;
	static uint8_t priv[NTM_DH_LEN];

	if (!ids.n)
		cr_assert_eq(ntm_x25519_generate(priv, node_pub), 0);
	id->number = number;
	cr_assert_eq(ntm_x25519_generate(id->priv, id->pub), 0);
	cr_assert_eq(ntm_cookie_client_init(&cookies, id->pub), 0);
	cr_assert_eq(ntm_session_begin(&asked[ids.n], priv, node_pub, id->pub, &cookies, 1000), 0);
	ids.n++;
}

static void setup(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	uv_loop_init(&loop);
	cr_assert_eq(ntm_dc_sessions_init(&sessions), 0);
	add_key(CURRENT);
	add_key(PREVIOUS);
	cr_assert_eq(ntm_dc_responder_start(&responder, &loop, &sessions.kept, on_done, NULL), 0);
	ntm_dc_responder_set_keys(responder, &ids);
}

static void teardown(void)
{
	ntm_dc_responder_stop(responder);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	ntm_dc_sessions_free(&sessions);
}

TestSuite(responder, .init = setup, .fini = teardown, .timeout = 60);

static int ask(int key)
{
	struct ntm_dc_handshake h = {.number = ids.items[key].number, .local_id = 42, .now_ms = 1000};

	h.init = asked[key].msg;
	return ntm_dc_responder_ask(responder, &h);
}

static void until_answered(unsigned n)
{
	while (answered < n)
		uv_run(&loop, UV_RUN_ONCE);
	cr_assert_eq(answered, n);
}

/* No thread gets beyond its first handshake before release(). */
static void hold(void)
{
	pthread_mutex_lock(&sessions.kept.lock);
}

static void release(void)
{
	pthread_mutex_unlock(&sessions.kept.lock);
}

static void expect_good_answer(int key)
{
	struct ntm_session_init_state st = asked[key];
	struct ntm_session s;

	cr_assert_eq(last.err, 0);
	cr_assert_eq(ntm_session_finish(&st, &last.resp, sizeof(last.resp), 1000, &s), 0);
	cr_assert_eq(s.remote_id, 42);
}

Test(responder, a_full_queue_refuses_and_takes_more_when_it_was_emptied)
{
	for (unsigned round = 1; round <= 2; round++) {
		hold();
		for (int i = 0; i < NTM_DC_HANDSHAKES_MAX; i++)
			cr_assert_eq(ask(0), 0, "%d", i);
		cr_assert_eq(ask(0), -EBUSY);
		cr_assert_eq(ask(1), -EBUSY);
		release();
		until_answered(round * NTM_DC_HANDSHAKES_MAX);
		cr_assert_eq(refused, 0);
		expect_good_answer(0);
	}
}

/* Those that the loop did not take yet have their places, too. */
Test(responder, answers_that_are_not_taken_fill_the_queue)
{
	for (int i = 0; i < NTM_DC_HANDSHAKES_MAX; i++)
		cr_assert_eq(ask(0), 0);
	cr_assert_eq(ask(0), -EBUSY, "however many of them are answered by now");
	until_answered(NTM_DC_HANDSHAKES_MAX);
	cr_assert_eq(ask(0), 0);
	until_answered(NTM_DC_HANDSHAKES_MAX + 1);
}

Test(responder, a_key_that_was_dropped_answers_nothing_that_waited_for_it)
{
	hold();
	for (int i = 0; i < NTM_DC_HANDSHAKES_MAX; i++)
		cr_assert_eq(ask(i & 1), 0);
	ids.n = 1;
	ntm_dc_responder_set_keys(responder, &ids);
	release();
	until_answered(NTM_DC_HANDSHAKES_MAX);
	cr_assert_leq(of_previous, NTM_DC_RESPONDERS_MAX, "what a thread was at already");
	cr_assert_eq(of_previous + refused, NTM_DC_HANDSHAKES_MAX / 2);

	cr_assert_eq(ask(1), 0);
	until_answered(NTM_DC_HANDSHAKES_MAX + 1);
	cr_assert_eq(last.err, -ENOKEY, "nor what comes later");
	cr_assert_eq(ask(0), 0);
	until_answered(NTM_DC_HANDSHAKES_MAX + 2);
	expect_good_answer(0);
}

Test(responder, what_waits_at_the_end_has_no_answer)
{
	hold();
	for (int i = 0; i < NTM_DC_HANDSHAKES_MAX; i++)
		cr_assert_eq(ask(0), 0);
	release(); /* teardown() ends it */
}
