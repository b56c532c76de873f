/* SPDX-License-Identifier: BSD-2-Clause */
/* The published vectors for both patterns, and what a forged message does to a handshake. */
#include <criterion/criterion.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/noise.h"

#define VECTORS "tests/vectors/noise_ik.json"

static size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
	size_t n = strlen(hex) / 2;

	cr_assert_leq(n, cap);
	for (size_t i = 0; i < n; i++) {
		unsigned b;

		cr_assert_eq(sscanf(hex + 2 * i, "%2x", &b), 1);
		out[i] = (uint8_t)b;
	}
	return n;
}

static size_t field(json_object *v, const char *name, uint8_t *out, size_t cap)
{
	json_object *o = json_object_object_get(v, name);

	return o ? unhex(json_object_get_string(o), out, cap) : 0;
}

static void noise_transport_nonce(uint8_t nonce[NTM_NONCE_LEN], uint64_t n)
{
	memset(nonce, 0, NTM_NONCE_LEN);
	for (int i = 0; i < 8; i++)
		nonce[4 + i] = (uint8_t)(n >> 8 * i);
}

static void run_vector(json_object *v)
{
	uint8_t is[32], ie[32], rs[32], re[32], i_pub[32], r_pub[32], irs[32], psk[32], pro[256], hash[32];
	uint8_t payload[256], want[512], out[512], got[512], itx[32], irx[32], rtx[32], rrx[32], nonce[12];
	json_object *psks = json_object_object_get(v, "init_psks");
	json_object *messages = json_object_object_get(v, "messages");
	bool has_psk = psks && json_object_array_length(psks) > 0;
	size_t pro_len = field(v, "init_prologue", pro, sizeof(pro)), n, m;
	struct ntm_noise ini, res;

	cr_assert_eq(field(v, "init_static", is, 32), 32);
	cr_assert_eq(field(v, "init_ephemeral", ie, 32), 32);
	cr_assert_eq(field(v, "init_remote_static", irs, 32), 32);
	cr_assert_eq(field(v, "resp_static", rs, 32), 32);
	cr_assert_eq(field(v, "resp_ephemeral", re, 32), 32);
	if (has_psk)
		unhex(json_object_get_string(json_object_array_get_idx(psks, 0)), psk, 32);
	cr_assert_eq(ntm_x25519_public(is, i_pub), 0);
	cr_assert_eq(ntm_x25519_public(rs, r_pub), 0);
	cr_assert_arr_eq(r_pub, irs, 32);

	cr_assert_eq(ntm_noise_init(&ini, true, is, i_pub, irs, has_psk ? psk : NULL, pro, pro_len), 0);
	cr_assert_eq(ntm_noise_init(&res, false, rs, r_pub, NULL, has_psk ? psk : NULL, pro, pro_len), 0);
	ntm_noise_set_ephemeral(&ini, ie);
	ntm_noise_set_ephemeral(&res, re);

	for (size_t i = 0; i < json_object_array_length(messages); i++) {
		json_object *msg = json_object_array_get_idx(messages, i);
		size_t payload_len = field(msg, "payload", payload, sizeof(payload));
		size_t want_len = field(msg, "ciphertext", want, sizeof(want));

		if (i < 2) {
			cr_assert_eq(ntm_noise_write(i ? &res : &ini, payload, payload_len, out, sizeof(out), &n), 0);
			cr_assert_eq(n, want_len);
			cr_assert_arr_eq(out, want, n);
			cr_assert_eq(ntm_noise_read(i ? &ini : &res, out, n, got, sizeof(got), &m), 0);
			cr_assert_eq(m, payload_len);
			cr_assert_arr_eq(got, payload, m);
			if (i == 0)
				cr_assert_arr_eq(res.rs, i_pub, 32);
			if (i == 1) {
				if (field(v, "handshake_hash", hash, 32)) {
					cr_assert_arr_eq(ini.h, hash, 32);
					cr_assert_arr_eq(res.h, hash, 32);
				}
				cr_assert_eq(ntm_noise_split(&ini, itx, irx), 0);
				cr_assert_eq(ntm_noise_split(&res, rtx, rrx), 0);
				cr_assert_arr_eq(itx, rrx, 32);
				cr_assert_arr_eq(irx, rtx, 32);
			}
			continue;
		}
		noise_transport_nonce(nonce, (i - 2) / 2);
		cr_assert_eq(ntm_seal(i % 2 ? rtx : itx, nonce, NULL, 0, payload, payload_len, out), 0);
		cr_assert_eq(payload_len + NTM_TAG_LEN, want_len);
		cr_assert_arr_eq(out, want, want_len);
	}
}

Test(common_noise, published_vectors)
{
	json_object *root = json_object_from_file(VECTORS), *list;

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_not_null(root, "%s is missing", VECTORS);
	list = json_object_object_get(root, "vectors");
	cr_assert_eq(json_object_array_length(list), 3);
	for (size_t i = 0; i < 3; i++)
		run_vector(json_object_array_get_idx(list, i));
	json_object_put(root);
}

static void pair(struct ntm_noise *ini, struct ntm_noise *res, const uint8_t *psk_i, const uint8_t *psk_r)
{
	uint8_t a[32], ap[32], b[32], bp[32];

	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(a, ap), 0);
	cr_assert_eq(ntm_x25519_generate(b, bp), 0);
	cr_assert_eq(ntm_noise_init(ini, true, a, ap, bp, psk_i, "p", 1), 0);
	cr_assert_eq(ntm_noise_init(res, false, b, bp, NULL, psk_r, "p", 1), 0);
}

Test(common_noise, every_flipped_bit_of_message_1_is_refused)
{
	struct ntm_noise ini, res, copy;
	uint8_t msg[128], bad[128], out[64];
	size_t n, m;

	pair(&ini, &res, NULL, NULL);
	cr_assert_eq(ntm_noise_write(&ini, "hello", 5, msg, sizeof(msg), &n), 0);
	cr_assert_eq(n, 96 + 5);
	for (size_t i = 0; i < n * 8; i++) {
		memcpy(bad, msg, n);
		bad[i / 8] ^= (uint8_t)(1 << i % 8);
		copy = res;
		/* X25519 ignores the top bit of a coordinate, but the transcript does not */
		cr_assert_eq(ntm_noise_read(&copy, bad, n, out, sizeof(out), &m), -EBADMSG, "bit %zu", i);
		cr_assert_eq(ntm_noise_read(&copy, msg, n, out, sizeof(out), &m), -EPROTO);
	}
	cr_assert_eq(ntm_noise_read(&res, msg, n, out, sizeof(out), &m), 0);
}

Test(common_noise, wrong_psk_wrong_order_and_short_messages)
{
	static const uint8_t psk1[32] = {1}, psk2[32] = {2};
	struct ntm_noise ini, res;
	uint8_t msg[128], out[64], k[32];
	size_t n, m;

	pair(&ini, &res, psk1, psk2);
	cr_assert_eq(ntm_noise_split(&ini, k, k), -EPROTO);
	cr_assert_eq(ntm_noise_write(&res, "", 0, msg, sizeof(msg), &n), -EPROTO);
	cr_assert_eq(ntm_noise_read(&ini, msg, 96, out, sizeof(out), &m), -EPROTO);
	cr_assert_eq(ntm_noise_write(&ini, "", 0, msg, 95, &n), -ENOSPC);
	cr_assert_eq(ntm_noise_write(&ini, "", 0, msg, sizeof(msg), &n), 0);
	cr_assert_eq(ntm_noise_read(&res, msg, n, out, sizeof(out), &m), 0, "the psk comes in only with message 2");
	cr_assert_eq(ntm_noise_write(&res, "", 0, msg, sizeof(msg), &n), 0);
	cr_assert_eq(ntm_noise_read(&ini, msg, n, out, sizeof(out), &m), -EBADMSG);

	pair(&ini, &res, NULL, NULL);
	for (size_t len = 0; len < 96; len++) {
		struct ntm_noise copy = res;

		cr_assert_eq(ntm_noise_read(&copy, msg, len, out, sizeof(out), &m), -EBADMSG);
	}
}
