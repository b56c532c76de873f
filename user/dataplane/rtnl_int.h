/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the route netlink part share; nobody else includes this. */
#ifndef NTM_RTNL_INT_H
#define NTM_RTNL_INT_H

#include <libmnl/libmnl.h>

#include "dp.h"
#include "rtnl.h"

/* Origin of our routes and rules ("proto 78" in ip(8)): an administrator and a cleaning agent tell them by it. */

#define NTM_RTNL_REQUEST 1024 /* bytes; the buffer comes zeroed */

struct nlmsghdr *ntm_rtnl_request(char *buf, uint16_t type, uint16_t flags, void **extra, size_t extra_len);
/* Sends nlh and feeds every answer to cb until the acknowledgement or the end of the dump. */
int ntm_rtnl_talk(struct ntm_rtnl *r, struct nlmsghdr *nlh, mnl_cb_t cb, void *arg);

#endif
