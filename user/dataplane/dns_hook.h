/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DNS hook: programs on a cgroup that send queries to the stub, whatever the resolver's settings are. Its links are
 * not pinned: the kernel takes them off with the process that holds them, so a dead agent's host resolves names as
 * before, and there is nothing to repair.
 */
#ifndef NTM_DATAPLANE_DNS_HOOK_H
#define NTM_DATAPLANE_DNS_HOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ntm/dns_hook.h>

#include "../common/addr.h"

struct ntm_dns_hook;

/*
 * cgroup: its directory, NULL: the root of the version 2 hierarchy as /proc/self/mountinfo has it. stub4, stub6: where
 * queries of that family go, NULL: left alone. 0, or -errno with a sentence in why.
 */
int ntm_dns_hook_open(struct ntm_dns_hook **out, const char *cgroup, const struct ntm_addr *stub4,
		      const struct ntm_addr *stub6, char *why, size_t cap);
void ntm_dns_hook_close(struct ntm_dns_hook *h);

/* This socket's queries go where they say. To be called before it connects or sends. 0 or -errno. */
int ntm_dns_hook_exempt(struct ntm_dns_hook *h, int fd);
/*
 * The server that a client of this host asked, whose query came from `client` to the stub at `stub`. 0, -ENOENT if the
 * client asked the stub itself or is gone, or -errno.
 */
int ntm_dns_hook_origin(struct ntm_dns_hook *h, const struct ntm_addr *client, const struct ntm_addr *stub, bool tcp,
			struct ntm_addr *out);
int ntm_dns_hook_counts(struct ntm_dns_hook *h, uint64_t out[NTM_DNS_COUNT]);
/* Directory of the version 2 hierarchy's root: the first of a mountinfo file. 0 or -ENOENT. */
int ntm_cgroup2_root(const char *mountinfo, char *out, size_t cap);

#endif
