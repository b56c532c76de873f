/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/key_proof.h"

struct key {
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
};

static void make(struct key *k)
{
	cr_assert_eq(ntm_x25519_generate(k->priv, k->pub), 0);
}

Test(key_proof, both_ends_make_the_same_and_nobody_else)
{
	struct key dc, was, now, other;
	uint8_t node[NTM_KEY_LEN], seen[NTM_KEY_LEN];

	cr_assert_eq(ntm_crypto_init(), 0);
	make(&dc);
	make(&was);
	make(&now);
	make(&other);
	cr_assert_eq(ntm_key_proof(now.priv, dc.pub, was.pub, now.pub, node), 0);
	cr_assert_eq(ntm_key_proof(dc.priv, now.pub, was.pub, now.pub, seen), 0);
	cr_assert_arr_eq(node, seen, NTM_KEY_LEN);
	/* without the new private key, for another key, from another node, to another DC */
	cr_assert_eq(ntm_key_proof(was.priv, dc.pub, was.pub, now.pub, node), 0);
	cr_assert_neq(memcmp(node, seen, NTM_KEY_LEN), 0);
	cr_assert_eq(ntm_key_proof(now.priv, dc.pub, was.pub, other.pub, node), 0);
	cr_assert_neq(memcmp(node, seen, NTM_KEY_LEN), 0);
	cr_assert_eq(ntm_key_proof(now.priv, dc.pub, other.pub, now.pub, node), 0);
	cr_assert_neq(memcmp(node, seen, NTM_KEY_LEN), 0);
	cr_assert_eq(ntm_key_proof(now.priv, other.pub, was.pub, now.pub, node), 0);
	cr_assert_neq(memcmp(node, seen, NTM_KEY_LEN), 0);
}

Test(key_proof, a_key_of_low_order_proves_nothing)
{
	static const uint8_t zero[NTM_DH_LEN];
	uint8_t out[NTM_KEY_LEN];
	struct key dc;

	cr_assert_eq(ntm_crypto_init(), 0);
	make(&dc);
	cr_assert_eq(ntm_key_proof(dc.priv, zero, dc.pub, zero, out), -EINVAL);
}
