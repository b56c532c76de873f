/* SPDX-License-Identifier: BSD-2-Clause */
/* The relay's keys against values of another implementation of BLAKE2s; whose key opens what. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/relay_crypto.h"

static uint8_t low[32], high[32]; /* 00..1f, 20..3f */

static void init(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	for (int i = 0; i < 32; i++) {
		low[i] = (uint8_t)i;
		high[i] = (uint8_t)(32 + i);
	}
}
TestSuite(relay_crypto, .init = init);

static void assert_hex(const uint8_t *got, size_t n, const char *hex)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t want;

		cr_assert_eq(sscanf(hex + 2 * i, "%2hhx", &want), 1);
		cr_assert_eq(got[i], want, "byte %zu", i);
	}
}

Test(relay_crypto, known_values)
{
	uint8_t s[32], p[32], k[32], msg[64];
	uint64_t id;

	cr_assert_eq(ntm_relay_secret(low, s), 0);
	assert_hex(s, 32, "da4a9ad067e1f362f9c9dc18824a98cc30eba5731219a8f9f5901a3a9beafe25");
	cr_assert_eq(ntm_relay_end_key(s, NTM_ROLE_INITIATOR, k), 0);
	assert_hex(k, 32, "883b0812f3bf57107ba436c4cc2d2446931e65de8965a11dc44a021785e57b3a");
	cr_assert_eq(ntm_relay_end_key(s, NTM_ROLE_RESPONDER, k), 0);
	assert_hex(k, 32, "089745327e5fdd0ae62a6692b8ddd5e87dfb767d1d07054d676c5cb0f0fcfd19");
	cr_assert_eq(ntm_probe_secret(low, high, p), 0);
	assert_hex(p, 32, "93dfb0388f981249003656fb9ef786adb0f62c9afba7eec015629eab88c4f458");
	cr_assert_eq(ntm_probe_id(p, high, &id), 0);
	cr_assert_eq(id, 0xcc9c77e41687e6c3);
	cr_assert_eq(ntm_probe_key(p, id, k), 0);
	assert_hex(k, 32, "55e292ec82ec03f056e70b1989b0101e7e90f651f057d29b6d811206fd24e523");
	for (int i = 0; i < 48; i++)
		msg[i] = (uint8_t)i;
	cr_assert_eq(ntm_bind_sign(s, msg, sizeof(msg)), 0);
	assert_hex(msg + 48, 16, "19a392a56732d7fdab272c1e07264b9e");
}

Test(relay_crypto, one_ends_bind_is_not_the_others)
{
	uint8_t s[32], a[32], b[32];
	struct ntm_relay_bind m = {.seq = 5};

	cr_assert_eq(ntm_relay_secret(low, s), 0);
	cr_assert_eq(ntm_relay_end_key(s, NTM_ROLE_INITIATOR, a), 0);
	cr_assert_eq(ntm_relay_end_key(s, NTM_ROLE_RESPONDER, b), 0);
	cr_assert_eq(ntm_bind_sign(a, &m, sizeof(m)), 0);
	cr_assert(ntm_bind_verify(a, &m, sizeof(m)));
	cr_assert_not(ntm_bind_verify(b, &m, sizeof(m)));
	cr_assert_not(ntm_bind_verify(s, &m, sizeof(m)));
}

Test(relay_crypto, every_bit_of_a_bind_is_covered)
{
	struct ntm_relay_bind m = {.seq = 1};
	uint8_t *bytes = (uint8_t *)&m;

	cr_assert_eq(ntm_bind_sign(low, &m, sizeof(m)), 0);
	for (size_t i = 0; i < sizeof(m) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		cr_assert_not(ntm_bind_verify(low, &m, sizeof(m)), "bit %zu", i);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	cr_assert(ntm_bind_verify(low, &m, sizeof(m)));
}

Test(relay_crypto, too_short_for_a_mac)
{
	uint8_t m[16] = {0};

	cr_assert_eq(ntm_bind_sign(low, m, 15), -EINVAL);
	cr_assert_not(ntm_bind_verify(low, m, 15));
	cr_assert_eq(ntm_bind_sign(low, m, 16), 0);
	cr_assert(ntm_bind_verify(low, m, 16));
}
