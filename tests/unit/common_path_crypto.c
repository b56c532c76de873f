/* SPDX-License-Identifier: BSD-2-Clause */
/* Tunnel handshakes: both ends get the same keys, and nobody else's message is taken. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/path_crypto.h"

#define PATH 0x0102030405060708ULL

static uint8_t ip[32], iP[32], rp[32], rP[32], psk[32];
static struct ntm_cookie_client cc;
static struct ntm_tunnel_init_state st;
static struct ntm_noise ns;
static struct ntm_tunnel_req_payload req = {.seq = 1, .suites = 2, .mtu = 3}, got_req;
static struct ntm_tunnel_resp_payload resp = {.suites = 4, .mtu = 5, .observed_port = 6}, got_resp;
static struct ntm_tunnel_resp answer;
static struct ntm_tunnel_keys a, b;

static void init(void)
{
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(ip, iP), 0);
	cr_assert_eq(ntm_x25519_generate(rp, rP), 0);
	cr_assert_eq(ntm_random(psk, sizeof(psk)), 0);
	cr_assert_eq(ntm_cookie_client_init(&cc, rP), 0);
	cr_assert_eq(ntm_tunnel_begin(&st, ip, iP, rP, psk, PATH, 3, &req, &cc, 5), 0);
}
TestSuite(path_crypto, .init = init);

static int read_msg(const void *m, size_t len)
{
	return ntm_tunnel_read(&ns, rp, rP, iP, psk, m, len, &got_req);
}
static int finish(const void *m, size_t len)
{
	return ntm_tunnel_finish(&st, m, len, &a, &got_resp);
}

Test(path_crypto, keys_match_crosswise)
{
	const uint8_t *k[4] = {a.tx, a.rx, a.ctl_tx, a.ctl_rx};

	cr_assert_eq(read_msg(&st.msg, sizeof(st.msg)), 0);
	cr_assert_arr_eq(&got_req, &req, sizeof(req));
	cr_assert_eq(ntm_tunnel_answer(&ns, PATH, 3, &resp, &answer, &b), 0);
	cr_assert_eq(finish(&answer, sizeof(answer)), 0);
	cr_assert_arr_eq(&got_resp, &resp, sizeof(resp));
	cr_assert(a.epoch == 3 && b.epoch == 3);
	cr_assert_arr_eq(a.tx, b.rx, 32);
	cr_assert_arr_eq(a.rx, b.tx, 32);
	cr_assert_arr_eq(a.ctl_tx, b.ctl_rx, 32);
	cr_assert_arr_eq(a.ctl_rx, b.ctl_tx, 32);
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < i; j++)
			cr_assert_arr_neq(k[i], k[j], 32);
	cr_assert_neq(finish(&answer, sizeof(answer)), 0, "only once");
}

Test(path_crypto, refused_requests)
{
	for (size_t i = 0; i < (sizeof(st.msg) - sizeof(struct ntm_macs)) * 8; i++) {
		struct ntm_tunnel_req bad = st.msg;

		((uint8_t *)&bad)[i / 8] ^= 1 << i % 8; /* the header has epoch and Path ID */
		cr_assert_neq(read_msg(&bad, sizeof(bad)), 0, "bit %zu", i);
	}
	for (size_t i = 0; i < sizeof(st.msg); i++)
		cr_assert_eq(read_msg(&st.msg, i), -EBADMSG);
	iP[0] ^= 1;
	cr_assert_eq(read_msg(&st.msg, sizeof(st.msg)), -EBADMSG, "another peer");
	iP[0] ^= 1;
	psk[0] ^= 1;
	/* IKpsk2 mixes the PSK into message 2: the initiator sees it */
	cr_assert_eq(read_msg(&st.msg, sizeof(st.msg)), 0);
	cr_assert_eq(ntm_tunnel_answer(&ns, PATH, 3, &resp, &answer, &b), 0);
	cr_assert_eq(finish(&answer, sizeof(answer)), -EBADMSG, "another PSK");
	psk[0] ^= 1;
	cr_assert_eq(read_msg(&st.msg, sizeof(st.msg)), 0);
}

Test(path_crypto, refused_answers)
{
	cr_assert_eq(read_msg(&st.msg, sizeof(st.msg)), 0);
	cr_assert_eq(ntm_tunnel_answer(&ns, PATH, 3, &resp, &answer, &b), 0);
	for (size_t i = 0; i < sizeof(answer) * 8; i++) {
		struct ntm_tunnel_resp bad = answer;

		((uint8_t *)&bad)[i / 8] ^= 1 << i % 8;
		cr_assert_neq(finish(&bad, sizeof(bad)), 0, "bit %zu", i);
	}
	for (size_t i = 0; i < sizeof(answer); i++)
		cr_assert_eq(finish(&answer, i), -EBADMSG);
	cr_assert_eq(finish(&answer, sizeof(answer)), 0, "still usable");
	cr_assert_eq(finish(&answer, sizeof(answer)), -EBADMSG, "once only");
}
