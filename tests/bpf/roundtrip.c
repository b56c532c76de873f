/* SPDX-License-Identifier: BSD-2-Clause */
/* Alice's node_encap into bob's node_decap and back: what went in comes out. */
#include <string.h>

#include <criterion/criterion.h>

#include "fixture.h"

enum { XDP_REDIRECTED = 4, TC_REDIRECTED = 7 };

Test(bpf_roundtrip, four_families_both_ways)
{
	static struct fx node[2];
	int n = 0;

	fx_open(&node[0], FX_ALICE, 0);
	fx_open(&node[1], FX_BOB, 0);
	for (int i = 0; i < 600; i++) {
		bool outer = i & 1;
		struct fx *from = &node[i >> 2 & 1], *to = &node[!(i >> 2 & 1)];
		struct fx_inner in = {.v6 = i & 2, .payload = i * 37 % 1361, .tos = i % 64 << 2 | i / 8 % 4};
		struct fx_frame p, sent;
		const char *why;
		size_t wire;

		fx_set_endpoint(from, outer);
		fx_set_endpoint(to, outer);
		fx_clear_frame(from, &sent, &in);
		p = sent;
		cr_assert_eq(fx_encap(from, &p), TC_REDIRECTED, "%d", i);
		cr_assert_eq(p.data[12] << 8 | p.data[13], outer ? 0x86dd : 0x0800);
		wire = p.len;
		cr_assert_eq(fx_decap(to, &p), XDP_REDIRECTED, "%d", i);
		why = fx_only(to, NTM_R_RX_OK, wire, false);
		cr_assert_null(why, "%d: %s", i, why);
		cr_assert_eq(p.len, sent.len);
		cr_expect_arr_eq(p.data + 14, sent.data + 14, sent.len - 14, "%d", i);
		n++;
	}
	cr_expect_eq(fx_path(&node[0])->tx_packets + fx_path(&node[1])->tx_packets, n);
	cr_expect_eq(fx_path(&node[0])->tx_bytes, fx_path(&node[1])->rx_bytes);
	cr_expect_eq(fx_path(&node[1])->tx_bytes, fx_path(&node[0])->rx_bytes);
	fx_close(&node[0]);
	fx_close(&node[1]);
}
