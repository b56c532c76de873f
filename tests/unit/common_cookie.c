/* SPDX-License-Identifier: BSD-2-Clause */
/* mac1, mac2 and cookies: who is let through under load, from where and for how long. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/cookie.h"
#include "../../user/common/crypto.h"

#define PERIOD (NTM_COOKIE_SECRET_S * 1000ULL)

static struct ntm_cookie_jar jar;
static struct ntm_cookie_client cc;
static struct ntm_cookie_reply reply;
static struct ntm_addr from = {.ip = {[15] = 1}, .port = 7};
static uint8_t msg[152];

static void init_with(unsigned threshold)
{
	uint8_t priv[32], pub[32];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(priv, pub), 0);
	cr_assert_eq(ntm_cookie_jar_init(&jar, pub, threshold), 0);
	cr_assert_eq(ntm_cookie_client_init(&cc, pub), 0);
}

static enum ntm_mac_verdict check(uint64_t now)
{
	return ntm_cookie_check(&jar, msg, sizeof(msg), &from, now);
}

static void get_cookie(uint64_t now)
{
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), now), 0);
	cr_assert_eq(check(now), NTM_MAC_COOKIE);
	cr_assert_eq(ntm_cookie_reply(&jar, msg, sizeof(msg), &from, now, &reply), 0);
	cr_assert_eq(ntm_cookie_consume(&cc, &reply, now), 0);
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), now), 0);
}

Test(cookie, mac1_and_threshold)
{
	init_with(2);
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), 5000), 0);
	for (size_t i = 0; i < (sizeof(msg) - NTM_MAC_LEN) * 8; i++) {
		msg[i / 8] ^= 1 << i % 8;
		cr_assert_eq(check(5000), NTM_MAC_BAD, "bit %zu", i);
		msg[i / 8] ^= 1 << i % 8;
	}
	cr_assert_eq(check(5000), NTM_MAC_OK);
	cr_assert_eq(check(5000), NTM_MAC_OK);
	cr_assert_eq(check(5000), NTM_MAC_COOKIE);
	cr_assert_eq(check(6000), NTM_MAC_OK, "a new second");
	for (size_t n = 0; n < sizeof(struct ntm_hdr) + sizeof(struct ntm_macs); n++) {
		cr_assert_eq(ntm_cookie_check(&jar, msg, n, &from, 6000), NTM_MAC_BAD);
		cr_assert_eq(ntm_cookie_reply(&jar, msg, n, &from, 6000, &reply), -EINVAL);
		cr_assert_eq(ntm_cookie_sign(&cc, msg, n, 6000), -EINVAL);
	}
}

Test(cookie, only_from_its_address)
{
	init_with(0);
	get_cookie(5000);
	cr_assert_eq(check(5000), NTM_MAC_OK);
	from.port ^= 1;
	cr_assert_eq(check(5000), NTM_MAC_COOKIE);
	from.port ^= 1;
	from.ip[15] ^= 1;
	cr_assert_eq(check(5000), NTM_MAC_COOKIE);
	from.ip[15] ^= 1;
	msg[sizeof(msg) - 1] ^= 1;
	cr_assert_eq(check(5000), NTM_MAC_COOKIE);
}

Test(cookie, one_rotation)
{
	init_with(0);
	get_cookie(5000);
	cr_assert_eq(check(5000 + PERIOD), NTM_MAC_OK);
	cr_assert_eq(check(5000 + 2 * PERIOD), NTM_MAC_COOKIE);
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), 5000 + PERIOD), 0);
	for (int i = 1; i <= NTM_MAC_LEN; i++)
		cr_assert_eq(msg[sizeof(msg) - i], 0, "an old cookie is not used");
}

Test(cookie, two_rotations_in_silence)
{
	init_with(0);
	get_cookie(5000);
	cr_assert_eq(check(5000 + 2 * PERIOD), NTM_MAC_COOKIE, "although nobody asked meanwhile");
}

Test(cookie, answers_to_other_messages)
{
	init_with(0);
	cr_assert_eq(ntm_cookie_reply(&jar, msg, sizeof(msg), &from, 5000, &reply), 0);
	cr_assert_eq(ntm_cookie_consume(&cc, &reply, 5000), -EBADMSG, "nothing was signed, the macs are zeros");
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), 5000), 0);
	cr_assert_eq(ntm_cookie_reply(&jar, msg, sizeof(msg), &from, 5000, &reply), 0);
	cr_assert_arr_eq(&reply.hdr.id, msg + 8, 8);
	msg[20] ^= 1;
	cr_assert_eq(ntm_cookie_sign(&cc, msg, sizeof(msg), 5000), 0);
	cr_assert_eq(ntm_cookie_consume(&cc, &reply, 5000), -EBADMSG);
	cr_assert_eq(cc.cookie_ms, 0);
}
