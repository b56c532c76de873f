/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lwIP as packaged knows windows of 64 KiB, and says so in its SYN (window scale 1), which is too little for any way
 * that is fast and long. All that depends on it are fields of the connection that a caller can set: see tcp.c. What it
 * says in the SYN is put right on the way out.
 */
#ifndef NTM_LIB_TCPOPT_H
#define NTM_LIB_TCPOPT_H

#include <stddef.h>
#include <stdint.h>

/* packet: an IP packet of ours. If it is a SYN with a window scale option, that becomes NTM_WND_SCALE. */
void ntm_tcpopt_scale(uint8_t *packet, size_t len);

#endif
