/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel's forwarding, on while there is a gateway. What was set before is written to a file first, so that it is
 * put back also by the next start or --down after a crash.
 */
#ifndef NTM_RELAY_FORWARDING_H
#define NTM_RELAY_FORWARDING_H

#include <stdbool.h>
#include <stddef.h>

struct ntm_forwarding {
	bool was_off4, was_off6; /* out: this host forwarded nothing of the family before */
};

/*
 * What is to be changed, and what it is now, goes to the file DIR/forwarding, unless one is there: then that is how it
 * was. Changes nothing yet. 0 or -errno.
 */
int ntm_forwarding_prepare(const char *dir, struct ntm_forwarding *out);
/* On, for both families; where router advertisements configure an interface, they go on doing so. 0 or -errno. */
int ntm_forwarding_on(const char *dir);
/* As it was, and the file goes. 0, also without a file, or the first error, having tried everything. */
int ntm_forwarding_restore(const char *dir);

#endif
