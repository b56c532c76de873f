/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching programs so that they stay when the agent goes and can be replaced without a gap: by pinned bpf links, or,
 * for tc on kernels before 6.6, by a clsact filter. Functions return 0 or -errno.
 */
#ifndef NTM_ATTACH_H
#define NTM_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"

enum ntm_tc_side { NTM_TC_INGRESS, NTM_TC_EGRESS };

/* tc of an interface. link_fd -1: clsact filter. */
struct ntm_tc_attachment {
	uint32_t ifindex; /* 0: none */
	enum ntm_tc_side side;
	int link_fd;
};

/*
 * Attaches prog_fd, or puts it in the place of the program that an earlier agent attached (pin `name` in the bpffs
 * directory, or the filter). name NULL: no pin, it ends with the descriptor. allow_tcx false: clsact at once (for
 * tests).
 */
int ntm_attach_tc(int pins, const char *name, uint32_t ifindex, enum ntm_tc_side side, int prog_fd, bool allow_tcx,
		  struct ntm_tc_attachment *out);
/* Detaches; also what an earlier agent left (link_fd -1). */
int ntm_detach_tc(int pins, const char *name, struct ntm_tc_attachment *a);

/* XDP on an interface; the pin is "xdp_IFINDEX". Returns the link's descriptor. -EBUSY: another program is there. */
int ntm_attach_xdp(int pins, uint32_t ifindex, int prog_fd, enum ntm_xdp_mode mode, bool *native);
/* Detaches and removes the pin; closes link_fd. */
int ntm_detach_xdp(int pins, uint32_t ifindex, int link_fd);

/*
 * tc ingress of an uplink, in place of an earlier agent's program if there is one; the pin is "tc_IFINDEX": the link,
 * or the program of a clsact filter. Returns what is pinned as a descriptor.
 */
int ntm_attach_ingress(int pins, uint32_t ifindex, int prog_fd, bool allow_tcx);
/* Detaches and removes the pin; closes fd. */
int ntm_detach_ingress(int pins, uint32_t ifindex, int fd);

/*
 * Opens the pinned link of an earlier agent if it still holds ifindex, and replaces its program by prog_fd. -ENOENT:
 * there is none (a dead pin is removed). Returns the link's descriptor.
 */
int ntm_adopt_link(int pins, const char *name, uint32_t ifindex, int prog_fd);
/* "xdp_7" -> 7, "tc_7" -> 7; 0: not such a name */
uint32_t ntm_xdp_pin_ifindex(const char *name);
uint32_t ntm_ingress_pin_ifindex(const char *name);

#endif
