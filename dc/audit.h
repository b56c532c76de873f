/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit log: what changed who may do what, a line of JSON each, appended; opened anew with a reload. */
#ifndef NTM_DC_AUDIT_H
#define NTM_DC_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ntm_dc;
struct ntm_dc_audit_log {
	int fd;    /* -1: none */
	bool torn; /* the file ends in the middle of a line */
	uint64_t lines, failures;
};

/* Opens file (NULL: none) in place of the one before. 0, or -errno with a sentence in why; then nothing changed. */
int ntm_dc_audit_open(struct ntm_dc_audit_log *a, const char *file, char *why, size_t cap);
void ntm_dc_audit_close(struct ntm_dc_audit_log *a);
/* actor: a node's label, "control", "signal", "policy", "dc"; object and detail may be NULL. A line that cannot be
 * written is said in the log and counted. */
void ntm_dc_audit(struct ntm_dc *dc, const char *actor, const char *action, const char *object, const char *detail);

#endif
