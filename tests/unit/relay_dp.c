/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of relay paths, through the data plane in memory. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "../../user/relay/relay_table.h"

static struct ntm_relay_dp *dp;
static const uint8_t secret[NTM_KEY_LEN] = {1, 2, 3}, other[NTM_KEY_LEN] = {3, 2, 1};

static struct ntm_addr addr(const char *ip, uint16_t port)
{
	struct ntm_addr a = {.port = htons(port)};
	cr_assert_eq(ntm_ip_parse(ip, a.ip), 0);
	return a;
}

static void up(void)
{
	struct ntm_relay_dp_config c = {.runtime_dir = "/nonexistent", .max_paths = 100, .idle_s = 1};
	char why[128];
	cr_assert_eq(ntm_relay_dp_fake_open(&dp, &c, why, sizeof(why)), 0);
}

static void down(void)
{
	dp->ops->close(dp, false);
}

TestSuite(relay_dp, .init = up, .fini = down);

Test(relay_dp, a_path_is_added_once)
{
	struct ntm_relay_dp_path p;
	cr_assert_eq(dp->ops->get(dp, 7, &p), -ENOENT);
	cr_assert_eq(dp->ops->add(dp, 7, secret, 64), 0);
	cr_expect_eq(dp->ops->add(dp, 7, other, 64), -EEXIST);
	cr_expect_eq(dp->ops->add(dp, 7, secret, 128), 0, "the same again: a new rate");
	cr_assert_eq(dp->ops->get(dp, 7, &p), 0);
	cr_expect_eq(p.path_id, 7);
	cr_expect_arr_eq(p.secret, secret, sizeof(secret));
	cr_expect_eq(p.rate_kbit, 128);
	cr_expect_eq(p.ends[0].addr.port, 0);
	cr_expect_eq(p.ends[1].addr.port, 0);
	cr_expect_eq(dp->ops->count(dp), 1);
	cr_expect_eq(dp->ops->max(dp), 100);
	cr_expect_eq(dp->ops->add(dp, 0, secret, 0), -EINVAL);
	cr_expect_eq(dp->ops->add(dp, UINT64_MAX, secret, 0), -EINVAL);
}

Test(relay_dp, ends_are_bound_and_move)
{
	struct ntm_addr a = addr("192.0.2.10", 1), b = addr("2001:db8::1", 2), c = addr("192.0.2.11", 3);
	struct ntm_relay_dp_path p;
	cr_expect_eq(dp->ops->bind(dp, 7, 0, &a, 1), -ENOENT);
	dp->ops->add(dp, 7, secret, 0);
	cr_assert_eq(dp->ops->bind(dp, 7, 0, &a, 5), 0);
	cr_assert_eq(dp->ops->bind(dp, 7, 1, &b, 6), 0);
	cr_assert_eq(dp->ops->bind(dp, 7, 0, &c, 9), 0);
	cr_assert_eq(dp->ops->get(dp, 7, &p), 0);
	cr_expect(ntm_addr_equal(&p.ends[0].addr, &c));
	cr_expect(ntm_addr_equal(&p.ends[1].addr, &b));
	cr_expect_eq(p.ends[0].seq, 9);
	cr_expect_eq(p.ends[1].seq, 6);
}

Test(relay_dp, binds_that_are_refused)
{
	struct ntm_addr a = addr("192.0.2.10", 1), own = addr("192.0.2.1", 1), none = addr("192.0.2.12", 0);
	struct ntm_relay_dp_path p;
	uint8_t locals[1][16];
	memcpy(locals[0], own.ip, 16);
	cr_assert_eq(dp->ops->set_locals(dp, locals, 1), 0);
	dp->ops->add(dp, 7, secret, 0);
	cr_assert_eq(dp->ops->bind(dp, 7, 0, &a, 5), 0);
	cr_expect_eq(dp->ops->bind(dp, 7, 1, &a, 5), -EINVAL, "A = B");
	cr_expect_eq(dp->ops->bind(dp, 7, 1, &own, 5), -EINVAL, "the relay itself");
	cr_expect_eq(dp->ops->bind(dp, 7, 1, &none, 5), -EINVAL, "no port");
	cr_expect_eq(dp->ops->bind(dp, 7, 2, &none, 5), -EINVAL, "no such end");
	cr_assert_eq(dp->ops->get(dp, 7, &p), 0);
	cr_expect_eq(p.ends[1].addr.port, 0);
	cr_expect_eq(p.ends[1].seq, 0);
	a.port = htons(2);
	cr_expect_eq(dp->ops->bind(dp, 7, 1, &a, 5), 0, "same host, other port");
}

static uint64_t random_id(uint64_t *s)
{
	*s = *s * 6364136223846793005u + 1442695040888963407u;
	return *s ^ *s >> 29;
}

static void count_one(void *arg, const struct ntm_relay_dp_path *p)
{
	cr_expect_arr_eq(p->secret, secret, sizeof(secret));
	++*(unsigned *)arg;
}

Test(relay_dp, it_fills_up_and_empties)
{
	uint64_t ids[100], s = 1;
	struct ntm_relay_dp_path p;
	for (int round = 0; round < 50; round++) {
		unsigned seen = 0;
		for (int i = 0; i < 100; i++) {
			ids[i] = random_id(&s);
			cr_assert_eq(dp->ops->add(dp, ids[i], secret, 0), 0, "path %d of round %d", i, round);
		}
		cr_expect_eq(dp->ops->add(dp, random_id(&s), secret, 0), -ENOSPC);
		dp->ops->foreach(dp, count_one, &seen);
		cr_expect_eq(seen, 100);
		for (int i = 0; i < 100; i++)
			cr_assert_eq(dp->ops->get(dp, ids[i], &p), 0);
		for (int i = 0; i < 100; i++)
			cr_assert_eq(dp->ops->del(dp, ids[i]), 0);
		cr_expect_eq(dp->ops->del(dp, ids[0]), -ENOENT);
		cr_expect_eq(dp->ops->count(dp), 0);
	}
}

Test(relay_dp, a_new_path_has_nothing_of_an_old_one)
{
	struct ntm_addr a = addr("192.0.2.10", 1);
	struct ntm_relay_dp_path p;
	dp->ops->add(dp, 7, secret, 9);
	dp->ops->bind(dp, 7, 0, &a, 5);
	dp->ops->del(dp, 7);
	dp->ops->add(dp, 7, other, 0);
	cr_assert_eq(dp->ops->get(dp, 7, &p), 0);
	cr_expect_arr_eq(p.secret, other, sizeof(other));
	cr_expect_eq(p.ends[0].addr.port, 0);
	cr_expect_eq(p.ends[0].seq, 0);
	cr_expect_eq(p.rate_kbit, 0);
}

Test(relay_dp, idle_paths_end, .timeout = 20)
{
	struct ntm_addr a = addr("192.0.2.10", 1);
	struct ntm_relay_dp_path p;
	struct timespec ts;
	dp->ops->add(dp, 7, secret, 0);
	dp->ops->add(dp, 8, secret, 0);
	cr_expect_eq(dp->ops->expire(dp), 0);
	cr_assert_eq(dp->ops->get(dp, 7, &p), 0);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	uint64_t now = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
	cr_expect(p.last_ns <= now && now - p.last_ns < 10000000000u, "just now");
	unsigned ended = 0;
	for (int i = 0; i < 300 && !ended; i++) {
		usleep(20000);
		dp->ops->bind(dp, 8, 0, &a, (uint64_t)i + 1);
		ended = dp->ops->expire(dp);
	}
	cr_expect_eq(ended, 1);
	cr_expect_eq(dp->ops->get(dp, 7, &p), -ENOENT);
	cr_expect_eq(dp->ops->get(dp, 8, &p), 0, "binds keep it");
}

/* A look-up ends at an empty slot: tombstones go when nothing lies behind them. */
Test(relay_dp, tombstones_do_not_stay)
{
	enum { SLOTS = 64 };
	static struct ntm_relay_path paths[SLOTS];
	static struct ntm_relay_account accounts[SLOTS];
	static struct ntm_relay_agent agents[SLOTS];
	struct ntm_relay_table t;
	memset(paths, 0, sizeof(paths));
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	for (uint64_t i = 1; i <= 5; i++)
		cr_assert_eq(ntm_relay_table_add(&t, i, secret, 0), 0);
	for (uint64_t i = 1; i <= 4; i++)
		cr_assert_eq(ntm_relay_table_del(&t, i), 0);
	cr_expect_eq(paths[0].path_id, NTM_RELAY_TOMBSTONE, "the fifth lies behind");
	cr_assert_eq(ntm_relay_table_del(&t, 5), 0);
	for (int i = 0; i < SLOTS; i++) {
		cr_expect_eq(paths[i].path_id, NTM_RELAY_EMPTY);
		cr_expect(!agents[i].secret[0], "wiped");
	}
}

static struct ntm_addr of_path(uint64_t id)
{
	struct ntm_addr a = addr("192.0.2.10", (uint16_t)(id + 1));
	return a;
}

/* Tombstones that do lead somewhere: paths go back to where a look-up begins, with all that belongs to them. */
Test(relay_dp, paths_move_into_tombstones)
{
	enum { SLOTS = 97, N = 60 };
	static struct ntm_relay_path paths[SLOTS];
	static struct ntm_relay_account accounts[SLOTS];
	static struct ntm_relay_agent agents[SLOTS];
	struct ntm_relay_dp_path p;
	struct ntm_relay_table t;
	unsigned tombstones = 0;
	memset(paths, 0, sizeof(paths));
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	/* All at home in the last slot; every third stays. */
	for (uint64_t i = 1; i <= N; i++) {
		struct ntm_addr a = of_path(i);
		cr_assert_eq(ntm_relay_table_add(&t, 0xffffffff00000000 + i, secret, (uint32_t)i), 0);
		cr_assert_eq(ntm_relay_table_bind(&t, 0xffffffff00000000 + i, i & 1, &a, i), 0);
	}
	for (int i = 0; i < SLOTS; i++) {
		paths[i].recent[0] = 3 * NTM_RECENT_PACKET + 500;
		accounts[i].packets[0] = 1000;
	}
	for (uint64_t i = 1; i <= N; i++)
		if (i % 3)
			cr_assert_eq(ntm_relay_table_del(&t, 0xffffffff00000000 + i), 0);
	cr_expect(t.tombstones > SLOTS / 16);
	cr_expect_eq(ntm_relay_table_expire(&t, 3600), 0);
	for (int i = 0; i < SLOTS; i++)
		tombstones += paths[i].path_id == NTM_RELAY_TOMBSTONE;
	cr_expect_eq(tombstones, t.tombstones, "%u, not %u", t.tombstones, tombstones);
	for (int i = 0; i < 2 * SLOTS / 3 && t.tombstones > SLOTS / 16; i++)
		ntm_relay_table_expire(&t, 3600);
	cr_expect(t.tombstones <= SLOTS / 16, "%u left", t.tombstones);
	for (uint64_t i = 1; i <= N; i++) {
		struct ntm_addr a = of_path(i);
		int err = ntm_relay_table_get(&t, 0xffffffff00000000 + i, &p);
		cr_assert_eq(err, i % 3 ? -ENOENT : 0, "path %lu", (unsigned long)i);
		if (err)
			continue;
		cr_expect(ntm_addr_equal(&p.ends[i & 1].addr, &a));
		cr_expect_eq(p.ends[i & 1].seq, i);
		cr_expect_eq(p.rate_kbit, i);
		cr_expect_eq(p.ends[0].packets, 1003);
		cr_expect_eq(p.ends[0].bytes, 500);
		cr_expect_arr_eq(p.secret, secret, sizeof(secret));
	}
	cr_expect_eq(t.count, N / 3);
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	cr_expect_eq(t.count, N / 3);
	tombstones = 0;
	for (int i = 0; i < SLOTS; i++)
		tombstones += paths[i].path_id == NTM_RELAY_TOMBSTONE;
	cr_expect_eq(t.tombstones, tombstones);
	for (uint64_t i = 3; i <= N; i += 3)
		cr_assert_eq(ntm_relay_table_del(&t, 0xffffffff00000000 + i), 0);
	cr_expect_eq(t.count, 0);
}

/* It died in the middle of a move: there are two. */
Test(relay_dp, a_path_that_is_there_twice)
{
	enum { SLOTS = 8 };
	static struct ntm_relay_path paths[SLOTS];
	static struct ntm_relay_account accounts[SLOTS];
	static struct ntm_relay_agent agents[SLOTS];
	struct ntm_relay_table t;
	memset(paths, 0, sizeof(paths));
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	ntm_relay_table_add(&t, 5, secret, 0);
	ntm_relay_table_add(&t, 6, secret, 0);
	paths[2] = paths[0];
	agents[2] = agents[0];
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	cr_expect_eq(t.count, 2);
	cr_expect_eq(paths[2].path_id, NTM_RELAY_EMPTY);
	cr_expect(!agents[2].secret[0], "wiped");
}

/* The agent died in the middle of a bind. */
Test(relay_dp, an_unfinished_change_is_ended)
{
	enum { SLOTS = 8 };
	static struct ntm_relay_path paths[SLOTS];
	static struct ntm_relay_account accounts[SLOTS];
	static struct ntm_relay_agent agents[SLOTS];
	struct ntm_addr a = addr("192.0.2.10", 1);
	struct ntm_relay_dp_path p;
	struct ntm_relay_table t;
	memset(paths, 0, sizeof(paths));
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	ntm_relay_table_add(&t, 5, secret, 0);
	ntm_relay_table_bind(&t, 5, 0, &a, 1);
	paths[0].version |= 1;
	paths[0].addr[1][3] = 9; /* half an address, no port yet */
	ntm_relay_table_init(&t, paths, accounts, agents, SLOTS, SLOTS);
	cr_expect_eq(t.count, 1);
	cr_expect_eq(paths[0].version & 1, 0);
	cr_assert_eq(ntm_relay_table_get(&t, 5, &p), 0);
	cr_expect(ntm_addr_equal(&p.ends[0].addr, &a));
	cr_expect_eq(p.ends[1].addr.port, 0);
}
