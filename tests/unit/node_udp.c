/* SPDX-License-Identifier: BSD-2-Clause */
/* The UDP port: both families, the right source, fragments where they are wanted. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/node/udp.h"

static uv_loop_t loop;
static struct ntm_udp *a, *b;
static unsigned got;
static struct ntm_addr last_from;
static uint8_t last_to[16];
static size_t last_len;
static uint8_t seen[1024], *numbers; /* first bytes, where wanted */

static void input(void *arg, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data, size_t len)
{
	(void)arg;
	if (numbers && got < sizeof(seen))
		numbers[got] = data[0];
	got++;
	last_from = *from;
	memcpy(last_to, to, 16);
	last_len = len;
}

static void setup(void)
{
	char why[128];

	uv_loop_init(&loop);
	cr_assert_eq(ntm_udp_open(&a, &loop, 0, input, NULL, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(ntm_udp_open(&b, &loop, 0, input, NULL, why, sizeof(why)), 0, "%s", why);
}

static void teardown(void)
{
	ntm_udp_close(a);
	ntm_udp_close(b);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(udp, .init = setup, .fini = teardown, .timeout = 20);

static struct ntm_addr to(const struct ntm_udp *u, const char *ip)
{
	struct ntm_addr addr = {.port = htons(ntm_udp_port(u))};

	cr_assert_eq(ntm_ip_parse(ip, addr.ip), 0);
	return addr;
}

static void run(unsigned until)
{
	for (int i = 0; i < 2000 && got < until; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
}

Test(udp, carries_both_families_and_knows_the_local_address)
{
	struct ntm_addr v4 = to(b, "127.0.0.7"), v6 = to(b, "::1");
	uint8_t ip[16];

	cr_assert_eq(ntm_udp_send(a, &v4, NULL, "hello", 5, NTM_SEND_NORMAL), 0);
	run(1);
	cr_assert_eq(got, 1);
	cr_assert_eq(last_len, 5);
	cr_assert_arr_eq(last_to, v4.ip, 16);
	cr_assert_eq(ntohs(last_from.port), ntm_udp_port(a));
	/* The answer comes from where the question went to. */
	cr_assert_eq(ntm_udp_send(b, &last_from, last_to, "hi", 2, NTM_SEND_NORMAL), 0);
	run(2);
	cr_assert_eq(got, 2);
	cr_assert_arr_eq(last_from.ip, v4.ip, 16);

	cr_assert_eq(ntm_udp_send(a, &v6, NULL, "hello", 5, NTM_SEND_NORMAL), 0);
	run(3);
	cr_assert_eq(got, 3);
	ntm_ip_parse("::1", ip);
	cr_assert_arr_eq(last_to, ip, 16);
}

Test(udp, a_source_that_is_gone_is_replaced)
{
	struct ntm_addr v4 = to(b, "127.0.0.1");
	uint8_t gone[16];

	ntm_ip_parse("203.0.113.77", gone);
	cr_assert_eq(ntm_udp_send(a, &v4, gone, "x", 1, NTM_SEND_NORMAL), 0);
	run(1);
	cr_assert_eq(got, 1);
}

Test(udp, batches_and_big_datagrams)
{
	static uint8_t data[4096];
	struct ntm_addr v4 = to(b, "127.0.0.1"), v6 = to(b, "::1");

	for (int i = 0; i < 1000; i++)
		cr_assert_eq(ntm_udp_send(a, &v4, NULL, data, 100, NTM_SEND_NORMAL), 0);
	run(1000);
	cr_assert_eq(got, 1000);
	got = 0;
	cr_assert_eq(ntm_udp_send(a, &v6, NULL, data, 2000, NTM_SEND_FRAGMENT), 0);
	cr_assert_eq(ntm_udp_send(a, &v4, NULL, data, 2000, NTM_SEND_DF), 0);
	cr_assert_eq(ntm_udp_send(a, &v6, NULL, data, 2000, NTM_SEND_DF), 0);
	cr_assert_eq(ntm_udp_send(a, &v6, NULL, data, 2000, NTM_SEND_NORMAL), 0);
	run(4);
	cr_assert_eq(got, 4);
	cr_assert_eq(last_len, 2000);
}

Test(udp, what_is_gathered_leaves_in_order_and_all_of_it)
{
	enum { N = 200 };
	struct ntm_addr v4 = to(b, "127.0.0.1"), v6 = to(b, "::1");
	static uint8_t data[N][2000];
	uint8_t gone[16];

	ntm_ip_parse("203.0.113.77", gone);
	ntm_udp_gather(a, true);
	for (unsigned i = 0; i < N; i++) {
		data[i][0] = (uint8_t)i;
		cr_assert_eq(ntm_udp_send(a, &v4, i % 50 ? NULL : gone, data[i], 60, NTM_SEND_NORMAL), 0);
	}
	ntm_udp_gather(a, false);
	numbers = seen;
	run(N);
	cr_assert_eq(got, N);
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(seen[i], i);

	/* Families by turns, some too long to wait, some that may not be fragmented. */
	got = 0;
	ntm_udp_gather(a, true);
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(ntm_udp_send(a, i / 3 % 2 ? &v6 : &v4, NULL, data[i], i % 7 ? 40 : 2000,
					  i % 11 ? NTM_SEND_NORMAL : NTM_SEND_DF),
			     0);
	ntm_udp_gather(a, false);
	run(N);
	cr_assert_eq(got, N);
	/* Nothing waits any more. */
	cr_assert_eq(ntm_udp_send(a, &v4, NULL, data[0], 40, NTM_SEND_NORMAL), 0);
	run(N + 1);
	cr_assert_eq(got, N + 1);
}

Test(udp, a_port_aside_is_another_one_and_stays)
{
	struct ntm_addr v4 = to(b, "127.0.0.1"), v6 = to(b, "::1");
	uint16_t port;

	cr_assert_eq(ntm_udp_send_aside(a, &v4, NULL, "x", 1), 0);
	run(1);
	cr_assert_eq(got, 1);
	port = last_from.port;
	cr_assert_neq(ntohs(port), ntm_udp_port(a));
	/* What is answered there is input. */
	cr_assert_eq(ntm_udp_send(b, &last_from, NULL, "yes", 3, NTM_SEND_NORMAL), 0);
	run(2);
	cr_assert_eq(got, 2);
	cr_assert_eq(last_len, 3);
	cr_assert_eq(ntohs(last_from.port), ntm_udp_port(b));
	cr_assert_eq(ntm_udp_send_aside(a, &v4, NULL, "x", 1), 0);
	run(3);
	cr_assert_eq(last_from.port, port);
	cr_assert_eq(ntm_udp_send_aside(a, &v6, NULL, "x", 1), 0);
	run(4);
	cr_assert_eq(got, 4);
}

Test(udp, a_port_in_use_is_said)
{
	struct ntm_udp *c = NULL;
	char why[128] = "";

	cr_assert_eq(ntm_udp_open(&c, &loop, ntm_udp_port(a), input, NULL, why, sizeof(why)), -EADDRINUSE);
	cr_assert_not_null(strstr(why, "UDP port"), "%s", why);
}
