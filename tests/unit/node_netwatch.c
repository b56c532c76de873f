/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel says of interfaces, in a network namespace of the test's own. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "../../user/node/netwatch.h"

enum { MANY = 4000 }; /* messages: more than a socket holds by default */

struct seen {
	uv_loop_t *loop;
	unsigned n; /* uplinks */
	struct ntm_uplink_info u[NTM_UPLINKS_MAX];
};

static void changed(void *arg, const struct ntm_uplink_info *u, unsigned n, bool force)
{
	struct seen *s = arg;

	(void)force;
	s->n = n;
	memcpy(s->u, u, n * sizeof(*u));
	uv_stop(s->loop);
}

static void must(const char *command)
{
	int status = system(command); // NOLINT: the test's own words

	cr_assert(status >= 0 && WIFEXITED(status) && !WEXITSTATUS(status), "%s: %d", command, status);
}

static void patience(uv_timer_t *h)
{
	uv_stop(h->loop);
}

/* Until there is an uplink, or the time is over. */
static void run(struct seen *s, uv_timer_t *timer, uint64_t ms)
{
	uv_timer_start(timer, patience, ms, 0);
	while (uv_is_active((uv_handle_t *)timer) && !s->n)
		uv_run(s->loop, UV_RUN_DEFAULT);
	uv_timer_stop(timer);
}

static void flood(void)
{
	FILE *ip = popen("ip -batch -", "w"); // NOLINT

	cr_assert(ip != NULL);
	for (int i = 0; i < MANY; i++)
		fprintf(ip, "route %s 10.9.0.%d dev lo\n", i & 1 ? "del" : "add", i / 2 % 250 + 1);
	cr_assert_eq(pclose(ip), 0);
}

Test(node_netwatch, goes_on_after_an_overflow, .timeout = 60)
{
	struct ntm_string_list all = {0};
	struct ntm_netwatch *w;
	struct seen s = {0};
	uv_timer_t timer;
	char why[128] = "";
	uv_loop_t loop;

	if (unshare(CLONE_NEWNET))
		cr_skip_test("needs root");
	must("ip link set lo up; ip link add v0 type veth peer name v1; ip link set v1 up; ip link set v0 up");
	uv_loop_init(&loop);
	uv_timer_init(&loop, &timer);
	s.loop = &loop;
	cr_assert_eq(ntm_netwatch_open(&w, &loop, &all, "none0", changed, &s, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(ntm_netwatch_scan(w, false), 0);
	flood();
	run(&s, &timer, 300);
	cr_expect_eq(s.n, 0);
	/* It has to be told this, not to ask because of the overflow: that was long ago. */
	must("ip addr add 198.51.100.1/24 dev v0; ip route add default via 198.51.100.254");
	run(&s, &timer, 20000);
	cr_expect_eq(s.n, 1, "not noticed");
	ntm_netwatch_close(w);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_expect_eq(uv_loop_close(&loop), 0);
}

static void look(struct seen *s)
{
	struct ntm_string_list all = {0};
	struct ntm_netwatch *w;
	char why[128] = "";
	uv_loop_t loop;

	*s = (struct seen){.loop = &loop};
	uv_loop_init(&loop);
	cr_assert_eq(ntm_netwatch_open(&w, &loop, &all, "ntm0", changed, s, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(ntm_netwatch_scan(w, false), 0);
	ntm_netwatch_close(w);
	while (uv_run(&loop, UV_RUN_DEFAULT))
		;
	cr_expect_eq(uv_loop_close(&loop), 0);
}

static void expect_v0(const struct seen *s, const char *when)
{
	cr_assert_eq(s->n, 1, "%s: %u uplinks", when, s->n);
	cr_expect_str_eq(s->u[0].dp.name, "v0");
	cr_expect(s->u[0].default4 && s->u[0].default6, "%s", when);
	/* what has no carrier, has no address either and is preferred by its metric */
	cr_expect(s->u[0].rival4 && !s->u[0].rival6, "%s", when);
	cr_expect(s->u[0].dp.way4.known && s->u[0].dp.way4.out && s->u[0].dp.way6.out, "%s", when);
}

/* Interfaces are asked for their routes one by one, or, where there are many, all at once: the same comes of it. */
Test(node_netwatch, routes_of_few_and_of_many_interfaces, .timeout = 60)
{
	struct seen s;

	if (unshare(CLONE_NEWNET))
		cr_skip_test("needs root");
	must(
	    "ip link add ntm0 type veth peer name ntm0p; ip link set ntm0 up; ip link set ntm0p up; ip addr add 100.96.0.1/32 dev ntm0");
	must("for i in $(seq 1 250); do echo route add 100.96.1.$i dev ntm0; done | ip -batch -");
	must(
	    "ip link add v0 type veth peer name v1; ip link set v1 up; ip link set v0 up; ip link add d0 type veth peer name d1");
	must("ip addr add 198.51.100.1/24 dev v0; ip addr add 2001:db8::1/64 dev v0 nodad; ip link set d0 up");
	look(&s);
	cr_expect(s.n == 1 && !s.u[0].default4 && !s.u[0].default6 && !s.u[0].rival4);
	must("ip route add default via 198.51.100.254 metric 200; ip -6 route add default via 2001:db8::fe metric 200");
	must("ip route add default dev d0 metric 100");
	look(&s);
	expect_v0(&s, "few");
	must("for i in $(seq 1 12); do ip link add m$i type veth peer name n$i; ip link set m$i up; done");
	look(&s);
	expect_v0(&s, "many");
}
