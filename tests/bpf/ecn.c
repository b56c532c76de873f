/* SPDX-License-Identifier: BSD-2-Clause */
/* DSCP and ECN: RFC 6040 figure 3 (normal mode) into the tunnel, figure 4 out of it; RFC 2983 for the DSCP. */
#include <string.h>

#include <criterion/criterion.h>

#include "fixture.h"

enum { DROP = 1, XDP_REDIRECTED = 4, TC_REDIRECTED = 7 };
enum { NOT = 0, ECT1 = 1, ECT0 = 2, CE = 3, LOST = 4 };

/* [inner][outer] → inner field of the delivered packet */
static const uint8_t figure4[4][4] = {
    [NOT] = {[NOT] = NOT, [ECT0] = NOT, [ECT1] = NOT, [CE] = LOST},
    [ECT0] = {[NOT] = ECT0, [ECT0] = ECT0, [ECT1] = ECT1, [CE] = CE},
    [ECT1] = {[NOT] = ECT1, [ECT0] = ECT1, [ECT1] = ECT1, [CE] = CE},
    [CE] = {[NOT] = CE, [ECT0] = CE, [ECT1] = CE, [CE] = CE},
};

static struct fx f;

static void setup(void)
{
	fx_open(&f, FX_BOB, 0);
}

static void teardown(void)
{
	fx_close(&f);
}

TestSuite(bpf_ecn, .init = setup, .fini = teardown);

static uint8_t tos_of(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? ip[1] : (uint8_t)(ip[0] << 4 | ip[1] >> 4);
}

Test(bpf_ecn, out_of_the_tunnel)
{
	static const uint8_t dscps[] = {0, 46 << 2, 63 << 2};
	uint64_t counter = 0;

	for (int c = 0; c < 4 * 4 * 4 * 9; c++) {
		bool v6 = c & 1, outer_v6 = c & 2;
		int inner = c >> 2 & 3, outer = c >> 4 & 3, want = figure4[inner][outer];
		uint8_t inner_dscp = dscps[c / 64 % 3], outer_dscp = dscps[c / 64 / 3];
		struct fx_inner in = {.v6 = v6, .tos = inner_dscp | inner, .payload = 40, .reply = true};
		struct fx_outer o = {.v6 = outer_v6, .tos = outer_dscp | outer, .counter = counter++};
		struct fx_frame p, plain = {.len = 14};
		size_t wire;
		const char *why;
		int action;

		fx_set_endpoint(&f, outer_v6);
		fx_sealed_inner(&f, &p, &o, &in);
		wire = p.len;
		action = fx_decap(&f, &p);
		if (want == LOST) {
			cr_expect_eq(action, DROP, "inner %d outer %d", inner, outer);
			why = fx_only(&f, NTM_R_RX_ECN, wire, false);
			cr_expect_null(why, "inner %d outer %d: %s", inner, outer, why);
			continue;
		}
		cr_assert_eq(action, XDP_REDIRECTED, "inner %d outer %d", inner, outer);
		in.tos = inner_dscp | want;
		fx_put_inner(&f, &plain, &in);
		cr_expect_eq(tos_of(p.data + 14), inner_dscp | want, "inner %d outer %d", inner, outer);
		/* all the rest as it was, the IPv4 checksum right */
		cr_assert_eq(p.len, plain.len);
		cr_expect_arr_eq(p.data + 14, plain.data + 14, plain.len - 14, "inner v%d %d outer %d", v6 ? 6 : 4,
				 inner, outer);
	}
}

Test(bpf_ecn, into_the_tunnel)
{
	for (int c = 0; c < 4 * 256; c++) {
		struct fx_inner in = {.v6 = c & 1, .tos = c >> 2, .payload = 40};
		struct fx_frame p;

		fx_set_endpoint(&f, c & 2);
		fx_clear_frame(&f, &p, &in);
		cr_assert_eq(fx_encap(&f, &p), TC_REDIRECTED);
		cr_expect_eq(tos_of(p.data + 14), in.tos, "inner v%d outer v%d", c & 1 ? 6 : 4, c & 2 ? 6 : 4);
	}
}
