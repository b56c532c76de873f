/* SPDX-License-Identifier: BSD-2-Clause */
/* nft(8), run as a child: a script is one transaction. */
#ifndef NTM_NFT_H
#define NTM_NFT_H

#include <stddef.h>

/*
 * Gives the script to nft, with this option before it (NULL: none), and waits for its end. 0, or -errno with one
 * sentence in why; -ENOENT: there is no nft here.
 */
int ntm_nft_run(const char *option, const char *script, size_t len, char *why, size_t cap);

#endif
