/* SPDX-License-Identifier: BSD-2-Clause */
/* Types 1 to 4 of strangers: refused, and the true handshake and datagram pass afterwards. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_session: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ntm_addr from = {.port = 1};
	struct ntm_session a = {0}, b = {0}, c = {0}, none = {0};
	struct ntm_session_init_state st;
	struct ntm_session_resp answer;
	struct ntm_cookie_client cc;
	struct ntm_cookie_reply reply;
	struct ntm_cookie_jar jar;
	uint8_t ip[32], iP[32], rp[32], rP[32], m[64], out[64];
	uint8_t *big = malloc(size + 1);
	size_t n;

	require(big && !ntm_crypto_init() && !ntm_x25519_generate(ip, iP) && !ntm_x25519_generate(rp, rP), "no keys");
	require(!ntm_cookie_jar_init(&jar, rP, 1) && !ntm_cookie_client_init(&cc, rP), "no cookies");
	require(!ntm_session_begin(&st, ip, iP, rP, &cc, 1), "no handshake");

	require(ntm_cookie_check(&jar, data, size, &from, 1) == NTM_MAC_BAD, "mac1 was guessed");
	if (size >= sizeof(reply)) {
		memcpy(&reply, data, sizeof(reply));
		require(ntm_cookie_consume(&cc, &reply, 1), "a cookie was guessed");
	}
	require(ntm_session_accept(rp, rP, data, size, 9, 1, 1, &b, &answer), "a request was taken");
	require(ntm_session_finish(&st, data, size, 1, &a), "an answer was taken");
	require(!memcmp(&a, &none, sizeof(a)) && !memcmp(&b, &none, sizeof(b)), "outputs of a failure");

	require(!ntm_session_accept(rp, rP, &st.msg, sizeof(st.msg), 9, 1, 1, &b, &answer), "the true request");
	require(!ntm_session_finish(&st, &answer, sizeof(answer), 1, &a), "the true answer");
	if (size >= 16) /* so that the tag is reached */
		memcpy(&b.local_id, data + 8, 8), b.local_id = __builtin_bswap64(b.local_id);
	c = b;
	require(ntm_session_open(&b, data, size, big, size, &n), "a datagram was taken");
	require(!memcmp(&b, &c, sizeof(b)), "a forged datagram left a trace");
	b.local_id = 9;
	require(!ntm_session_seal(&a, "x", 1, m, sizeof(m), &n), "seal");
	require(!ntm_session_open(&b, m, n, out, sizeof(out), &n) && n == 1 && out[0] == 'x', "open");
	free(big);
	return 0;
}
