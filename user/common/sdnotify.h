/* SPDX-License-Identifier: BSD-2-Clause */
/* The service manager's notification protocol, sd_notify(3), without its library. */
#ifndef NTM_SDNOTIFY_H
#define NTM_SDNOTIFY_H

/*
 * Sends one state ("READY=1", "STOPPING=1", "STATUS=...", lines separated by \n) to $NOTIFY_SOCKET, a path or, with a
 * leading @, an abstract name. Returns 1 if it was sent, 0 if nobody asked for it, or -errno.
 */
int ntm_sdnotify(const char *state);

/* "RELOADING=1" with the MONOTONIC_USEC that Type=notify-reload demands; ends with the next READY=1. Returns as above.
 */
int ntm_sdnotify_reloading(void);

#endif
