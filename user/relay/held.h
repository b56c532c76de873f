/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tunnel Requests that came with a bind while the other end was not bound: one a path and end, for a second, so that
 * the end that binds a moment later gets it without waiting for the next copy. Bounded; what finds no room is dropped,
 * as its sender resends.
 */
#ifndef NTM_RELAY_HELD_H
#define NTM_RELAY_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/wire.h>

enum { NTM_HELD_MAX = 4096, NTM_HELD_MS = 1000 };

struct ntm_held;
struct ntm_held *ntm_held_new(void); /* NULL: no memory */
void ntm_held_free(struct ntm_held *h);
/* end: whose request it is (0 or 1). Takes the place of an older one of that end. False: no room. */
bool ntm_held_put(struct ntm_held *h, uint64_t path_id, unsigned end, const struct ntm_tunnel_req *m, uint64_t now_ms);
/* False: none, or it is older than NTM_HELD_MS. Forgets it. */
bool ntm_held_take(struct ntm_held *h, uint64_t path_id, unsigned end, uint64_t now_ms, struct ntm_tunnel_req *out);
size_t ntm_held_count(const struct ntm_held *h); /* stale ones included */

#endif
