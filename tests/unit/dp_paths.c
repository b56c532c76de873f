/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths: limits, routes, keys in their slots, ten thousand of them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../harness/dp_rig.h"

static struct ntm_rig rig;
static char why[256];

static void up(void)
{
	if (ntm_rig_unable())
		cr_skip_test("%s", ntm_rig_unable());
	ntm_rig_up(&rig);
}

static void down(void)
{
	if (!ntm_rig_unable())
		ntm_rig_down(&rig);
}

static bool ok(const char *cmd)
{
	return system(cmd) == 0;
}

static struct ntm_dp *open0(uint32_t max_paths)
{
	rig.max_paths = max_paths;
	int err = ntm_rig_open(&rig, 0, why, sizeof(why));
	cr_assert(err == 0, "%s", why);
	struct ntm_dp_addresses a = ntm_rig_addresses(0);
	cr_assert(eq(int, rig.dp[0]->ops->set_addresses(rig.dp[0], &a), 0));
	return rig.dp[0];
}

static struct ntm_dp_path numbered(uint32_t n)
{
	struct ntm_dp_path p = ntm_rig_path(0, false);
	p.path_id = 0x100000000ULL + n;
	p.peer_vip4[1] = (uint8_t)(97 + (n >> 16));
	p.peer_vip4[2] = (uint8_t)(n >> 8);
	p.peer_vip4[3] = (uint8_t)n;
	memcpy(p.peer_vip6 + 12, p.peer_vip4, 4);
	return p;
}

static void count(void *arg, const struct ntm_dp_path *p)
{
	(void)p;
	++*(unsigned *)arg;
}

static unsigned paths(struct ntm_dp *dp)
{
	unsigned n = 0;
	dp->ops->foreach(dp, count, &n);
	return n;
}

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

TestSuite(dp_paths, .init = up, .fini = down, .timeout = 120);

Test(dp_paths, errors_of_unknown_and_double_paths)
{
	struct ntm_dp *dp = open0(4);
	struct ntm_dp_path p = numbered(1);
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	struct ntm_dp_stats s;
	struct ntm_addr ep;
	uint8_t out[64];
	size_t len;
	cr_expect(eq(int, dp->ops->set_keys(dp, 7, &k, true), -ENOENT));
	cr_expect(eq(int, dp->ops->activate(dp, 7), -ENOENT));
	cr_expect(eq(int, dp->ops->set_endpoint(dp, 7, &p.endpoint, 0), -ENOENT));
	cr_expect(eq(int, dp->ops->set_mtu(dp, 7, 1280, false), -ENOENT));
	cr_expect(eq(int, dp->ops->del_path(dp, 7), -ENOENT));
	cr_expect(eq(int, dp->ops->stats(dp, 7, &s), -ENOENT));
	cr_expect(eq(int, dp->ops->endpoint(dp, 7, &ep), -ENOENT));
	cr_expect(eq(int, dp->ops->seal(dp, 7, NULL, 0, out, sizeof(out), &len), -ENOENT));
	cr_expect(zero(ptr, dp->ops->agent_record(dp, 7)));
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	cr_expect(eq(int, dp->ops->add_path(dp, &p), -EEXIST));
	cr_assert(eq(int, dp->ops->endpoint(dp, p.path_id, &ep), 0));
	cr_expect(ntm_addr_equal(&ep, &p.endpoint));
	cr_expect(eq(int, dp->ops->seal(dp, p.path_id, NULL, 0, out, sizeof(out), &len), -ENOKEY));
	k.epoch = 16;
	cr_expect(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), -EINVAL));
	p.path_id = 0;
	cr_expect(eq(int, dp->ops->add_path(dp, &p), -EINVAL));
	cr_expect(eq(int, paths(dp), 1));
}

Test(dp_paths, limit_and_reuse_of_slots)
{
	struct ntm_dp *dp = open0(4);
	struct ntm_dp_path p;
	for (uint32_t i = 0; i < 4; i++) {
		p = numbered(i);
		cr_assert(eq(int, dp->ops->add_path(dp, &p), 0), "%u", i);
		memset(dp->ops->agent_record(dp, p.path_id), 0xaa, sizeof(struct ntm_path_agent));
	}
	p = numbered(4);
	cr_expect(eq(int, dp->ops->add_path(dp, &p), -ENOSPC));
	cr_assert(eq(int, dp->ops->del_path(dp, numbered(2).path_id), 0));
	cr_expect(eq(int, paths(dp), 3));
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0), "the freed slot");
	static const struct ntm_path_agent none;
	cr_expect(eq(int, memcmp(dp->ops->agent_record(dp, p.path_id), &none, sizeof(none)), 0), "wiped");
	cr_expect(eq(int, paths(dp), 4));
}

Test(dp_paths, routes_follow_the_path)
{
	struct ntm_dp *dp = open0(8);
	struct ntm_dp_path p = ntm_rig_path(0, false), q = p;
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	q.path_id++;
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), 0));
	cr_expect(ok("test -z \"$(ip route show 100.96.0.2/32)\""), "not before activate");
	cr_assert(eq(int, dp->ops->activate(dp, p.path_id), 0));
	cr_expect(ok("ip route show 100.96.0.2/32 | grep -q 'src 100.96.0.1 mtu 1440 advmss 1400'"));
	cr_expect(ok("ip -6 route show fd4e:544d::2/128 | grep -q 'src fd4e:544d::1.*mtu 1440 advmss 1380'"));
	cr_assert(eq(int, dp->ops->set_mtu(dp, p.path_id, 1300, false), 0));
	cr_expect(ok("ip route show 100.96.0.2/32 | grep -q 'mtu 1300 advmss 1400'"));
	cr_expect(ok("ip -6 route show fd4e:544d::2/128 | grep -q 'mtu 1300 advmss 1380'"));
	cr_assert(eq(int, dp->ops->set_mtu(dp, p.path_id, 1240, true), 0));
	cr_expect(ok("ip -6 route show fd4e:544d::2/128 | grep -q 'mtu 1280'"), "what IPv6 promises");

	/* A second path to the same peer takes over; deleting the first then changes nothing. */
	cr_assert(eq(int, dp->ops->add_path(dp, &q), 0));
	cr_assert(eq(int, dp->ops->set_keys(dp, q.path_id, &k, true), 0));
	cr_assert(eq(int, dp->ops->activate(dp, q.path_id), 0));
	cr_assert(eq(int, dp->ops->del_path(dp, p.path_id), 0));
	cr_expect(ok("ip route show 100.96.0.2/32 | grep -q 'mtu 1440'"));
	cr_assert(eq(int, dp->ops->del_path(dp, q.path_id), 0));
	cr_expect(ok("test -z \"$(ip route show 100.96.0.2/32; ip -6 route show fd4e:544d::2/128)\""));

	/* Peers' routes survive a new address of our own. */
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), 0));
	cr_assert(eq(int, dp->ops->activate(dp, p.path_id), 0));
	struct ntm_dp_addresses a = ntm_rig_addresses(0);
	a.vip4[3] = a.vip6[15] = 9;
	cr_assert(eq(int, dp->ops->set_addresses(dp, &a), 0));
	cr_expect(ok("ip route show 100.96.0.2/32 | grep -q 'src 100.96.0.9'"));
	cr_expect(ok("ip -6 route show fd4e:544d::2/128 | grep -q 'src fd4e:544d::9'"));
}

Test(dp_paths, epochs_follow_each_other)
{
	struct ntm_dp *dp = open0(8);
	struct ntm_dp_path p = ntm_rig_path(0, false);
	struct ntm_dp_stats s;
	uint8_t out[64];
	size_t len;
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	for (uint8_t e = 0; e < 6; e++) {
		struct ntm_dp_keys k = ntm_rig_keys(0, e);
		cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, true), 0));
		for (int i = 0; i < 3; i++)
			cr_assert(eq(int, dp->ops->seal(dp, p.path_id, NULL, 0, out, sizeof(out), &len), 0));
		cr_assert(eq(int, dp->ops->stats(dp, p.path_id, &s), 0));
		cr_expect(eq(u8, s.tx_epoch, e));
		cr_expect(eq(u64, s.tx_counter, 3), "each epoch counts from 0");
		cr_expect(eq(u8, out[1], e), "suite 0 and the epoch on the wire");
		cr_expect(eq(u8, out[7], 2), "counter on the wire");
	}
	/* A responder's next epoch waits; one that takes the slot in use does not. */
	struct ntm_dp_keys k = ntm_rig_keys(0, 6);
	cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, false), 0));
	cr_assert(eq(int, dp->ops->stats(dp, p.path_id, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 5));
	k = ntm_rig_keys(0, 7);
	cr_assert(eq(int, dp->ops->set_keys(dp, p.path_id, &k, false), 0));
	cr_assert(eq(int, dp->ops->stats(dp, p.path_id, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 7));
}

Test(dp_paths, the_descriptor_wakes_to_wipe_keys)
{
	struct ntm_dp *dp = open0(8);
	struct ntm_dp_path p = numbered(1);
	struct pollfd pfd = {.fd = dp->ops->fd(dp), .events = POLLIN};
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
	cr_expect(eq(int, poll(&pfd, 1, 0), 0), "nothing to do yet");
	cr_assert(eq(int, dp->ops->del_path(dp, p.path_id), 0));
	cr_expect(eq(int, poll(&pfd, 1, 0), 0), "programs may still use the slot");
	cr_expect(eq(int, poll(&pfd, 1, 10000), 1), "a second later it is wiped");
	dp->ops->dispatch(dp);
	cr_expect(eq(int, poll(&pfd, 1, 0), 0));
}

Test(dp_paths, ten_thousand)
{
	enum { N = 10000 };
	struct ntm_dp *dp = open0(N);
	struct ntm_dp_keys k = ntm_rig_keys(0, 0);
	double t0 = now(), t1;
	for (uint32_t i = 0; i < N; i++) {
		struct ntm_dp_path p = numbered(i);
		int err = dp->ops->add_path(dp, &p);
		if (!err)
			err = dp->ops->set_keys(dp, p.path_id, &k, true);
		if (!err)
			err = dp->ops->activate(dp, p.path_id);
		cr_assert(eq(int, err, 0), "path %u", i);
	}
	t1 = now();
	fprintf(stderr, "%d paths added in %.2f s\n", N, t1 - t0);
	cr_expect(eq(int, paths(dp), N));
	struct ntm_dp_path extra = numbered(N);
	cr_expect(eq(int, dp->ops->add_path(dp, &extra), -ENOSPC));
	cr_expect(ok("test $(ip route show proto 78 | wc -l) = 10001"));

	/* An agent that comes after a crash has them all, and quickly. */
	dp->ops->close(dp, true);
	rig.dp[0] = NULL;
	t0 = now();
	dp = open0(N);
	fprintf(stderr, "adopted in %.2f s\n", now() - t0);
	cr_expect(dp->ops->adopted(dp));
	cr_expect(eq(int, paths(dp), N));
	for (uint32_t i = 0; i < N; i++)
		cr_assert(eq(int, dp->ops->del_path(dp, numbered(i).path_id), 0), "path %u", i);
	cr_expect(eq(int, paths(dp), 0));
	cr_expect(ok("test $(ip route show proto 78 | wc -l) = 1"));
	cr_assert(eq(int, dp->ops->add_path(dp, &extra), 0));
}
