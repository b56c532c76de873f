/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_crypto.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "crypto.h"

/* BLAKE2s-256 over a label, a key and what tells its uses apart. */
static int derive(const char *label, const uint8_t key[NTM_KEY_LEN], const void *use, size_t use_len,
		  uint8_t out[NTM_KEY_LEN])
{
	const struct ntm_iov in[] = {{label, strlen(label)}, {key, NTM_KEY_LEN}, {use, use_len}};
	uint8_t h[NTM_HASH_LEN];
	int err = ntm_hash(h, in, use_len ? 3 : 2);

	if (!err)
		memcpy(out, h, NTM_KEY_LEN);
	ntm_wipe(h, sizeof(h));
	return err;
}

int ntm_relay_secret(const uint8_t psk[NTM_PSK_LEN], uint8_t out[NTM_KEY_LEN])
{
	return derive("ntm1 relay", psk, NULL, 0, out);
}

int ntm_relay_end_key(const uint8_t secret[NTM_KEY_LEN], enum ntm_role end, uint8_t out[NTM_KEY_LEN])
{
	uint8_t role = (uint8_t)end;

	return derive("ntm1 relay end", secret, &role, sizeof(role), out);
}

int ntm_probe_secret(const uint8_t dc_priv[NTM_DH_LEN], const uint8_t rs_pub[NTM_DH_LEN], uint8_t out[NTM_KEY_LEN])
{
	return derive("ntm1 rs probes", dc_priv, rs_pub, NTM_DH_LEN, out);
}

int ntm_probe_id(const uint8_t probe_secret[NTM_KEY_LEN], const uint8_t node_pub[NTM_DH_LEN], uint64_t *id)
{
	uint8_t h[NTM_KEY_LEN];
	uint64_t first;
	int err = derive("ntm1 probe id", probe_secret, node_pub, NTM_DH_LEN, h);

	if (err)
		return err;
	memcpy(&first, h, sizeof(first));
	first = be64toh(first);
	/* 0 means "no path" everywhere. */
	*id = first ? first : 1;
	return 0;
}

int ntm_probe_key(const uint8_t probe_secret[NTM_KEY_LEN], uint64_t id, uint8_t out[NTM_KEY_LEN])
{
	uint64_t wire = htobe64(id);

	return derive("ntm1 probe key", probe_secret, &wire, sizeof(wire), out);
}

static int mac_of(const uint8_t key[NTM_KEY_LEN], const void *msg, size_t len, uint8_t out[NTM_MAC_LEN])
{
	const struct ntm_iov in = {msg, len - NTM_MAC_LEN};

	return ntm_mac(out, key, NTM_KEY_LEN, &in, 1);
}

int ntm_bind_sign(const uint8_t key[NTM_KEY_LEN], void *msg, size_t len)
{
	uint8_t mac[NTM_MAC_LEN];
	int err;

	if (len < NTM_MAC_LEN)
		return -EINVAL;
	err = mac_of(key, msg, len, mac);
	if (!err)
		memcpy((uint8_t *)msg + len - NTM_MAC_LEN, mac, NTM_MAC_LEN);
	return err;
}

bool ntm_bind_verify(const uint8_t key[NTM_KEY_LEN], const void *msg, size_t len)
{
	uint8_t mac[NTM_MAC_LEN];

	if (len < NTM_MAC_LEN || mac_of(key, msg, len, mac))
		return false;
	return ntm_equal(mac, (const uint8_t *)msg + len - NTM_MAC_LEN, NTM_MAC_LEN);
}
