/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "dc.h"

int ntm_dc_drop_privileges(void)
{
	cap_t none = cap_init();
	int err = 0;

	if (!none)
		return -errno;
	/* nothing that is executed later may get them back */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || cap_reset_ambient() || cap_set_proc(none))
		err = -errno;
	cap_free(none);
	return err;
}
