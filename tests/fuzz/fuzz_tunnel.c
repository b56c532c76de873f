/* SPDX-License-Identifier: BSD-2-Clause */
/* Types 9 and 10 of strangers: refused, and the true handshake passes afterwards. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/path_crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_tunnel: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ntm_tunnel_req_payload req = {.suites = 1}, got = {0};
	struct ntm_tunnel_resp_payload resp = {.mtu = 2}, got_resp = {0};
	struct ntm_tunnel_keys a = {0}, b = {0}, none = {0};
	struct ntm_tunnel_init_state st;
	struct ntm_tunnel_resp answer;
	struct ntm_cookie_client cc;
	struct ntm_noise ns;
	uint8_t ip[32], iP[32], rp[32], rP[32], psk[32] = {1};

	require(!ntm_crypto_init() && !ntm_x25519_generate(ip, iP) && !ntm_x25519_generate(rp, rP), "no keys");
	require(!ntm_cookie_client_init(&cc, rP), "no cookies");
	require(!ntm_tunnel_begin(&st, ip, iP, rP, psk, 1, 3, &req, &cc, 1), "no handshake");

	require(ntm_tunnel_read(&ns, rp, rP, iP, psk, data, size, &got), "a request was taken");
	require(ntm_tunnel_finish(&st, data, size, &a, &got_resp), "an answer was taken");
	require(!memcmp(&a, &none, sizeof(a)), "keys of a failure");

	require(!ntm_tunnel_read(&ns, rp, rP, iP, psk, &st.msg, sizeof(st.msg), &got), "the true request");
	require(!memcmp(&got, &req, sizeof(req)), "its payload");
	require(!ntm_tunnel_answer(&ns, 1, 3, &resp, &answer, &b), "no answer");
	require(!ntm_tunnel_finish(&st, &answer, sizeof(answer), &a, &got_resp), "the true answer");
	require(!memcmp(a.tx, b.rx, 32) && !memcmp(a.ctl_rx, b.ctl_tx, 32), "keys differ");
	return 0;
}
