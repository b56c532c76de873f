/* SPDX-License-Identifier: BSD-2-Clause */
/* The fake keeps the contract of dp.h that the agent's tests rely on; and the queue that both data planes use. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "../../user/dataplane/dp_fake.h"
#include "../../user/dataplane/fifo.h"

static struct {
	unsigned no_path, roamed, epochs, expired;
	uint64_t path_id;
	uint8_t epoch;
	size_t len;
} seen;

static void on_no_path(void *arg, const uint8_t dst[16], const uint8_t *packet, size_t len)
{
	(void)arg;
	(void)dst;
	(void)packet;
	seen.no_path++;
	seen.len = len;
}

static void on_roamed(void *arg, uint64_t path_id, const struct ntm_addr *ep)
{
	(void)arg;
	(void)ep;
	seen.roamed++;
	seen.path_id = path_id;
}

static void on_epoch(void *arg, uint64_t path_id, uint8_t epoch)
{
	(void)arg;
	seen.epochs++;
	seen.path_id = path_id;
	seen.epoch = epoch;
}

static const struct ntm_dp_events events = {.no_path = on_no_path, .roamed = on_roamed, .epoch_confirmed = on_epoch};
static struct ntm_dp *dp;
static const struct ntm_dp_config conf = {.ifname = "ntm0", .runtime_dir = "/nonexistent", .max_paths = 2};

static void up(void)
{
	char why[64];
	cr_assert(eq(int, ntm_dp_fake_open(&dp, &conf, &events, NULL, why, sizeof(why)), 0));
}

static void down(void)
{
	dp->ops->close(dp, false);
	ntm_dp_fake_forget_kept();
}

static void add(uint64_t id)
{
	struct ntm_dp_path p = {.path_id = id, .peer_vip4 = {100, 96, 0, 2}};
	cr_assert(eq(int, dp->ops->add_path(dp, &p), 0));
}

TestSuite(dp_fake, .init = up, .fini = down);

Test(dp_fake, keeps_the_errors_of_the_contract)
{
	struct ntm_dp_path p = {.path_id = 1};
	struct ntm_dp_keys k = {.epoch = 0};
	uint8_t out[64];
	size_t len;
	cr_expect(eq(int, dp->ops->set_keys(dp, 1, &k, true), -ENOENT));
	add(1);
	cr_expect(eq(int, dp->ops->add_path(dp, &p), -EEXIST));
	add(2);
	p.path_id = 3;
	cr_expect(eq(int, dp->ops->add_path(dp, &p), -ENOSPC));
	cr_expect(eq(int, dp->ops->seal(dp, 1, NULL, 0, out, sizeof(out), &len), -ENOKEY));
	cr_assert(eq(int, dp->ops->set_keys(dp, 1, &k, true), 0));
	cr_expect(eq(int, dp->ops->seal(dp, 1, NULL, 0, out, 31, &len), -EMSGSIZE));
	cr_expect(eq(int, dp->ops->seal(dp, 1, NULL, 0, out, sizeof(out), &len), 0));
	cr_expect(eq(sz, len, 32));
	cr_expect(eq(int, dp->ops->del_path(dp, 1), 0));
	cr_expect(eq(int, dp->ops->del_path(dp, 1), -ENOENT));
}

Test(dp_fake, records_and_fails_on_request)
{
	const struct ntm_dp_fake_call *calls;
	struct ntm_dp_keys k = {.epoch = 4};
	add(1);
	ntm_dp_fake_fail_next(dp, NTM_FAKE_SET_KEYS, -ENOMEM);
	cr_expect(eq(int, dp->ops->set_keys(dp, 1, &k, false), -ENOMEM));
	cr_expect(eq(int, dp->ops->set_keys(dp, 1, &k, true), 0));
	cr_assert(eq(sz, ntm_dp_fake_calls(dp, &calls), 3));
	cr_expect(eq(int, calls[0].op, NTM_FAKE_ADD_PATH));
	cr_expect(eq(int, calls[1].result, -ENOMEM));
	cr_expect(calls[2].send && calls[2].epoch == 4);
	cr_expect(eq(sz, ntm_dp_fake_count(dp, NTM_FAKE_SET_KEYS, 1), 2));
	ntm_dp_fake_forget_calls(dp);
	cr_expect(eq(sz, ntm_dp_fake_calls(dp, &calls), 0));
}

Test(dp_fake, fires_events_in_dispatch_only)
{
	struct pollfd pfd = {.fd = dp->ops->fd(dp), .events = POLLIN};
	struct ntm_dp_keys k = {.epoch = 0};
	uint8_t dst[16] = {0};
	add(1);
	cr_assert(eq(int, dp->ops->set_keys(dp, 1, &k, true), 0));
	k.epoch = 1;
	cr_assert(eq(int, dp->ops->set_keys(dp, 1, &k, false), 0));
	cr_expect(eq(int, ntm_dp_fake_path(dp, 1)->next_epoch, 1));
	ntm_dp_fake_confirm_epoch(dp, 1);
	ntm_dp_fake_no_path(dp, dst, "abc", 3);
	ntm_dp_fake_roamed(dp, 1, &(struct ntm_addr){.port = 1});
	ntm_dp_fake_expired(dp, 1); /* the agent here has no function for it */
	cr_expect(eq(uint, seen.no_path + seen.epochs + seen.roamed, 0));
	cr_expect(eq(int, poll(&pfd, 1, 0), 1));
	dp->ops->dispatch(dp);
	cr_expect(eq(int, poll(&pfd, 1, 0), 0));
	cr_expect(eq(uint, seen.epochs, 1));
	cr_expect(eq(u8, seen.epoch, 1));
	cr_expect(eq(uint, seen.no_path, 1));
	cr_expect(eq(sz, seen.len, 3));
	cr_expect(eq(uint, seen.roamed, 1));
	struct ntm_dp_stats s;
	cr_assert(eq(int, dp->ops->stats(dp, 1, &s), 0));
	cr_expect(eq(u8, s.tx_epoch, 1));
	cr_expect(eq(u16, s.endpoint.port, 1));
}

Test(dp_fake, leaves_its_state_to_the_next_agent)
{
	char why[64];
	add(7);
	dp->ops->close(dp, true);
	cr_assert(eq(int, ntm_dp_fake_open(&dp, &conf, &events, NULL, why, sizeof(why)), 0));
	cr_expect(dp->ops->adopted(dp));
	cr_expect(eq(sz, ntm_dp_fake_path_count(dp), 1));
	cr_expect(ntm_dp_fake_path(dp, 7) != NULL);
	dp->ops->close(dp, false);
	cr_assert(eq(int, ntm_dp_fake_open(&dp, &conf, &events, NULL, why, sizeof(why)), 0));
	cr_expect(not(dp->ops->adopted(dp)));
}

Test(dp_fifo, keeps_order_through_growth_and_wrap)
{
	struct ntm_fifo f = {.item_size = sizeof(unsigned)};
	unsigned in = 0, out = 0;
	cr_expect(zero(ptr, ntm_fifo_peek(&f)));
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 10 + round; i++, in++)
			cr_assert(eq(int, ntm_fifo_push(&f, &in), 0));
		for (unsigned i = 0; i < 9 + round; i++, out++) {
			cr_assert(eq(uint, *(unsigned *)ntm_fifo_peek(&f), out));
			ntm_fifo_pop(&f);
		}
	}
	cr_expect(eq(sz, f.n, in - out));
	ntm_fifo_free(&f);
}
