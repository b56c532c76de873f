/* SPDX-License-Identifier: BSD-2-Clause */
#include "lane.h"

#include <stdlib.h>
#include <string.h>

#include "../common/crypto.h"

struct ntm_lane_key *ntm_lane_key_new(uint8_t suite, uint8_t epoch, const uint8_t *tx, const uint8_t *rx)
{
	struct ntm_lane_key *k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->suite = suite;
	k->epoch = epoch;
	memcpy(k->tx, tx, NTM_KEY_LEN);
	memcpy(k->rx, rx, NTM_KEY_LEN);
	return k;
}

void ntm_lane_key_free(void *arg)
{
	struct ntm_lane_key *k = arg;
	if (!k)
		return;
	for (int i = 0; i < NTM_USERS; i++) {
		ntm_aead_free(k->seal[i]);
		ntm_aead_free(k->open[i]);
	}
	ntm_wipe(k, sizeof(*k));
	free(k);
}

void ntm_lane_free(void *arg)
{
	struct ntm_lane *l = arg;
	for (int e = 0; l && e < NTM_EPOCHS; e++)
		for (int i = 0; i < 2; i++)
			ntm_lane_key_free(l->keys[e][i]);
	free(l);
}

struct ntm_aead *ntm_lane_seal(struct ntm_lane_key *k, unsigned user)
{
	if (!k->seal[user])
		k->seal[user] = ntm_aead_new(k->suite, k->tx, true);
	return k->seal[user];
}

struct ntm_aead *ntm_lane_open(struct ntm_lane_key *k, unsigned user)
{
	if (!k->open[user])
		k->open[user] = ntm_aead_new(k->suite, k->rx, false);
	return k->open[user];
}
