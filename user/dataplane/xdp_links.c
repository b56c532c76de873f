/* SPDX-License-Identifier: BSD-2-Clause */
#include "xdp_links.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/log.h"
#include "attach.h"
#include "bpffs.h"
#include "ethtool.h"

static struct ntm_xdp_link *find(struct ntm_xdp_links *x, uint32_t ifindex)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->l[i].ifindex == ifindex)
			return &x->l[i];
	return NULL;
}

static int drop(struct ntm_xdp_links *x, struct ntm_xdp_link *l)
{
	int err = ntm_detach_xdp(x->pins, l->ifindex, l->fd);
	*l = x->l[--x->n];
	return err;
}

static uint32_t bit_of(uint32_t ifindex)
{
	return 1u << (ifindex % 32);
}

static void note_modes(struct ntm_xdp_links *x)
{
	uint32_t native = 0, generic = 0;
	for (size_t i = 0; i < x->n; i++)
		*(x->l[i].native ? &native : &generic) |= bit_of(x->l[i].ifindex);
	__atomic_store_n(x->native, native & ~generic, __ATOMIC_RELAXED);
}

static int mode_of(struct ntm_xdp_links *x, uint32_t ifindex, bool *native)
{
	struct ntm_link l;
	int err = ntm_rtnl_link_get(x->rtnl, NULL, ifindex, &l);
	*native = !err && (l.xdp_attached == XDP_ATTACHED_DRV || l.xdp_attached == XDP_ATTACHED_HW);
	return err;
}

static int adopt_pin(void *arg, const char *name)
{
	struct ntm_xdp_links *x = arg;
	uint32_t ifindex = ntm_xdp_pin_ifindex(name);
	bool native;
	if (!ifindex || x->n == NTM_XDP_LINKS_MAX)
		return 0;
	int fd = ntm_adopt_link(x->pins, name, ifindex, x->prog_fd);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	int err = mode_of(x, ifindex, &native);
	/* Gone meanwhile, or the configuration now asks for the other mode. */
	if (err || (x->mode != NTM_XDP_AUTO && (x->mode == NTM_XDP_NATIVE) != native))
		return ntm_detach_xdp(x->pins, ifindex, fd);
	x->l[x->n++] = (struct ntm_xdp_link){ifindex, fd, native};
	return 0;
}

int ntm_xdp_links_adopt(struct ntm_xdp_links *x)
{
	int err = ntm_pin_foreach(x->pins, adopt_pin, x);
	note_modes(x);
	return err;
}

static int attach(struct ntm_xdp_links *x, const struct ntm_dp_uplink *u, char *why, size_t cap)
{
	enum ntm_xdp_mode mode = x->mode;
	bool native = false;
	if (x->n == NTM_XDP_LINKS_MAX) {
		snprintf(why, cap, "%s: more than %d interfaces", u->name, NTM_XDP_LINKS_MAX);
		return -ENOSPC;
	}
	if (mode == NTM_XDP_AUTO && x->veth_generic && ntm_ethtool_driver_is(u->name, "veth"))
		mode = NTM_XDP_GENERIC;
	/* The program may run before it is known how. */
	__atomic_and_fetch(x->native, ~bit_of(u->ifindex), __ATOMIC_RELAXED);
	int fd = ntm_attach_xdp(x->pins, u->ifindex, x->prog_fd, mode, &native);
	if (fd == -EBUSY)
		snprintf(why, cap, "%s already has another XDP program (ip link show %s); detach it first", u->name,
			 u->name);
	else if (fd < 0)
		snprintf(why, cap, "%s: XDP can't be attached%s: %s", u->name,
			 mode == NTM_XDP_NATIVE ? " in native mode (xdp_mode = auto would use generic mode)" : "",
			 strerror(-fd));
	if (fd < 0)
		return fd;
	x->l[x->n++] = (struct ntm_xdp_link){u->ifindex, fd, native};
	ntm_info("XDP on %s, %s mode", u->name, native ? "native" : "generic");
	return 0;
}

static bool has_address(const struct ntm_dp_uplink *u)
{
	static const uint8_t none[16];
	return memcmp(u->addr4, none, 4) || memcmp(u->addr6, none, 16);
}

int ntm_xdp_links_set(struct ntm_xdp_links *x, struct ntm_dp_uplink *u, size_t n, bool any, char *why, size_t cap)
{
	int first = 0, err;
	for (size_t i = 0; i < n; i++) {
		const struct ntm_xdp_link *l = find(x, u[i].ifindex);
		err = l || !(any || has_address(&u[i])) ? 0 : attach(x, &u[i], why, first ? 0 : cap);
		if (err && !first)
			first = err;
		l = find(x, u[i].ifindex);
		u[i].xdp_native = l && l->native;
	}
	for (size_t i = x->n; i-- > 0;) {
		bool keep = false;
		for (size_t k = 0; k < n; k++)
			keep |= u[k].ifindex == x->l[i].ifindex;
		if (keep)
			continue;
		err = drop(x, &x->l[i]);
		if (err)
			ntm_warn("XDP program of an interface that is not in use any more: %s", strerror(-err));
	}
	note_modes(x);
	return first;
}

void ntm_xdp_links_observe(struct ntm_xdp_links *x, struct ntm_dp_uplink *u, size_t n)
{
	uint32_t native = 0, generic = 0;
	for (size_t i = 0; i < n; i++) {
		(void)mode_of(x, u[i].ifindex, &u[i].xdp_native); /* gone: generic */
		*(u[i].xdp_native ? &native : &generic) |= bit_of(u[i].ifindex);
	}
	__atomic_store_n(x->native, native & ~generic, __ATOMIC_RELAXED);
}

void ntm_xdp_links_close(struct ntm_xdp_links *x)
{
	for (size_t i = 0; i < x->n; i++)
		close(x->l[i].fd);
	x->n = 0;
}
