/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Addresses of general nodes, which run no NTMobile and are reached through a gateway. Plain C on bytes: the programs
 * and the agent use this same code. That an address is outside the virtual pools is the caller's to check.
 */
#ifndef NTM_LIB_GENERAL_H
#define NTM_LIB_GENERAL_H

#include <ntm/types.h>

/* Unicast, and more than this host or this link: not 0/8, 127/8, 169.254/16, multicast, reserved, broadcast. */
static inline __attribute__((always_inline)) int ntm_is_general4(const void *addr)
{
	const __u8 *p = addr;

	return p[0] != 0 && p[0] != 127 && p[0] < 224 && !(p[0] == 169 && p[1] == 254);
}

/* Likewise: not ::/64, with loopback, unspecified and mapped addresses in it, nor link-local, nor multicast. */
static inline __attribute__((always_inline)) int ntm_is_general6(const void *addr)
{
	const __u8 *p = addr;
	const __u32 *w = addr;

	return p[0] != 0xff && !(p[0] == 0xfe && (p[1] & 0xc0) == 0x80) && (w[0] | w[1]);
}

#endif
