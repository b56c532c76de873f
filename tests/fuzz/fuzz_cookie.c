/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cookies under load: a stranger's message is never let through, a stranger's reply never taken, whatever the length
 * says; and the true exchange around the same bytes works.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/cookie.h"
#include "../../user/common/crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_cookie: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t least = sizeof(struct ntm_hdr) + sizeof(struct ntm_macs);
	struct ntm_addr from = {.port = 1}, other = {.port = 2};
	struct ntm_cookie_client cc, before;
	struct ntm_cookie_reply reply = {0};
	struct ntm_cookie_jar jar;
	uint8_t priv[32], pub[32], *msg = malloc(size ? size : 1); /* so that a sanitizer sees a byte beyond it */

	require(msg && !ntm_crypto_init() && !ntm_x25519_generate(priv, pub), "no keys");
	require(!ntm_cookie_jar_init(&jar, pub, 0) && !ntm_cookie_client_init(&cc, pub), "no cookies");
	if (size)
		memcpy(msg, data, size);
	require(ntm_cookie_check(&jar, msg, size, &from, 1) == NTM_MAC_BAD, "mac1 was guessed");
	if (size < least) {
		require(ntm_cookie_sign(&cc, msg, size, 1) && !memcmp(msg, data, size), "a short message was signed");
		require(ntm_cookie_reply(&jar, msg, size, &from, 1, &reply), "a short message was answered");
		free(msg);
		return 0;
	}
	require(!ntm_cookie_sign(&cc, msg, size, 1), "not signed");
	require(ntm_cookie_check(&jar, msg, size, &from, 1) == NTM_MAC_COOKIE, "mac1 alone is enough under load");
	memcpy(msg + size - NTM_MAC_LEN, data, NTM_MAC_LEN);
	require(ntm_cookie_check(&jar, msg, size, &from, 1) == NTM_MAC_COOKIE, "mac2 was guessed");

	before = cc;
	memcpy(&reply, data, size < sizeof(reply) ? size : sizeof(reply));
	require(ntm_cookie_consume(&cc, &reply, 1), "a cookie was guessed");
	require(!memcmp(&before, &cc, sizeof(cc)), "a forged reply left a trace");

	require(!ntm_cookie_reply(&jar, msg, size, &from, 1, &reply), "no reply");
	require(!ntm_cookie_consume(&cc, &reply, 1), "the true reply");
	require(!ntm_cookie_sign(&cc, msg, size, 1), "not signed again");
	require(ntm_cookie_check(&jar, msg, size, &from, 1) == NTM_MAC_OK, "the true cookie");
	require(ntm_cookie_check(&jar, msg, size, &other, 1) == NTM_MAC_COOKIE, "the cookie from another address");
	free(msg);
	return 0;
}
