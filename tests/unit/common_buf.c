/* SPDX-License-Identifier: BSD-2-Clause */
/* Cursors: byte order, bounds at every size, and an error that stays. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/buf.h"

static uint64_t rd(struct ntm_rd *r, size_t n)
{
	return n == 1 ? ntm_rd_u8(r) : n == 2 ? ntm_rd_u16(r) : n == 4 ? ntm_rd_u32(r) : ntm_rd_u64(r);
}

static void wr(struct ntm_wr *w, size_t n, uint64_t v)
{
	if (n == 1)
		ntm_wr_u8(w, (uint8_t)v);
	else if (n == 2)
		ntm_wr_u16(w, (uint16_t)v);
	else if (n == 4)
		ntm_wr_u32(w, (uint32_t)v);
	else
		ntm_wr_u64(w, v);
}

Test(buf, integers_are_big_endian_and_bounded)
{
	static const uint8_t in[8] = {0x81, 2, 3, 4, 5, 6, 7, 0xf8};
	static const uint64_t want[9] = {[1] = 0x81, [2] = 0x8102, [4] = 0x81020304, [8] = 0x81020304050607f8};

	for (size_t n = 1; n <= 8; n *= 2) {
		for (size_t cap = 0; cap <= 8; cap++) {
			struct ntm_rd r = ntm_rd_init(in, cap);
			uint8_t out[9];
			struct ntm_wr w = ntm_wr_init(out, cap);

			memset(out, 0xee, sizeof(out));
			wr(&w, n, want[n]);
			cr_assert_eq(rd(&r, n), cap < n ? 0 : want[n]);
			cr_assert_eq(r.err, cap < n ? -EBADMSG : 0);
			cr_assert_eq(ntm_rd_left(&r), cap < n ? 0 : cap - n);
			cr_assert_eq(w.err, cap < n ? -ENOSPC : 0);
			cr_assert_eq(ntm_wr_len(&w), cap < n ? 0 : n);
			if (cap >= n)
				cr_assert_arr_eq(out, in, n);
			cr_assert_eq(out[cap < n ? 0 : n], 0xee);
		}
	}
}

Test(buf, errors_stay)
{
	uint8_t in[4] = {1, 2, 3, 4}, out[4] = {9, 9, 9, 9};
	struct ntm_rd r = ntm_rd_init(in, sizeof(in));
	struct ntm_wr w = ntm_wr_init(out, 2);

	ntm_rd_u64(&r);
	cr_assert_eq(ntm_rd_u8(&r), 0);
	cr_assert_null(ntm_rd_view(&r, 0));
	ntm_rd_bytes(&r, out, 2);
	cr_assert_eq(r.err, -EBADMSG);
	cr_assert_eq(out[0] | out[1], 0, "bytes are zeroed");
	cr_assert_eq(out[2], 9);

	ntm_wr_u32(&w, 0x01020304);
	ntm_wr_u8(&w, 7);
	ntm_wr_bytes(&w, in, 1);
	cr_assert_eq(w.err, -ENOSPC);
	cr_assert_eq(ntm_wr_len(&w), 0);
	cr_assert_eq(out[0], 0);
}

Test(buf, bytes_and_nothing)
{
	uint8_t in[3] = {1, 2, 3}, out[3] = {0};
	struct ntm_rd r = ntm_rd_init(in, sizeof(in)), none = ntm_rd_init(NULL, 0);
	struct ntm_wr w = ntm_wr_init(out, sizeof(out)), nowhere = ntm_wr_init(NULL, 0);

	cr_assert_eq(ntm_rd_view(&r, 2), in);
	ntm_rd_bytes(&r, out, 1);
	cr_assert_eq(out[0], 3);
	ntm_rd_bytes(&r, NULL, 0);
	cr_assert_eq(r.err, 0);
	ntm_wr_bytes(&w, in, 3);
	ntm_wr_bytes(&w, NULL, 0);
	cr_assert_eq(w.err, 0);
	cr_assert_arr_eq(out, in, 3);

	ntm_rd_bytes(&none, NULL, 0);
	ntm_wr_bytes(&nowhere, NULL, 0);
	cr_assert(none.err == 0 && nowhere.err == 0 && ntm_rd_left(&none) == 0);
	ntm_rd_u8(&none);
	ntm_wr_u8(&nowhere, 1);
	cr_assert(none.err == -EBADMSG && nowhere.err == -ENOSPC);
}
