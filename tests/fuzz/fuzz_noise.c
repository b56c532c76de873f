/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Noise handshakes: whatever is changed of a message, however little, it is refused, and the true one is taken. The
 * first byte: bit 0 with a pre-shared key, 1 the second message, 2 bytes are cut off or added instead; the next two:
 * where in the message; the rest: what its bytes are changed by, and the payload.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAYLOAD_MAX = 64, MESSAGE_MAX = 96 + PAYLOAD_MAX };

static uint8_t priv[4][NTM_DH_LEN], pub[4][NTM_DH_LEN]; /* static and ephemeral, of both ends */

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_noise: %s\n", what);
	abort();
}

static void keys(void)
{
	require(!ntm_crypto_init(), "no crypto");
	for (int i = 0; i < 4; i++) {
		memset(priv[i], 0x40 + i, NTM_DH_LEN);
		require(!ntm_x25519_public(priv[i], pub[i]), "no key");
	}
}

static void begin(struct ntm_noise *ini, struct ntm_noise *res, const uint8_t *psk)
{
	require(!ntm_noise_init(ini, true, priv[0], pub[0], pub[1], psk, "fuzz", 4), "no initiator");
	require(!ntm_noise_init(res, false, priv[1], pub[1], NULL, psk, "fuzz", 4), "no responder");
	ntm_noise_set_ephemeral(ini, priv[2]);
	ntm_noise_set_ephemeral(res, priv[3]);
}

/* As much memory as the message is long, so that a sanitizer sees a byte beyond it; what is read is refused and wiped.
 */
static void refused(struct ntm_noise *ns, const uint8_t *m, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1), tx[NTM_KEY_LEN], rx[NTM_KEY_LEN], payload[MESSAGE_MAX];
	struct ntm_noise forged = *ns;
	size_t n = 0;

	require(copy != NULL, "no memory");
	if (len)
		memcpy(copy, m, len);
	require(ntm_noise_read(&forged, copy, len, payload, sizeof(payload), &n) < 0, "a changed message was taken");
	require(ntm_noise_read(&forged, copy, len, payload, sizeof(payload), &n) == -EPROTO,
		"a failed handshake goes on");
	require(ntm_noise_split(&forged, tx, rx) < 0, "a failed handshake has keys");
	ntm_noise_clear(&forged);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t psk[NTM_PSK_LEN] = {9};
	uint8_t m[MESSAGE_MAX + 256], changed[MESSAGE_MAX + 256], got[MESSAGE_MAX], k[4][NTM_KEY_LEN];
	struct ntm_noise ini, res;
	size_t len, at, n, payload_len;
	const uint8_t *payload;

	if (size < 4)
		return 0;
	if (!pub[0][0])
		keys();
	payload = data + 3;
	payload_len = size - 3 < PAYLOAD_MAX ? size - 3 : PAYLOAD_MAX;
	begin(&ini, &res, data[0] & 1 ? psk : NULL);
	require(!ntm_noise_write(&ini, payload, payload_len, m, sizeof(m), &len), "no first message");
	if (data[0] & 2) {
		require(!ntm_noise_read(&res, m, len, got, sizeof(got), &n), "the true first message");
		require(n == payload_len && !memcmp(got, payload, n) && !memcmp(res.rs, pub[0], NTM_DH_LEN),
			"its content");
		require(!ntm_noise_write(&res, payload, payload_len, m, sizeof(m), &len), "no second message");
	}

	at = (data[1] | (size_t)data[2] << 8) % (len + 1);
	memcpy(changed, m, len);
	if (data[0] & 4) {
		n = at < len ? at : len + 1 + payload[0] % 255;
		memset(changed + len, 0, sizeof(changed) - len);
	} else {
		for (size_t i = at; i < len && i - at < size - 3; i++)
			changed[i] ^= payload[i - at];
		n = len;
	}
	if (n != len || memcmp(changed, m, len))
		refused(data[0] & 2 ? &ini : &res, changed, n);
	refused(data[0] & 2 ? &ini : &res, data + 3, size - 3);

	if (!(data[0] & 2)) {
		require(!ntm_noise_read(&res, m, len, got, sizeof(got), &n) && n == payload_len,
			"the true first message");
		require(!ntm_noise_write(&res, NULL, 0, m, sizeof(m), &len), "no second message");
	}
	require(!ntm_noise_read(&ini, m, len, got, sizeof(got), &n), "the true second message");
	require(!ntm_noise_split(&ini, k[0], k[1]) && !ntm_noise_split(&res, k[2], k[3]), "no keys");
	require(!memcmp(k[0], k[3], NTM_KEY_LEN) && !memcmp(k[1], k[2], NTM_KEY_LEN), "keys differ");
	return 0;
}
