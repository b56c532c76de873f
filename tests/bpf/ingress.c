/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * node_ingress on what only tc meets: kernel-lane packets that GRO has merged go round through ntm0, and node_encap
 * gives them back to the uplink that they came from. fx_decap() has the rest.
 */
#include <string.h>

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <linux/bpf.h>

#include "fixture.h"

enum { PASS = -1, SHOT = 2, REDIRECT = 7 };

static struct fx f;

static void setup(void)
{
	fx_open(&f, FX_ALICE, 0);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_ingress, .init = setup, .fini = teardown);

static int run_skb(int fd, struct fx_frame *p, struct __sk_buff *skb)
{
	struct fx_frame out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->data, .data_size_in = p->len, .data_out = out.data,
		    .data_size_out = sizeof(out.data), .ctx_in = skb, .ctx_size_in = sizeof(*skb), .ctx_out = skb,
		    .ctx_size_out = sizeof(*skb), .repeat = 1);
	int err = bpf_prog_test_run_opts(fd, &opts);

	cr_assert_eq(err, 0, "test run: %s", strerror(-err));
	memcpy(p->data, out.data, opts.data_size_out);
	p->len = opts.data_size_out;
	return (int)opts.retval;
}

/* Two datagrams in one, of a suite of the kernel lane or the bulk lane. */
static void merged(struct fx_frame *p, uint8_t suite)
{
	uint8_t two[2 * 1200] = {0};
	struct ntm_hdr h = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
			    .suite_epoch = (uint8_t)(suite << 4 | FX_EPOCH),
			    .id = __builtin_bswap64(FX_PATH_ID)};

	memcpy(two, &h, sizeof(h));
	fx_udp_frame(&f, p, &(struct fx_outer){.v6 = true}, two, sizeof(two));
}

Test(bpf_ingress, merged_ones_go_round)
{
	struct __sk_buff skb = {.gso_size = 1200, .gso_segs = 2};
	struct fx_frame p, was;

	merged(&p, NTM_SUITE_KERNEL);
	was = p;
	cr_assert_eq(run_skb(f.ingress_fd, &p, &skb), REDIRECT);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_LONG, NULL), 1);
	cr_expect_eq(fx_path(&f)->rx[FX_EPOCH & 1].head, 0, "not opened");
	cr_assert_eq(p.len, was.len);
	cr_expect_arr_eq(p.data, f.settings->mac_ntm0, 6);
	cr_expect_arr_eq(p.data + 6, f.settings->mac_ntm0p, 6);
	cr_expect_arr_eq(p.data + 12, was.data + 12, was.len - 12);
	cr_assert_eq(skb.mark, FX_IFINDEX, "the uplink");

	/* As it comes out of ntm0p; all else is the interfaces' work. */
	skb.gso_size = skb.gso_segs = 0;
	cr_assert_eq(run_skb(f.encap_fd, &p, &skb), REDIRECT);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_SPLIT, NULL), 1);
	cr_expect_arr_eq(p.data + 6, f.settings->mac_ntm0, 6);
	cr_expect_eq(skb.mark, 0);

	/* Still merged: no second time. */
	skb.gso_size = 1200;
	skb.gso_segs = 2;
	cr_assert_eq(run_skb(f.ingress_fd, &p, &skb), SHOT);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_ERROR, NULL), 1);
}

Test(bpf_ingress, merged_ones_of_other_lanes_and_paths_do_not)
{
	struct __sk_buff skb = {.gso_size = 1200, .gso_segs = 2};
	struct fx_frame p, was;

	merged(&p, NTM_SUITE_BULK_AES);
	was = p;
	cr_assert_eq(run_skb(f.ingress_fd, &p, &skb), PASS);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_TO_AGENT, NULL), 1);
	cr_expect_arr_eq(p.data, was.data, was.len);
	cr_expect_eq(skb.mark, 0);

	merged(&p, NTM_SUITE_KERNEL);
	p.data[fx_hdr_off(true) + 8]++;
	cr_assert_eq(run_skb(f.ingress_fd, &p, &skb), SHOT);
	cr_expect_eq(fx_counted(&f, NTM_R_RX_UNKNOWN_PATH, NULL), 1);
}
