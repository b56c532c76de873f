/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the agent remembers in its runtime directory: state.json (own name, zone, addresses; replaced whole) and peers
 * ("PATH_ID NAME" lines, appended to, compacted at start), so that names outlive the agent while the DC is away.
 */
#ifndef NTM_NODE_STATE_H
#define NTM_NODE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ntm_identity;
struct ntm_state;

/* Makes the directory if need be, reads both files; damaged ones are reported and ignored. 0 or -errno. */
int ntm_state_open(struct ntm_state **out, const char *runtime_dir);
void ntm_state_close(struct ntm_state *s);
/* -ENOENT: nothing remembered. */
int ntm_state_get_identity(const struct ntm_state *s, struct ntm_identity *id);
/* Writes only what differs from what is there. */
int ntm_state_set_identity(struct ntm_state *s, const struct ntm_identity *id);
const char *ntm_state_peer_name(const struct ntm_state *s, uint64_t path_id); /* "" if not known */
int ntm_state_add_peer(struct ntm_state *s, uint64_t path_id, const char *name);
size_t ntm_state_peers(const struct ntm_state *s); /* names remembered, of paths that are gone too */
/* Rewrites the file with only those that keep() wants. */
int ntm_state_compact(struct ntm_state *s, bool (*keep)(void *arg, uint64_t path_id), void *arg);

#endif
