/* SPDX-License-Identifier: BSD-2-Clause */
/* ntm-run's parts. */
#ifndef NTM_RUN_RUN_H
#define NTM_RUN_RUN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "../node/config.h"
#include "proto.h"

/*
 * Finds a program as execvp() does, and looks whether a library can be preloaded into it. 0, or the exit status to end
 * with: 127 not found, 126 can't be run this way; why says so.
 */
int ntm_run_check(const char *name, char out[PATH_MAX], char *why, size_t cap);

struct ntm;

/* Registers as node.conf says. 0 or -1 with errno and ntm_reason(). */
int ntm_run_register(const struct ntm_node_config *c, struct ntm **host);

/*
 * The broker: registers, listens at path, writes "+" to report (or a sentence, when it fails), serves until nobody
 * is left. lock is held by the one who starts it, who lets go of it after having joined. Returns the exit status.
 */
int ntm_run_broker(const struct ntm_node_config *c, const char *path, int report, int lock);

#endif
