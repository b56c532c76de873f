/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may use a relay path, and from where: binds (wire.h, struct ntm_relay_bind) are checked under the relay keys of
 * the path's two ends, and their source becomes that end's address. Probes of nodes that measure are answered without
 * state. Whatever does not verify gets no answer.
 */
#ifndef NTM_RELAY_ADMISSION_H
#define NTM_RELAY_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../node/node.h"
#include "held.h"
#include "relay_dp.h"

/* X(name) */
/* clang-format off */
#define NTM_ADMISSION_COUNTERS(X) \
	X(bound)          /* a new address, or the same again with a new seq */ \
	X(repeated)       /* the last bind again: the same answer again */ \
	X(probes)         /* answered */ \
	X(told)           /* ends of paths, that this RS drains */ \
	X(forwarded)      /* Tunnel Requests sent on to the other end */ \
	X(held)           /* kept till the other end binds */ \
	X(refused_form)   /* length, header or reserved bytes */ \
	X(refused_path)   /* no such path */ \
	X(refused_mac)    /* under neither end's key */ \
	X(refused_seq)    /* not greater: replayed */ \
	X(refused_source) /* an address that nobody may be bound to */ \
	X(refused_loop)   /* the other end's address */ \
	X(refused_rate)   /* more than the agent verifies in a second */ \
	X(failed)         /* not stored or not sent */
/* clang-format on */

struct ntm_admission_counters {
#define X(name) uint64_t name;
	NTM_ADMISSION_COUNTERS(X)
#undef X
};

struct ntm_admission {
	struct ntm_relay_dp *dp;
	struct ntm_net net;
	struct ntm_timers *timers;
	bool draining;
	bool has_probe_secret;
	uint8_t probe_secret[NTM_KEY_LEN];
	struct ntm_held *held;
	struct ntm_admission_local *locals; /* own address that an end sent to last */
	uint8_t (*own)[16];                 /* addresses of this host and broadcast addresses of its networks */
	size_t n_own;
	uint64_t tokens, refilled_ms; /* of macs to verify */
	struct ntm_admission_counters counters;
};

/* dp and timers must outlive it. 0 or -ENOMEM. */
int ntm_admission_init(struct ntm_admission *a, struct ntm_relay_dp *dp, const struct ntm_net *net,
		       struct ntm_timers *timers);
void ntm_admission_free(struct ntm_admission *a);
/* Addresses that nobody may be bound to; copied. 0 or -ENOMEM (the former ones stay). */
int ntm_admission_set_own(struct ntm_admission *a, const uint8_t (*ips)[16], size_t n);
void ntm_admission_set_probe_secret(struct ntm_admission *a, const uint8_t secret[NTM_KEY_LEN]);
/* Both ends of a path get the answer to their last bind once more, with the flags of now. */
void ntm_admission_tell(struct ntm_admission *a, uint64_t path_id);
/*
 * A datagram of type 9 came from `from` to the own address `to`. True: it was a bind or probe, or claims to be of a
 * relay path, and is dealt with; false: it is none of the relay's.
 */
bool ntm_admission_input(struct ntm_admission *a, const struct ntm_addr *from, const uint8_t to[16],
			 const uint8_t *data, size_t len);

#endif
