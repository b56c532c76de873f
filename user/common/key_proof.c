/* SPDX-License-Identifier: BSD-2-Clause */
#include "key_proof.h"

#include <string.h>

#include "crypto.h"

int ntm_key_proof(const uint8_t priv[NTM_DH_LEN], const uint8_t other_pub[NTM_DH_LEN],
		  const uint8_t old_pub[NTM_DH_LEN], const uint8_t new_pub[NTM_DH_LEN], uint8_t out[NTM_KEY_LEN])
{
	static const char label[] = "ntm1 key proof";
	uint8_t shared[NTM_DH_LEN], h[NTM_HASH_LEN];
	const struct ntm_iov in[] = {
	    {label, sizeof(label) - 1}, {shared, sizeof(shared)}, {old_pub, NTM_DH_LEN}, {new_pub, NTM_DH_LEN}};
	int err = ntm_x25519(priv, other_pub, shared);

	if (!err)
		err = ntm_hash(h, in, sizeof(in) / sizeof(in[0]));
	if (!err)
		memcpy(out, h, NTM_KEY_LEN);
	ntm_wipe(shared, sizeof(shared));
	ntm_wipe(h, sizeof(h));
	return err;
}
