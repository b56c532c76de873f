/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "../../dc/nodes.h"
#include "../../dc/sessions.h"
#include "../../user/common/crypto.h"

static struct ntm_dc_sessions ss;
static struct ntm_dc_nodes ns;

static void setup(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_dc_sessions_init(&ss), 0);
	cr_assert_eq(ntm_dc_nodes_init(&ns), 0);
}

static void teardown(void)
{
	ntm_dc_sessions_free(&ss);
	ntm_dc_nodes_free(&ns);
}

TestSuite(sessions, .init = setup, .fini = teardown);

static struct ntm_dc_session *add(uint64_t now_ms)
{
	struct ntm_dc_route route = {.sock = 0};
	struct ntm_session keys = {.created_ms = now_ms};

	cr_assert_eq(ntm_dc_session_new_id(&ss, &keys.local_id), 0);
	cr_assert_neq(keys.local_id, 0);
	return ntm_dc_session_add(&ss, &keys, &route, now_ms);
}

static struct ntm_dc_node *node(uint64_t id)
{
	struct ntm_node_record rec = {.id = id, .index = (uint32_t)id};

	rec.public_key[0] = (uint8_t)id;
	snprintf(rec.label, sizeof(rec.label), "n%u", (unsigned)id);
	return ntm_dc_node_add(&ns, &rec);
}

Test(sessions, unconfirmed_ones_are_bounded_and_the_oldest_goes_first)
{
	uint64_t first = add(1)->keys.local_id, second = add(1)->keys.local_id;

	for (int i = 2; i < NTM_DC_PENDING_MAX; i++)
		add(2);
	cr_assert_eq(ss.by_id.n, NTM_DC_PENDING_MAX);
	cr_assert_not_null(ntm_dc_session_find(&ss, first));
	for (int i = 0; i < 3 * NTM_DC_PENDING_MAX; i++) {
		add(3);
		cr_assert_leq(ss.by_id.n, (size_t)NTM_DC_PENDING_MAX);
		if (i == 0) {
			cr_assert_null(ntm_dc_session_find(&ss, first));
			cr_assert_not_null(ntm_dc_session_find(&ss, second));
		}
	}
	cr_assert_eq(ss.evicted, 3 * NTM_DC_PENDING_MAX);
}

Test(sessions, flood_of_handshakes_leaves_confirmed_and_bound_ones_alone)
{
	struct ntm_dc_session *stranger = add(1), *bound = add(1);
	struct ntm_dc_node *n = node(1);

	ntm_dc_session_confirm(&ss, stranger, 1);
	ntm_dc_session_confirm(&ss, bound, 1);
	ntm_dc_session_bind(&ss, bound, n, 1);
	uint64_t ids[2] = {stranger->keys.local_id, bound->keys.local_id};

	for (int i = 0; i < 2 * NTM_DC_PENDING_MAX; i++)
		add(2);
	cr_assert_eq(ntm_dc_session_find(&ss, ids[0]), stranger);
	cr_assert_eq(ntm_dc_session_find(&ss, ids[1]), bound);
	for (int i = 0; i < 2 * NTM_DC_STRANGERS_MAX; i++)
		ntm_dc_session_confirm(&ss, add(3), 3);
	cr_assert_null(ntm_dc_session_find(&ss, ids[0]), "strangers are bounded too");
	cr_assert_eq(ntm_dc_session_find(&ss, ids[1]), bound);
	cr_assert_eq(n->session, bound);
}

Test(sessions, new_session_takes_the_place_of_the_nodes_former_one_when_bound)
{
	struct ntm_dc_node *n = node(1);
	struct ntm_dc_session *a = add(1), *b;
	uint64_t a_id = a->keys.local_id;

	ntm_dc_session_confirm(&ss, a, 1);
	ntm_dc_session_bind(&ss, a, n, 1);
	b = add(2);
	cr_assert_eq(n->session, a, "a handshake alone changes nothing");
	ntm_dc_session_confirm(&ss, b, 3);
	ntm_dc_session_bind(&ss, b, n, 3);
	cr_assert_eq(n->session, b);
	cr_assert_null(ntm_dc_session_find(&ss, a_id));
	ntm_dc_session_bind(&ss, b, n, 4);
	cr_assert_eq(n->session, b);
	ntm_dc_session_remove(&ss, b);
	cr_assert_null(n->session);
}

Test(sessions, each_kind_expires_at_its_time)
{
	struct ntm_dc_node *n = node(1);
	struct ntm_dc_session *bound = add(1000), *stranger = add(1000);
	uint64_t end = 1000 + NTM_DC_SESSION_LIFETIME_S * 1000ULL + NTM_DC_SESSION_GRACE_MS;

	add(1000);
	ntm_dc_session_confirm(&ss, stranger, 1000);
	ntm_dc_session_confirm(&ss, bound, 1000);
	ntm_dc_session_bind(&ss, bound, n, 1000);
	ntm_dc_sessions_expire(&ss, 1000 + NTM_DC_PENDING_MS - 1);
	cr_assert_eq(ss.by_id.n, 3);
	ntm_dc_sessions_expire(&ss, 1000 + NTM_DC_PENDING_MS);
	cr_assert_eq(ss.by_id.n, 2);
	ntm_dc_sessions_expire(&ss, 1000 + NTM_DC_STRANGERS_MS);
	cr_assert_eq(ss.by_id.n, 1);
	ntm_dc_sessions_expire(&ss, end - 1);
	cr_assert_eq(n->session, bound);
	ntm_dc_sessions_expire(&ss, end);
	cr_assert_null(n->session);
	cr_assert_eq(ss.by_id.n, 0);
}

Test(sessions, delayed_answers_come_when_they_are_due)
{
	const uint64_t start = 1000000 * 1000ULL + 700;
	struct ntm_dc_session *a = add(start), *b = add(start), *gone = add(start);
	struct ntm_dc_route to = {.sock = 3};

	ntm_dc_session_delay(&ss, a, 1, &to, start, NTM_DC_DELAY_MAX_S);
	ntm_dc_session_delay(&ss, b, 2, &to, start, 1);
	ntm_dc_session_delay(&ss, gone, 3, &to, start, 1);
	ntm_dc_session_remove(&ss, gone);
	cr_assert_null(ntm_dc_session_delay_over(&ss, start + 999));
	cr_assert_eq(ntm_dc_session_delay_over(&ss, start + 2000), b);
	cr_assert_eq(b->delayed.txid, 2);
	cr_assert_eq(b->delayed.to.sock, 3);
	cr_assert_null(ntm_dc_session_delay_over(&ss, start + 2000));

	ntm_dc_session_delay(&ss, a, 1, &to, start + 5000, 1); /* the same one again */
	cr_assert_null(ntm_dc_session_delay_over(&ss, start + 8000));
	ntm_dc_session_delay(&ss, b, 4, &to, start + 8000, 100);
	ntm_dc_session_delay(&ss, b, 5, &to, start + 9000, 20); /* another in its place */
	/* seconds without a look at them */
	cr_assert_eq(ntm_dc_session_delay_over(&ss, start + 122000), b);
	cr_assert_eq(b->delayed.txid, 5);
	cr_assert_eq(ntm_dc_session_delay_over(&ss, start + 122000), a);
	cr_assert_null(ntm_dc_session_delay_over(&ss, start + 122000));
	ntm_dc_session_delay(&ss, a, 6, &to, start + 122000, 1);
	cr_assert_eq(ntm_dc_session_delay_over(&ss, start + 900000), a, "however late");
}

Test(sessions, nodes_go_offline_in_the_order_they_fell_silent)
{
	struct ntm_dc_node *a = node(1), *b = node(2);

	ntm_dc_node_seen(&ns, a, 1000);
	ntm_dc_node_seen(&ns, b, 2000);
	ntm_dc_node_seen(&ns, a, 3000);
	cr_assert_eq(ns.n_online, 2);
	cr_assert_null(ntm_dc_nodes_expire(&ns, 2999, 1000));
	cr_assert_eq(ntm_dc_nodes_expire(&ns, 3000, 1000), b);
	cr_assert_null(ntm_dc_nodes_expire(&ns, 3999, 1000));
	cr_assert_eq(ntm_dc_nodes_expire(&ns, 4000, 1000), a);
	cr_assert_eq(ns.n_online, 0);
	cr_assert(!a->online && !b->online);
}

Test(sessions, thousands_of_nodes_are_found_while_the_table_grows)
{
	char label[16];

	for (uint64_t i = 1; i <= 5000; i++)
		node(i);
	for (uint32_t i = 1; i <= 5000; i++) {
		snprintf(label, sizeof(label), "n%u", i);
		cr_assert_eq(ntm_dc_node_by_label(&ns, label), ntm_dc_node_by_index(&ns, i));
		cr_assert_eq(ntm_dc_node_by_index(&ns, i)->rec.id, i);
		if (i % 2)
			ntm_dc_node_remove(&ns, ntm_dc_node_by_index(&ns, i));
	}
	for (uint32_t i = 1; i <= 5000; i++)
		cr_assert_eq(ntm_dc_node_by_index(&ns, i) != NULL, i % 2 == 0);
}

Test(sessions, static_exchange_is_found_for_the_same_two_keys_alone)
{
	const uint8_t key[NTM_DH_LEN] = {1}, other[NTM_DH_LEN] = {2}, exchange[NTM_DH_LEN] = {9, 8, 7};
	struct ntm_dc_session *s = add(1), *next;
	struct ntm_dc_node *n = node(1);
	uint8_t got[NTM_DH_LEN];

	ntm_dc_session_set_peer_key(&ss, s, key);
	ntm_dc_session_keep_ss(s, exchange, 1);
	ntm_dc_session_confirm(&ss, s, 1);
	cr_assert(!ntm_dc_kept_find(&ss.kept, key, 1, got), "of a stranger");
	ntm_dc_session_bind(&ss, s, n, 1);
	cr_assert(!ntm_dc_kept_find(&ss.kept, key, 0, got), "of no key of ours");
	cr_assert(ntm_dc_kept_find(&ss.kept, key, 1, got));
	cr_assert_arr_eq(got, exchange, NTM_DH_LEN);
	cr_assert(!ntm_dc_kept_find(&ss.kept, key, 2, got), "with another key of the DC");
	cr_assert(!ntm_dc_kept_find(&ss.kept, other, 1, got), "with another key of the node");

	ntm_dc_session_set_peer_key(&ss, s, other);
	cr_assert(!ntm_dc_kept_find(&ss.kept, key, 1, got) && !ntm_dc_kept_find(&ss.kept, other, 1, got), "rotated");

	next = add(2);
	ntm_dc_session_set_peer_key(&ss, next, other);
	ntm_dc_session_keep_ss(next, exchange, 1);
	ntm_dc_session_confirm(&ss, next, 2);
	ntm_dc_session_bind(&ss, next, n, 2);
	cr_assert(ntm_dc_kept_find(&ss.kept, other, 1, got), "of the session that took its place");
	s = add(3);
	ntm_dc_session_confirm(&ss, s, 3);
	ntm_dc_session_bind(&ss, s, n, 3);
	cr_assert(!ntm_dc_kept_find(&ss.kept, other, 1, got), "it ended with its session");
	next = s;
	ntm_dc_session_remove(&ss, next);
	cr_assert(!ntm_dc_kept_find(&ss.kept, other, 1, got), "revoked");
}
