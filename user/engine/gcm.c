/* SPDX-License-Identifier: BSD-2-Clause */
#include "gcm.h"

#ifdef NTM_IPSEC_MB
#include <intel-ipsec-mb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/wire.h>

#include "../common/crypto.h"

struct ntm_gcm {
	_Alignas(64) struct gcm_key_data key;
	_Alignas(64) struct gcm_context_data ctx;
};

/* Its functions for this CPU, never freed: all threads call by it. What these write in it is an error code. */
static IMB_MGR *mgr;
static pthread_once_t begun = PTHREAD_ONCE_INIT;

struct ntm_gcm *ntm_gcm_new(const uint8_t *key)
{
	struct ntm_gcm *g = aligned_alloc(64, sizeof(*g));
	if (!g)
		return NULL;
	memset(g, 0, sizeof(*g));
	IMB_AES256_GCM_PRE(mgr, key, &g->key);
	return g;
}

void ntm_gcm_free(struct ntm_gcm *g)
{
	if (!g)
		return;
	ntm_wipe(g, sizeof(*g));
	free(g);
}

void ntm_gcm_seal(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len)
{
	IMB_AES256_GCM_ENC(mgr, &g->key, &g->ctx, text, text, len, nonce, aad, aad_len, text + len, NTM_TAG_LEN);
}

bool ntm_gcm_open(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len)
{
	uint8_t tag[NTM_TAG_LEN];
	IMB_AES256_GCM_DEC(mgr, &g->key, &g->ctx, text, text, len, nonce, aad, aad_len, tag, NTM_TAG_LEN);
	return ntm_equal(tag, text + len, NTM_TAG_LEN);
}

static void begin(void)
{
	IMB_ARCH arch = IMB_ARCH_NONE;
	/* Without AES instructions it would emulate them; before AVX, libcrypto is no slower. */
	if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("avx"))
		return;
	mgr = alloc_mb_mgr(0);
	if (!mgr)
		return;
	init_mb_mgr_auto(mgr, &arch);
	if (!imb_get_errno(mgr) && arch > IMB_ARCH_SSE) /* AVX has no name in its version 2 */
		return;
	free_mb_mgr(mgr);
	mgr = NULL;
}

bool ntm_gcm_usable(void)
{
	pthread_once(&begun, begin);
	return mgr;
}
#else
bool ntm_gcm_usable(void)
{
	return false;
}

struct ntm_gcm *ntm_gcm_new(const uint8_t *key)
{
	(void)key;
	return NULL;
}

void ntm_gcm_free(struct ntm_gcm *g)
{
	(void)g;
}

void ntm_gcm_seal(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len)
{
	(void)g, (void)nonce, (void)aad, (void)aad_len, (void)text, (void)len;
}

bool ntm_gcm_open(struct ntm_gcm *g, const uint8_t *nonce, const void *aad, size_t aad_len, uint8_t *text, size_t len)
{
	(void)g, (void)nonce, (void)aad, (void)aad_len, (void)text, (void)len;
	return false;
}
#endif
