/* SPDX-License-Identifier: BSD-2-Clause */
/* node_lane: which packets the agent is given, and when it counts as away. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <criterion/criterion.h>

#include "node_lane.skel.h"
#include "fixture.h"

enum { GO_ON = -1, REDIRECT = 7, GSO_SIZE = 600 };

#define MS 1000000ull
#define FUTURE (3600 * 1000 * MS)

static struct fx f;
static struct node_lane *obj;
static struct ntm_lanes *lanes;

static void setup(void)
{
	static const char *const shared[] = {"ntm_settings", "ntm_paths", "ntm_vips"};
	fx_open(&f, FX_ALICE, 0);
	obj = node_lane__open();
	cr_assert(obj);
	for (size_t i = 0; i < sizeof(shared) / sizeof(*shared); i++) {
		struct bpf_map *m = bpf_object__find_map_by_name(obj->obj, shared[i]);
		cr_assert_eq(bpf_map__reuse_fd(m, fx_map_fd(&f, shared[i])), 0, "%s", shared[i]);
	}
	int err = node_lane__load(obj);
	cr_assert_eq(err, 0, "node_lane: %s", strerror(-err));
	lanes = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		     bpf_map__fd(obj->maps.ntm_lanes), 0);
	cr_assert_neq(lanes, MAP_FAILED, "%s", strerror(errno));
	lanes->ifindex = FX_IFINDEX;
	lanes->queues = 1;
	fx_path(&f)->flags = NTM_PATH_BULK;
}

static void teardown(void)
{
	node_lane__destroy(obj);
	fx_close(&f);
}

TestSuite(bpf_lane, .init = setup, .fini = teardown);

/* Verdict on a packet to bob, a super-packet if gso_size is not 0. */
static int give(bool v6, uint16_t payload, uint32_t gso_size)
{
	struct fx_inner in = {.v6 = v6, .payload = payload};
	struct fx_frame p, out;
	struct __sk_buff ctx = {.gso_size = gso_size, .gso_segs = gso_size ? (payload - 8) / gso_size + 1 : 0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p.data, .data_out = out.data, .data_size_out = sizeof(out.data),
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = 1);
	fx_clear_frame(&f, &p, &in);
	opts.data_size_in = (uint32_t)p.len;
	int err = bpf_prog_test_run_opts(bpf_program__fd(obj->progs.node_lane), &opts);
	cr_assert_eq(err, 0, "test run of %zu bytes: %s", p.len, strerror(-err));
	return (int)opts.retval;
}

static int give_bulk(void)
{
	return give(false, 3000, GSO_SIZE);
}

/* With a packet that waits since so long, and a heartbeat so long ago. Whether that is still true afterwards. */
static bool verdict_at(uint64_t waiting_ns, uint64_t alive_ns, uint64_t true_for_ns, int *verdict)
{
	uint64_t now = fx_now();
	lanes->q[0].waiting_ns = now - waiting_ns;
	lanes->alive_ns = now - alive_ns;
	*verdict = give_bulk();
	return fx_now() - now < true_for_ns;
}

Test(bpf_lane, large_packets_only)
{
	cr_expect_eq(give(false, 1200, 0), GO_ON, "in one piece");
	cr_expect_eq(give(true, 1200, 0), GO_ON);
	cr_expect_eq(lanes->q[0].waiting_ns, 0, "the agent was given nothing");
	cr_expect_eq(give(false, 3000, GSO_SIZE), REDIRECT);
	cr_expect_neq(lanes->q[0].waiting_ns, 0, "noted that it was");
	lanes->q[0].waiting_ns = 0;
	cr_expect_eq(give(true, 3000, GSO_SIZE), REDIRECT);
}

/* A flow that was on the lane just now stays there, for its packets not to overtake each other. */
Test(bpf_lane, flow_stays)
{
	uint64_t at;
	int v;
	do {
		at = fx_now();
		cr_assert_eq(give_bulk(), REDIRECT);
		lanes->q[0].waiting_ns = 0;
		v = give(false, 1200, 0);
	} while (fx_now() - at > 50 * MS);
	cr_expect_eq(v, REDIRECT);
	/* And not for ever. */
	uint32_t key, next;
	uint64_t long_ago = 1;
	int fd = bpf_map__fd(obj->maps.ntm_bulk_flows);
	for (int more = !bpf_map_get_next_key(fd, NULL, &key); more; key = next) {
		more = !bpf_map_get_next_key(fd, &key, &next);
		cr_assert_eq(bpf_map_update_elem(fd, &key, &long_ago, BPF_ANY), 0);
	}
	cr_expect_eq(give(false, 1200, 0), GO_ON);
}

Test(bpf_lane, only_paths_with_a_lane)
{
	fx_path(&f)->flags = 0;
	cr_expect_eq(give_bulk(), GO_ON, "lane down");
	fx_path(&f)->flags = NTM_PATH_BULK;
	cr_expect_eq(give_bulk(), REDIRECT);
	fx_path(&f)->inner_mtu = GSO_SIZE;
	cr_expect_eq(give_bulk(), GO_ON, "its segments are too big for the path");
	fx_path(&f)->inner_mtu = GSO_SIZE + 28;
	cr_expect_eq(give_bulk(), REDIRECT, "just not");
	lanes->queues = 0;
	cr_expect_eq(give_bulk(), GO_ON, "nobody reads");
	lanes->queues = 1;
	lanes->ifindex = 0;
	cr_expect_eq(give_bulk(), GO_ON, "no TUN");
}

/*
 * One packet that it does not take is all that an agent which is gone gets to see after 10 ms without a heartbeat.
 * Times are set, not waited for: an old one only grows older, and where one has to be young the run is repeated if it
 * was not.
 */
Test(bpf_lane, absent_agent)
{
	int v;
	cr_expect_eq(give_bulk(), REDIRECT, "nothing is known against it");
	cr_expect(verdict_at(10 * MS, 10 * MS, FUTURE, &v));
	cr_expect_eq(v, GO_ON, "10 ms without a heartbeat");
	cr_expect_eq(give_bulk(), GO_ON, "nor the next packet");
	while (!verdict_at(10 * MS, 0, 10 * MS, &v))
		;
	cr_expect_eq(v, REDIRECT, "alive");
	while (!verdict_at(0, 10 * MS, 10 * MS, &v))
		;
	cr_expect_eq(v, REDIRECT, "10 ms to take it");
	verdict_at(200 * MS, -FUTURE, FUTURE, &v);
	cr_expect_eq(v, GO_ON, "alive, but this queue is not read");
	/* It takes what waited. */
	lanes->q[0].waiting_ns = 0;
	cr_expect_eq(give_bulk(), REDIRECT, "it is back");
}

/* Each queue has a reader of its own. */
Test(bpf_lane, other_queues_go_on)
{
	lanes->queues = 2;
	cr_assert_eq(give_bulk(), REDIRECT);
	unsigned q = lanes->q[1].waiting_ns != 0;
	cr_assert_eq(lanes->q[!q].waiting_ns, 0, "only the one of its flow");
	lanes->q[!q].waiting_ns = 1;
	lanes->q[q].waiting_ns = 0;
	cr_expect_eq(give_bulk(), REDIRECT, "another one hangs");
	lanes->q[q].waiting_ns = 1;
	lanes->q[!q].waiting_ns = 0;
	cr_expect_eq(give_bulk(), GO_ON, "its own hangs");
}
