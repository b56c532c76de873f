/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mac1, mac2 and cookies (PROTOCOL.md, "Under load"), the answer to floods before any Diffie-Hellman.
 */
#ifndef NTM_COOKIE_H
#define NTM_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/wire.h>

#include "addr.h"

/* Responder's side: one a static key. */
struct ntm_cookie_jar {
	uint8_t mac1_key[NTM_HASH_LEN], cookie_key[NTM_HASH_LEN];
	uint8_t secret[NTM_HASH_LEN], prev_secret[NTM_HASH_LEN];
	uint64_t secret_ms; /* when secret was drawn */
	/* load: handshakes begun in the current second, and the number above which cookies are asked for */
	uint64_t window_ms;
	unsigned in_window, threshold;
};

int ntm_cookie_jar_init(struct ntm_cookie_jar *jar, const uint8_t static_pub[NTM_DH_LEN], unsigned threshold);

enum ntm_mac_verdict {
	NTM_MAC_BAD,    /* mac1 wrong: drop in silence */
	NTM_MAC_COOKIE, /* under load and no valid mac2: answer with a cookie reply, do nothing else */
	NTM_MAC_OK,
};
/* msg: a whole type 1 or 9 message that ends in struct ntm_macs. now_ms: monotonic. */
enum ntm_mac_verdict ntm_cookie_check(struct ntm_cookie_jar *jar, const void *msg, size_t len,
				      const struct ntm_addr *from, uint64_t now_ms);
int ntm_cookie_reply(struct ntm_cookie_jar *jar, const void *msg, size_t len, const struct ntm_addr *from,
		     uint64_t now_ms, struct ntm_cookie_reply *out);

/* Initiator's side: one a peer. */
struct ntm_cookie_client {
	uint8_t mac1_key[NTM_HASH_LEN], cookie_key[NTM_HASH_LEN];
	uint8_t last_mac1[NTM_MAC_LEN];
	uint8_t cookie[NTM_COOKIE_LEN];
	uint64_t cookie_ms; /* when received; 0: none. Used for NTM_COOKIE_SECRET_S */
};
int ntm_cookie_client_init(struct ntm_cookie_client *cc, const uint8_t peer_static_pub[NTM_DH_LEN]);
/* Fills the struct ntm_macs at msg's end. */
int ntm_cookie_sign(struct ntm_cookie_client *cc, void *msg, size_t len, uint64_t now_ms);
/* -EBADMSG if it does not answer the message signed last. The caller then sends its message signed anew. */
int ntm_cookie_consume(struct ntm_cookie_client *cc, const struct ntm_cookie_reply *r, uint64_t now_ms);

#endif
