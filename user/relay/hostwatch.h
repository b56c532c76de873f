/* SPDX-License-Identifier: BSD-2-Clause */
/* What of this host the relay must know beyond its uplinks: every own address, and that routes have changed. */
#ifndef NTM_RELAY_HOSTWATCH_H
#define NTM_RELAY_HOSTWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct ntm_hostwatch;

/* Something changed, a burst of changes told once; addresses: not routes alone. */
typedef void (*ntm_hostwatch_changed)(void *arg, bool addresses);

int ntm_hostwatch_open(struct ntm_hostwatch **out, uv_loop_t *loop, ntm_hostwatch_changed changed, void *arg, char *why,
		       size_t cap);
void ntm_hostwatch_close(struct ntm_hostwatch *w);

/*
 * Addresses of this host's interfaces that a packet could be sent to, and the broadcast addresses of its networks.
 * Returns how many there are: at most max are written. Negative: -errno.
 */
int ntm_host_addresses(uint8_t (*out)[16], size_t max);

#endif
