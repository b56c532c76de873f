/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which keys are the DC's. Those of the configuration, until the DC has said on a session of one of them which it has:
 * a current one, and while it changes that, a next or a previous one. Then these and no others, remembered in a file
 * beside the private key, so that a node that is restarted knows a key that came after its configuration was written.
 */
#ifndef NTM_NODE_DCKEYS_H
#define NTM_NODE_DCKEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/conf.h"
#include "../common/signal_codec.h"

struct ntm_dckeys {
	struct ntm_dc_key items[NTM_DC_KEYS_MAX]; /* to be tried in this order */
	size_t n;
	struct ntm_key_list configured;
	char *file; /* NULL: nothing is remembered */
};

/* private_key_file NULL: no file. What is in the file counts only for the configuration that it was written under. */
int ntm_dckeys_init(struct ntm_dckeys *k, const struct ntm_key_list *configured, const char *private_key_file);
void ntm_dckeys_free(struct ntm_dckeys *k);
size_t ntm_dckeys_find(const struct ntm_dckeys *k, const uint8_t key[NTM_DH_LEN]); /* n: none */
/*
 * What the DC said (DC_KEY of m) on a session of the key `by`. True: it is another set than before, and remembered. A
 * set without that key, or not with one current key, is ignored.
 */
bool ntm_dckeys_learn(struct ntm_dckeys *k, const struct ntm_sig *m, const uint8_t by[NTM_DH_LEN]);

#endif
