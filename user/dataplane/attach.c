/* SPDX-License-Identifier: BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach.h"
#include "bpffs.h"

/* Of linux/bpf.h since 6.6; headers of the oldest supported system don't have them. */
#define ATTACH_TCX_INGRESS 46
#define ATTACH_TCX_EGRESS 47
#define LINK_TYPE_TCX 11

/* A filter of somebody else on an uplink may well have handle 1: there ours has one of its own. */
enum { TC_HANDLE = 1, TC_HANDLE_UPLINK = 0x4e544d, TC_PRIORITY = 1 };

/* A dead link (its interface is gone) has ifindex 0. */
static uint32_t link_ifindex(int fd)
{
	struct bpf_link_info info = {0};
	__u32 len = sizeof(info);
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return 0;
	if (info.type == BPF_LINK_TYPE_XDP)
		return info.xdp.ifindex;
	if (info.type == LINK_TYPE_TCX) {
		/* info.tcx: { ifindex, attach_type }, in the union at the place of every link type's members */
		uint32_t ifindex;
		memcpy(&ifindex, &info.xdp, sizeof(ifindex));
		return ifindex;
	}
	return 0;
}

int ntm_adopt_link(int pins, const char *name, uint32_t ifindex, int prog_fd)
{
	char path[NTM_PIN_PATH_LEN];
	int fd = bpf_obj_get(ntm_pin_path(pins, name, path));
	if (fd < 0)
		return fd;
	int err = -ENOENT;
	if (link_ifindex(fd) == ifindex)
		err = bpf_link_update(fd, prog_fd, NULL);
	if (!err)
		return fd;
	close(fd);
	int rm = ntm_pin_remove(pins, name);
	return rm ? rm : err;
}

/* Gives a new link its pin, or gives up on it. Returns the descriptor. */
static int pin_link(int pins, const char *name, int fd)
{
	char path[NTM_PIN_PATH_LEN];
	int err = ntm_pin_remove(pins, name);
	if (!err)
		err = bpf_obj_pin(fd, ntm_pin_path(pins, name, path));
	if (!err)
		return fd;
	close(fd);
	return err;
}

static enum bpf_tc_attach_point clsact_point(enum ntm_tc_side side)
{
	return side == NTM_TC_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int attach_clsact(uint32_t ifindex, enum ntm_tc_side side, uint32_t handle, int prog_fd)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = clsact_point(side));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = TC_PRIORITY, .prog_fd = prog_fd,
		    .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	return bpf_tc_attach(&hook, &opts);
}

static int detach_clsact(uint32_t ifindex, enum ntm_tc_side side, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = clsact_point(side));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = TC_PRIORITY);
	int err = bpf_tc_detach(&hook, &opts);
	return err == -ENOENT || err == -EINVAL || err == -ENODEV ? 0 : err;
}

/* The link's descriptor, or -1: a filter of clsact. */
static int attach_tc(int pins, const char *name, uint32_t ifindex, enum ntm_tc_side side, uint32_t handle, int prog_fd,
		     bool allow_tcx, int *link_fd)
{
	int type = side == NTM_TC_EGRESS ? ATTACH_TCX_EGRESS : ATTACH_TCX_INGRESS, fd = -EINVAL;
	if (allow_tcx)
		fd = name ? ntm_adopt_link(pins, name, ifindex, prog_fd) : -ENOENT;
	if (fd == -ENOENT) {
		fd = bpf_link_create(prog_fd, (int)ifindex, (enum bpf_attach_type)type, NULL);
		if (fd >= 0 && name)
			fd = pin_link(pins, name, fd);
	}
	if (fd == -EINVAL) {
		int err = attach_clsact(ifindex, side, handle, prog_fd);
		if (err)
			return err;
		fd = -1;
	} else if (fd < 0) {
		return fd;
	}
	*link_fd = fd;
	return 0;
}

int ntm_attach_tc(int pins, const char *name, uint32_t ifindex, enum ntm_tc_side side, int prog_fd, bool allow_tcx,
		  struct ntm_tc_attachment *out)
{
	int fd, err = attach_tc(pins, name, ifindex, side, TC_HANDLE, prog_fd, allow_tcx, &fd);
	if (!err)
		*out = (struct ntm_tc_attachment){.ifindex = ifindex, .side = side, .link_fd = fd};
	return err;
}

int ntm_detach_tc(int pins, const char *name, struct ntm_tc_attachment *a)
{
	if (a->link_fd >= 0) {
		/* A link stays attached as long as anyone holds it: detach it, whoever does. */
		int err = bpf_link_detach(a->link_fd);
		close(a->link_fd);
		a->link_fd = -1;
		int rm = ntm_pin_remove(pins, name);
		return err && err != -ENOLINK ? err : rm;
	}
	return detach_clsact(a->ifindex, a->side, TC_HANDLE);
}

static const char *xdp_pin(uint32_t ifindex, char out[32])
{
	snprintf(out, 32, "xdp_%u", ifindex);
	return out;
}

static const char *ingress_pin(uint32_t ifindex, char out[32])
{
	snprintf(out, 32, "tc_%u", ifindex);
	return out;
}

static uint32_t pin_ifindex(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);
	char *end;
	if (strncmp(name, prefix, n) || name[n] < '1' || name[n] > '9')
		return 0;
	unsigned long v = strtoul(name + n, &end, 10);
	return *end || v > INT32_MAX ? 0 : (uint32_t)v;
}

uint32_t ntm_xdp_pin_ifindex(const char *name)
{
	return pin_ifindex(name, "xdp_");
}

uint32_t ntm_ingress_pin_ifindex(const char *name)
{
	return pin_ifindex(name, "tc_");
}

int ntm_attach_ingress(int pins, uint32_t ifindex, int prog_fd, bool allow_tcx)
{
	char name[32];
	int fd, err = attach_tc(pins, ingress_pin(ifindex, name), ifindex, NTM_TC_INGRESS, TC_HANDLE_UPLINK, prog_fd,
				allow_tcx, &fd);
	if (err || fd >= 0)
		return err ? err : fd;
	/* A filter ends with nobody: the pinned program says that it is there. */
	fd = fcntl(prog_fd, F_DUPFD_CLOEXEC, 0);
	fd = fd < 0 ? -errno : pin_link(pins, name, fd);
	if (fd < 0)
		(void)detach_clsact(ifindex, NTM_TC_INGRESS, TC_HANDLE_UPLINK);
	return fd;
}

int ntm_detach_ingress(int pins, uint32_t ifindex, int fd)
{
	char name[32];
	int err = bpf_link_detach(fd);
	close(fd);
	if (err == -EINVAL) /* no link */
		err = detach_clsact(ifindex, NTM_TC_INGRESS, TC_HANDLE_UPLINK);
	int rm = ntm_pin_remove(pins, ingress_pin(ifindex, name));
	return err && err != -ENOLINK && err != -ENODEV ? err : rm;
}

static int xdp_link(uint32_t ifindex, int prog_fd, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int fd = bpf_link_create(prog_fd, (int)ifindex, BPF_XDP, &opts);
	/* EEXIST: a program of the other mode is there. */
	return fd == -EEXIST ? -EBUSY : fd;
}

int ntm_attach_xdp(int pins, uint32_t ifindex, int prog_fd, enum ntm_xdp_mode mode, bool *native)
{
	char name[32];
	bool drv = mode != NTM_XDP_GENERIC;
	int fd = xdp_link(ifindex, prog_fd, drv ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	/* Drivers refuse native mode with many codes: no ndo_bpf, an MTU over one page, too few queues. */
	if (fd < 0 && mode == NTM_XDP_AUTO && fd != -EBUSY && fd != -EPERM && fd != -ENODEV) {
		drv = false;
		fd = xdp_link(ifindex, prog_fd, XDP_FLAGS_SKB_MODE);
	}
	if (fd >= 0)
		fd = pin_link(pins, xdp_pin(ifindex, name), fd);
	if (fd >= 0)
		*native = drv;
	return fd;
}

int ntm_detach_xdp(int pins, uint32_t ifindex, int link_fd)
{
	char name[32];
	int err = bpf_link_detach(link_fd);
	close(link_fd);
	int rm = ntm_pin_remove(pins, xdp_pin(ifindex, name));
	return err && err != -ENOLINK && err != -ENODEV ? err : rm;
}
