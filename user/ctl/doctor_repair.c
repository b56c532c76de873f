/* SPDX-License-Identifier: BSD-2-Clause */
/* `ntm doctor --repair`: the resolver's settings as they were before an agent that has died. */
#include <string.h>

#include "../node/dnsmode.h"
#include "doctor.h"

void doctor_repair(struct doctor *d, const char *dir)
{
	char why[256] = "";
	int err;

	if (d->status) {
		doctor_add(d, DOCTOR_OK, "repair", NULL, "nothing to do: the agent runs, and keeps its own settings");
		return;
	}
	err = ntm_resolved_restore(dir, why, sizeof(why));
	if (!err)
		err = ntm_resolvconf_restore(dir, NTM_RESOLV_CONF, why, sizeof(why));
	if (err)
		doctor_add(d, DOCTOR_FAIL, "repair", "run it as root", "resolver settings are not put back: %s",
			   why[0] ? why : strerror(-err));
	else
		doctor_add(d, DOCTOR_OK, "repair", NULL, "the resolver's settings are none of an agent's");
}
