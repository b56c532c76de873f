/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of functions and variables follow the Noise specification, revision 34, section 5. */
#include "noise.h"

#include <errno.h>
#include <string.h>

#include "crypto.h"

enum { STEP_FAILED = 255 };

static const char NAME_IK[] = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
static const char NAME_IKPSK2[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";

static int mix_hash(struct ntm_noise *ns, const void *data, size_t len)
{
	struct ntm_iov v[] = {{ns->h, sizeof(ns->h)}, {data, len}};

	return ntm_hash(ns->h, v, 2);
}

static int mix_key(struct ntm_noise *ns, const void *ikm, size_t len)
{
	uint8_t out[2 * NTM_HASH_LEN];
	int ret = ntm_hkdf(ns->ck, ikm, len, 2, out);

	if (!ret) {
		memcpy(ns->ck, out, NTM_HASH_LEN);
		memcpy(ns->k, out + NTM_HASH_LEN, NTM_KEY_LEN);
		ns->n = 0;
		ns->has_k = true;
	}
	ntm_wipe(out, sizeof(out));
	return ret;
}

static int mix_key_and_hash(struct ntm_noise *ns, const uint8_t psk[NTM_PSK_LEN])
{
	uint8_t out[3 * NTM_HASH_LEN];
	int ret = ntm_hkdf(ns->ck, psk, NTM_PSK_LEN, 3, out);

	if (!ret) {
		memcpy(ns->ck, out, NTM_HASH_LEN);
		ret = mix_hash(ns, out + NTM_HASH_LEN, NTM_HASH_LEN);
		memcpy(ns->k, out + 2 * NTM_HASH_LEN, NTM_KEY_LEN);
		ns->n = 0;
		ns->has_k = true;
	}
	ntm_wipe(out, sizeof(out));
	return ret;
}

static int mix_dh(struct ntm_noise *ns, struct ntm_dh *own, const uint8_t pub[NTM_DH_LEN])
{
	uint8_t dh[NTM_DH_LEN];
	int ret = ntm_dh_derive(own, pub, dh);

	if (!ret)
		ret = mix_key(ns, dh, sizeof(dh));
	ntm_wipe(dh, sizeof(dh));
	return ret;
}

static int mix_dh_once(struct ntm_noise *ns, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN])
{
	struct ntm_dh own;
	int ret = ntm_dh_open(&own, priv);

	if (ret)
		return ret;
	ret = mix_dh(ns, &own, pub);
	ntm_dh_close(&own);
	return ret;
}

/* Section 12.3: 32 zero bits, then the little-endian 64-bit counter */
static void noise_nonce(uint8_t out[NTM_NONCE_LEN], uint64_t n)
{
	memset(out, 0, 4);
	for (int i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(n >> 8 * i);
}

static int encrypt_and_hash(struct ntm_noise *ns, const void *in, size_t len, uint8_t *out)
{
	uint8_t nonce[NTM_NONCE_LEN];
	int ret;

	noise_nonce(nonce, ns->n++);
	ret = ntm_seal(ns->k, nonce, ns->h, sizeof(ns->h), in, len, out);
	return ret ? ret : mix_hash(ns, out, len + NTM_TAG_LEN);
}

static int decrypt_and_hash(struct ntm_noise *ns, const uint8_t *in, size_t len, uint8_t *out)
{
	uint8_t nonce[NTM_NONCE_LEN];
	int ret;

	noise_nonce(nonce, ns->n++);
	ret = ntm_open(ns->k, nonce, ns->h, sizeof(ns->h), in, len, out);
	return ret ? ret : mix_hash(ns, in, len);
}

int ntm_noise_init(struct ntm_noise *ns, bool initiator, const uint8_t s[NTM_DH_LEN], const uint8_t s_pub[NTM_DH_LEN],
		   const uint8_t *rs, const uint8_t *psk, const void *prologue, size_t prologue_len)
{
	const char *name = psk ? NAME_IKPSK2 : NAME_IK;
	struct ntm_iov v = {name, strlen(name)};
	int ret;

	memset(ns, 0, sizeof(*ns));
	if (initiator != (rs != NULL))
		return -EINVAL;
	/* both names are longer than the hash: section 5.2, InitializeSymmetric */
	ret = ntm_hash(ns->h, &v, 1);
	memcpy(ns->ck, ns->h, sizeof(ns->ck));
	ns->initiator = initiator;
	memcpy(ns->s, s, NTM_DH_LEN);
	memcpy(ns->s_pub, s_pub, NTM_DH_LEN);
	if (rs)
		memcpy(ns->rs, rs, NTM_DH_LEN);
	if (psk) {
		memcpy(ns->psk, psk, NTM_PSK_LEN);
		ns->has_psk = true;
	}
	if (!ret)
		ret = mix_hash(ns, prologue, prologue_len);
	if (!ret)
		ret = mix_hash(ns, initiator ? rs : s_pub, NTM_DH_LEN);
	if (ret)
		ntm_noise_clear(ns);
	return ret;
}

void ntm_noise_set_psk(struct ntm_noise *ns, const uint8_t psk[NTM_PSK_LEN])
{
	memcpy(ns->psk, psk, NTM_PSK_LEN);
}

void ntm_noise_set_static(struct ntm_noise *ns, struct ntm_noise_static *own)
{
	ns->own = own;
}

void ntm_noise_set_ephemeral(struct ntm_noise *ns, const uint8_t e[NTM_DH_LEN])
{
	memcpy(ns->e, e, NTM_DH_LEN);
	ns->fixed_e = true;
}

/* In a PSK handshake "e" also goes into the key: section 9.2 */
static int token_e(struct ntm_noise *ns, const uint8_t e[NTM_DH_LEN])
{
	int ret = mix_hash(ns, e, NTM_DH_LEN);

	return !ret && ns->has_psk ? mix_key(ns, e, NTM_DH_LEN) : ret;
}

/* After it *e is open, unless it failed. */
static int make_ephemeral(struct ntm_noise *ns, struct ntm_dh *e)
{
	int ret = ns->fixed_e ? 0 : ntm_x25519_private(ns->e);

	if (!ret)
		ret = ntm_dh_open(e, ns->e);
	if (ret)
		return ret;
	ret = ntm_dh_public(e, ns->e_pub);
	if (ret)
		ntm_dh_close(e);
	return ret;
}

/* -> e, es, s, ss */
static int write_1(struct ntm_noise *ns, const void *payload, size_t payload_len, uint8_t *out)
{
	struct ntm_dh e;
	int ret = make_ephemeral(ns, &e);

	if (ret)
		return ret;
	ret = token_e(ns, ns->e_pub);
	memcpy(out, ns->e_pub, NTM_DH_LEN);
	out += NTM_DH_LEN;
	if (!ret)
		ret = mix_dh(ns, &e, ns->rs);
	ntm_dh_close(&e);
	if (!ret)
		ret = encrypt_and_hash(ns, ns->s_pub, NTM_DH_LEN, out);
	out += NTM_DH_LEN + NTM_TAG_LEN;
	if (!ret)
		ret = mix_dh_once(ns, ns->s, ns->rs);
	return ret ? ret : encrypt_and_hash(ns, payload, payload_len, out);
}

static int mix_ss(struct ntm_noise *ns, struct ntm_dh *s)
{
	struct ntm_noise_static *own = ns->own;
	int ret;

	if (!own)
		return mix_dh(ns, s, ns->rs);
	ret = own->find(own->arg, ns->rs, own->ss) ? 0 : ntm_dh_derive(s, ns->rs, own->ss);
	return ret ? ret : mix_key(ns, own->ss, sizeof(own->ss));
}

static int read_1(struct ntm_noise *ns, const uint8_t *in, size_t in_len, uint8_t *payload)
{
	struct ntm_dh once = {0}, *s = ns->own ? &ns->own->dh : &once;
	int ret = ns->own ? 0 : ntm_dh_open(&once, ns->s);

	if (ret)
		return ret;
	memcpy(ns->re, in, NTM_DH_LEN);
	ret = token_e(ns, ns->re);
	in += NTM_DH_LEN;
	if (!ret)
		ret = mix_dh(ns, s, ns->re);
	if (!ret)
		ret = decrypt_and_hash(ns, in, NTM_DH_LEN + NTM_TAG_LEN, ns->rs);
	in += NTM_DH_LEN + NTM_TAG_LEN;
	if (!ret)
		ret = mix_ss(ns, s);
	if (!ns->own)
		ntm_dh_close(&once);
	return ret ? ret : decrypt_and_hash(ns, in, in_len - 2 * NTM_DH_LEN - NTM_TAG_LEN, payload);
}

/* <- e, ee, se (, psk) */
static int write_2(struct ntm_noise *ns, const void *payload, size_t payload_len, uint8_t *out)
{
	struct ntm_dh e;
	int ret = make_ephemeral(ns, &e);

	if (ret)
		return ret;
	ret = token_e(ns, ns->e_pub);
	memcpy(out, ns->e_pub, NTM_DH_LEN);
	if (!ret)
		ret = mix_dh(ns, &e, ns->re);
	if (!ret)
		ret = mix_dh(ns, &e, ns->rs);
	ntm_dh_close(&e);
	if (!ret && ns->has_psk)
		ret = mix_key_and_hash(ns, ns->psk);
	return ret ? ret : encrypt_and_hash(ns, payload, payload_len, out + NTM_DH_LEN);
}

static int read_2(struct ntm_noise *ns, const uint8_t *in, size_t in_len, uint8_t *payload)
{
	int ret;

	memcpy(ns->re, in, NTM_DH_LEN);
	ret = token_e(ns, ns->re);
	if (!ret)
		ret = mix_dh_once(ns, ns->e, ns->re);
	if (!ret)
		ret = mix_dh_once(ns, ns->s, ns->re);
	if (!ret && ns->has_psk)
		ret = mix_key_and_hash(ns, ns->psk);
	return ret ? ret : decrypt_and_hash(ns, in + NTM_DH_LEN, in_len - NTM_DH_LEN, payload);
}

/* Bytes of message `step` (0, 1) beyond its payload */
static size_t overhead(uint8_t step)
{
	return step == 0 ? NTM_DH_LEN + NTM_DH_LEN + NTM_TAG_LEN + NTM_TAG_LEN : NTM_DH_LEN + NTM_TAG_LEN;
}

static int finish_step(struct ntm_noise *ns, int ret)
{
	if (ret) {
		ntm_noise_clear(ns);
		ns->step = STEP_FAILED;
	} else {
		ns->step++;
	}
	return ret;
}

int ntm_noise_write(struct ntm_noise *ns, const void *payload, size_t payload_len, uint8_t *out, size_t out_cap,
		    size_t *out_len)
{
	size_t need;
	int ret;

	if (ns->step > 1 || (ns->step == 0) != ns->initiator)
		return -EPROTO;
	need = payload_len + overhead(ns->step);
	if (out_cap < need)
		return -ENOSPC;
	ret = ns->step == 0 ? write_1(ns, payload, payload_len, out) : write_2(ns, payload, payload_len, out);
	ret = finish_step(ns, ret);
	if (!ret)
		*out_len = need;
	return ret;
}

int ntm_noise_read(struct ntm_noise *ns, const void *in, size_t in_len, uint8_t *payload, size_t payload_cap,
		   size_t *payload_len)
{
	size_t over;
	int ret;

	if (ns->step > 1 || (ns->step == 0) == ns->initiator)
		return -EPROTO;
	over = overhead(ns->step);
	if (in_len < over)
		return finish_step(ns, -EBADMSG);
	if (payload_cap < in_len - over)
		return finish_step(ns, -ENOSPC);
	ret = ns->step == 0 ? read_1(ns, in, in_len, payload) : read_2(ns, in, in_len, payload);
	/* to the caller a bad point and a bad tag are the same forged message */
	ret = finish_step(ns, ret == -EINVAL ? -EBADMSG : ret);
	if (!ret)
		*payload_len = in_len - over;
	return ret;
}

int ntm_noise_split(struct ntm_noise *ns, uint8_t tx[NTM_KEY_LEN], uint8_t rx[NTM_KEY_LEN])
{
	uint8_t out[2 * NTM_KEY_LEN];
	int ret;

	if (ns->step != 2)
		return -EPROTO;
	ret = ntm_hkdf(ns->ck, NULL, 0, 2, out);
	if (!ret) {
		memcpy(tx, ns->initiator ? out : out + NTM_KEY_LEN, NTM_KEY_LEN);
		memcpy(rx, ns->initiator ? out + NTM_KEY_LEN : out, NTM_KEY_LEN);
	}
	ntm_wipe(out, sizeof(out));
	ntm_noise_clear(ns);
	ns->step = STEP_FAILED;
	return ret;
}

void ntm_noise_clear(struct ntm_noise *ns)
{
	ntm_wipe(ns, sizeof(*ns));
}
