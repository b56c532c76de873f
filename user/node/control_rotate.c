/* SPDX-License-Identifier: BSD-2-Clause */
/* `ntm rotate-key`, of node and relay: where the key is, and its change. The file is the caller's to rename. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../common/ctlsock.h"
#include "../common/keystore.h"
#include "node.h"

static void key_file(const struct ntm_node *n, struct ntm_ctl_client *client)
{
	char path[PATH_MAX];
	json_object *o;

	/* a relative path is relative to where the agent was started */
	if (!n->conf.private_key_file || !realpath(n->conf.private_key_file, path)) {
		ntm_ctl_error(client, "internal", "the key file is not where it was: %s", strerror(errno));
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "file", json_object_new_string(path));
	ntm_ctl_result(client, o);
}

static void on_done(void *arg, int err, const char *why)
{
	struct ntm_ctl_client *client = arg;

	if (err)
		ntm_ctl_error(client, err == -EACCES ? "refused" : "not_changed", "%s", why);
	else
		ntm_ctl_result(client, NULL);
}

bool ntm_control_rotate(struct ntm_node *n, struct ntm_ctl_client *client, const char *cmd)
{
	char why[256] = "";

	if (!strcmp(cmd, "key_file"))
		key_file(n, client);
	else if (strcmp(cmd, "rotate_key") != 0)
		return false;
	else if (ntm_rotate_key(n, on_done, client, why, sizeof(why)))
		ntm_ctl_error(client, "not_changed", "%s", why);
	return true;
}
