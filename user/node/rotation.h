/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This node's key changes. Who wants it puts the new private key beside the old one, in FILE.next; the agent tells the
 * DC, over the session that it has, uses the new one from the answer on, and asks for new paths in place of those that
 * it has, which go on until then. After that FILE.next is to be renamed to FILE. An agent that finds both, and whose DC
 * does not know the key in FILE, tries the other one.
 */
#ifndef NTM_NODE_ROTATION_H
#define NTM_NODE_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/limits.h>

#include "timer.h"

struct ntm_ctl_client;
struct ntm_node;

/* err 0, or -errno with a sentence in why. Called once, never before ntm_rotate_key() returns. */
typedef void (*ntm_rotation_done)(void *arg, int err, const char *why);

struct ntm_rotation {
	struct ntm_node *node;
	bool busy, resumed;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN]; /* the key to come */
	ntm_rotation_done done;
	void *arg;
	struct ntm_timer timer;
};

void ntm_rotation_init(struct ntm_node *n);
void ntm_rotation_stop(struct ntm_node *n);
/* FILE.next must be there. 0: done() will tell; or -errno with a sentence in why. */
int ntm_rotate_key(struct ntm_node *n, ntm_rotation_done done, void *arg, char *why, size_t cap);
void ntm_rotation_forget(struct ntm_node *n, void *arg); /* it goes on, done() is not called */
/* The DC does not know this node's key. True: there is a FILE.next, and that is tried now. */
bool ntm_rotation_resume(struct ntm_node *n);
void ntm_rotation_registered(struct ntm_node *n);

/* Commands key_file and rotate_key of the control socket (control_rotate.c). False: it is another one. */
bool ntm_control_rotate(struct ntm_node *n, struct ntm_ctl_client *client, const char *cmd);

#endif
