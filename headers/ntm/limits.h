/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Every limit, timer and size that both ends, or both kernel and user space, must agree on. */
#ifndef NTM_LIMITS_H
#define NTM_LIMITS_H

enum ntm_limits {
	NTM_PORT = 4680,

	/* AEAD (RFC 8439) */
	NTM_KEY_LEN = 32,
	NTM_TAG_LEN = 16,
	NTM_NONCE_LEN = 12,

	/* Noise, X25519, BLAKE2s */
	NTM_DH_LEN = 32,
	NTM_HASH_LEN = 32,
	NTM_MAC_LEN = 16,
	NTM_COOKIE_LEN = 16,
	NTM_PSK_LEN = 32,

	/* Names: RFC 1035 presentation form without the trailing dot */
	NTM_LABEL_MAX = 63,
	NTM_NAME_MAX = 253,
	NTM_TOKEN_MAX = 64,

	/* Datagrams and inner packets, bytes */
	NTM_INNER_MAX = 1984,      /* largest inner packet a kernel-lane program seals or opens */
	NTM_SIGNAL_MAX = 1200,     /* largest signalling datagram, header and tag included */
	NTM_CONTROL_MAX = 2048,    /* largest in-path control datagram (padded MTU probes) */
	NTM_INNER_MTU_BASE = 1280, /* what every path carries, whatever its outer MTU */
	NTM_CANDIDATES_MAX = 16,

	/* Replay window of RFC 6479: at least this many counters back are told apart */
	NTM_REPLAY_WINDOW = 2048,
	NTM_REPLAY_WORD_BITS = 32, /* counters a word covers; its other half is the block's tag */
	NTM_REPLAY_WORDS = 66,     /* 2048 / 32 + 1 blocks can be live at once, + 1 */

	NTM_EPOCHS = 2, /* slots: epoch & 1 */

	/* Timers, seconds */
	NTM_REKEY_AFTER_S = 120,
	NTM_EPOCH_GRACE_S = 3,     /* previous epoch accepted this long after its successor */
	NTM_EPOCH_ORPHAN_S = 3600, /* an epoch without a successor */
	NTM_COOKIE_SECRET_S = 120,
};

/* Packets under one key; a counter at or above this is never sent and never accepted. */
#define NTM_COUNTER_LIMIT (1ULL << 40)

#endif
