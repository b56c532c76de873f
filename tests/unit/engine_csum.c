/* SPDX-License-Identifier: BSD-2-Clause */
/* The internet checksum by words, blocks and vectors gives what RFC 1071 says of 16-bit words. */
#include <criterion/criterion.h>

#include "../../user/engine/csum.h"

static uint16_t by_words(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | (i + 1 < len ? p[i + 1] : 0));
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t ours(const uint8_t *p, size_t len)
{
	uint16_t folded = ntm_sum_fold(ntm_sum(p, len, 0));
	uint8_t bytes[2];
	memcpy(bytes, &folded, 2);
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

Test(csum, every_length_at_every_place)
{
	static uint8_t buf[2048];
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * i >> 3);
	for (size_t at = 0; at < 3; at++)
		for (size_t len = 0; len < 1600; len++)
			cr_assert_eq(ours(buf + at, len), by_words(buf + at, len), "%zu bytes at %zu", len, at);
}

Test(csum, no_carry_is_lost)
{
	static uint8_t ones[65536];
	memset(ones, 0xff, sizeof(ones));
	for (size_t len = 2; len <= sizeof(ones); len += 2)
		cr_assert_eq(ours(ones, len), 0xffff, "%zu bytes", len);
}
