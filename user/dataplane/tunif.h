/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The inner side of dp_user.h as a TUN device: one of our own, with addresses, routes and a guard against clear text,
 * which stays when the agent goes, so that addresses and connections outlive it; or one that somebody else opened,
 * configured and gave us. Super-packets are segmented on the way in and merged on the way out where the device has
 * virtio headers. Functions return 0 or -errno.
 */
#ifndef NTM_TUNIF_H
#define NTM_TUNIF_H

#include "dp_user.h"

struct ntm_tunif;

/* An inner packet of the host; borrowed. True: taken, so it is not for the data plane. */
typedef bool (*ntm_tunif_filter)(void *arg, const uint8_t *packet, size_t len);

/* name NULL: none of our own, wait for ntm_tunif_take(). A sentence in why. */
int ntm_tunif_open(struct ntm_tunif **out, const char *name, void *user, char *why, size_t cap);
void *ntm_tunif_user(struct ntm_tunif *t);
/* The same once more, after ntm_tunif_drop(). */
int ntm_tunif_reopen(struct ntm_tunif *t, const char *name, char *why, size_t cap);
/* Addresses and routes that an agent left of which nothing else is left. */
int ntm_tunif_clear(struct ntm_tunif *t);
bool ntm_tunif_is_there(const struct ntm_tunif *t); /* there is a device, and nobody has removed it */
void ntm_tunif_drop(struct ntm_tunif *t);           /* closes the descriptor */
/* keep: the device of our own stays, and its routes. Also wipes what is in it. */
void ntm_tunif_close(struct ntm_tunif *t, bool keep);
/*
 * A descriptor that somebody else opened, in place of the former one if there was any; it is ours then, and closed with
 * the next one. -EINVAL: no TUN, or one with packet information (without IFF_NO_PI); -EBUSY: this one has its own.
 */
int ntm_tunif_take(struct ntm_tunif *t, int fd, char *why, size_t cap);
int ntm_tunif_fd(const struct ntm_tunif *t);           /* to be read when readable; -1: none now */
const char *ntm_tunif_name(const struct ntm_tunif *t); /* "": none now, or not known */
/* Our own device: the guard against virtual addresses in the clear is in force. */
bool ntm_tunif_guarded(const struct ntm_tunif *t);

/* Fills deliver and all that an interface has to follow in c; c->arg becomes t. */
void ntm_tunif_config(struct ntm_tunif *t, struct ntm_dp_user_config *c);
int ntm_tunif_deliver(void *t, const uint8_t *packet, size_t len); /* as deliver of struct ntm_dp_user_config */
void ntm_tunif_set_filter(struct ntm_tunif *t, ntm_tunif_filter filter, void *arg);

/* Reads what the host sent, within limits, and gives it to dp. -EIO: the device is gone. */
int ntm_tunif_read(struct ntm_tunif *t, struct ntm_dp *dp);
/* What is delivered in between lies in memory that stays, and may be merged. */
void ntm_tunif_begin(struct ntm_tunif *t);
void ntm_tunif_end(struct ntm_tunif *t);

/* Device, rules, routes and guard of an agent that is gone. */
int ntm_tunif_remove(const char *name, char *why, size_t cap);

#endif
