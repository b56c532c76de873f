/* SPDX-License-Identifier: BSD-2-Clause */
/* XDP on the relay's interfaces. */
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/log.h"
#include "../dataplane/attach.h"
#include "../dataplane/bpffs.h"
#include "../dataplane/ethtool.h"
#include "relay_dp_internal.h"

static struct ntm_relay_link *find_link(struct ntm_relay_dp_bpf *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->n_links; i++)
		if (d->links[i].ifindex == ifindex)
			return &d->links[i];
	return NULL;
}

static int drop_link(struct ntm_relay_dp_bpf *d, struct ntm_relay_link *l)
{
	int err = ntm_detach_xdp(d->pins, l->ifindex, l->link_fd);
	*l = d->links[--d->n_links];
	return err;
}

/* Is the program in native mode, and is that what the configuration asks for? */
static int check_mode(struct ntm_relay_dp_bpf *d, uint32_t ifindex, bool *native, bool *wanted)
{
	struct ntm_link l;
	int err = ntm_rtnl_link_get(&d->rtnl, NULL, ifindex, &l);
	if (err)
		return err;
	*native = l.xdp_attached == XDP_ATTACHED_DRV || l.xdp_attached == XDP_ATTACHED_HW;
	*wanted = d->xdp_mode == NTM_XDP_AUTO || (d->xdp_mode == NTM_XDP_NATIVE) == *native;
	return 0;
}

/* Two interfaces may share a bit: it is set only if all of them are native. bpf/lib/relay_rewrite.h says what for. */
static void note_modes(struct ntm_relay_dp_bpf *d)
{
	uint32_t native = 0, generic = 0;
	for (size_t i = 0; i < d->n_links; i++)
		*(d->links[i].native ? &native : &generic) |= 1u << (d->links[i].ifindex % 32);
	__atomic_store_n(&d->settings->native, native & ~generic, __ATOMIC_RELAXED);
}

static int adopt_pin(void *arg, const char *name)
{
	struct ntm_relay_dp_bpf *d = arg;
	bool native, wanted;
	uint32_t ifindex = ntm_xdp_pin_ifindex(name);
	if (!ifindex || d->n_links == NTM_RELAY_UPLINKS)
		return 0;
	int fd = ntm_adopt_link(d->pins, name, ifindex, ntm_relay_program_fd(d));
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	int err = check_mode(d, ifindex, &native, &wanted);
	/* Gone meanwhile, or the configuration now asks for the other mode. */
	if (err || !wanted)
		return ntm_detach_xdp(d->pins, ifindex, fd);
	d->links[d->n_links++] = (struct ntm_relay_link){ifindex, fd, native};
	return 0;
}

/* The programs of an earlier agent are replaced at once by this one's, each atomically. */
int ntm_relay_links_adopt(struct ntm_relay_dp_bpf *d)
{
	int err = ntm_pin_foreach(d->pins, adopt_pin, d);
	note_modes(d);
	return err;
}

/*
 * On a veth pair native XDP reaches only an end where XDP or GRO runs, and it fails in silence: so `auto` takes generic
 * mode, which reaches any.
 */
static enum ntm_xdp_mode mode_for(const struct ntm_relay_dp_bpf *d, const char *ifname)
{
	return d->xdp_mode == NTM_XDP_AUTO && ntm_ethtool_driver_is(ifname, "veth") ? NTM_XDP_GENERIC : d->xdp_mode;
}

static int attach(struct ntm_relay_dp_bpf *d, const struct ntm_dp_uplink *u, char *why, size_t cap)
{
	bool native = false;
	if (d->n_links == NTM_RELAY_UPLINKS) {
		snprintf(why, cap, "%s: more than %d interfaces", u->name, NTM_RELAY_UPLINKS);
		return -ENOSPC;
	}
	int fd = ntm_attach_xdp(d->pins, u->ifindex, ntm_relay_program_fd(d), mode_for(d, u->name), &native);
	if (fd == -EBUSY)
		snprintf(why, cap, "%s already has another XDP program (ip link show %s); detach it first", u->name,
			 u->name);
	else if (fd < 0)
		snprintf(why, cap, "%s: XDP can't be attached%s: %s", u->name,
			 d->xdp_mode == NTM_XDP_NATIVE ? " in native mode (xdp_mode = auto would use generic mode)"
						       : "",
			 strerror(-fd));
	if (fd < 0)
		return fd;
	d->links[d->n_links++] = (struct ntm_relay_link){u->ifindex, fd, native};
	ntm_info("XDP on %s, %s mode", u->name, native ? "native" : "generic");
	return 0;
}

int ntm_relay_set_uplinks(struct ntm_relay_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	struct ntm_relay_dp_bpf *d = ntm_rdp(dp);
	int first = ntm_relay_uplinks_write(d, u, n);
	if (first)
		snprintf(why, cap, "can't tell the relay its interfaces: %s", strerror(-first));
	for (size_t i = 0; i < n; i++) {
		int err = find_link(d, u[i].ifindex) ? 0 : attach(d, &u[i], why, cap);
		if (err && !first)
			first = err;
		const struct ntm_relay_link *l = find_link(d, u[i].ifindex);
		u[i].xdp_native = l && l->native;
	}
	for (size_t i = d->n_links; i-- > 0;) {
		bool keep = false;
		for (size_t k = 0; k < n; k++)
			keep |= u[k].ifindex == d->links[i].ifindex;
		if (keep)
			continue;
		int err = drop_link(d, &d->links[i]);
		if (err)
			ntm_warn("XDP program of an interface that the relay has no more: %s", strerror(-err));
	}
	note_modes(d);
	return first;
}
