/* SPDX-License-Identifier: BSD-2-Clause */
#include "privs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

enum { N_KEPT = 2 };
static const cap_value_t kept[N_KEPT] = {CAP_NET_ADMIN, CAP_BPF};
static const int n_kept[] = {[NTM_PRIVS_BPF] = N_KEPT, [NTM_PRIVS_TUN] = 1, [NTM_PRIVS_NONE] = 0};

static bool effective(cap_t caps, cap_value_t c)
{
	cap_flag_value_t v = CAP_CLEAR;

	return !cap_get_flag(caps, c, CAP_EFFECTIVE, &v) && v == CAP_SET;
}

int ntm_privs_check(enum ntm_privs need, bool low_port, char *why, size_t cap)
{
	static const struct {
		cap_value_t cap;
		const char *name, *use;
	} needed[] = {
	    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "interfaces, routes and XDP"},
	    {CAP_BPF, "CAP_BPF", "BPF programs and maps"},
	    {CAP_PERFMON, "CAP_PERFMON", "loading BPF programs"},
	};
	cap_t caps = cap_get_proc();
	int err = 0;

	if (!caps) {
		snprintf(why, cap, "cannot read this process's capabilities: %s", strerror(errno));
		return -EPERM;
	}
	static const unsigned n_needed[] = {[NTM_PRIVS_BPF] = 3, [NTM_PRIVS_TUN] = 1, [NTM_PRIVS_NONE] = 0};
	for (unsigned i = 0; i < n_needed[need] && !err; i++) {
		if (effective(caps, needed[i].cap))
			continue;
		snprintf(why, cap, "%s is missing, needed for %s: start it as root", needed[i].name,
			 need == NTM_PRIVS_TUN ? "interface and routes" : needed[i].use);
		err = -EPERM;
	}
	if (!err && low_port && !effective(caps, CAP_NET_BIND_SERVICE)) {
		snprintf(why, cap,
			 "CAP_NET_BIND_SERVICE is missing, needed for dns.listen below port 1024: start it as root");
		err = -EPERM;
	}
	cap_free(caps);
	return err;
}

int ntm_privs_drop(enum ntm_privs need, char *why, size_t cap)
{
	cap_t caps = cap_init();
	int err = 0;

	/* nft, which guards a TUN device of ours, is run as a child, and needs what it inherits. */
	if (!caps ||
	    (n_kept[need] && (cap_set_flag(caps, CAP_PERMITTED, n_kept[need], kept, CAP_SET) ||
			      cap_set_flag(caps, CAP_EFFECTIVE, n_kept[need], kept, CAP_SET) ||
			      (need == NTM_PRIVS_TUN && cap_set_flag(caps, CAP_INHERITABLE, 1, kept, CAP_SET)))))
		err = -errno;
	/* The bounding set needs CAP_SETPCAP, so it goes first. */
	for (cap_value_t c = 0; !err && CAP_IS_SUPPORTED(c); c++) {
		bool keep = false;

		for (int i = 0; i < n_kept[need] && i < N_KEPT; i++)
			keep |= c == kept[i];
		if (keep)
			continue;
		if (cap_drop_bound(c) && errno != EPERM)
			err = -errno;
	}
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	if (!err && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		err = -errno;
	if (!err && cap_set_proc(caps))
		err = -errno;
	if (!err && need == NTM_PRIVS_TUN && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0))
		err = -errno;
	if (caps)
		cap_free(caps);
	if (err)
		snprintf(why, cap, "cannot drop privileges: %s", strerror(-err));
	return err;
}
