/* SPDX-License-Identifier: BSD-2-Clause */
/* XDP on the uplinks, where outer packets leave, and which real addresses are this host's. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../common/addr.h"
#include "../common/log.h"
#include "../engine/path_mem.h"
#include "bpffs.h"
#include "dp_internal.h"

static struct ntm_uplink_link *find_link(struct ntm_dp_bpf *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->n_links; i++)
		if (d->links[i].ifindex == ifindex)
			return &d->links[i];
	return NULL;
}

static int drop_link(struct ntm_dp_bpf *d, struct ntm_uplink_link *l)
{
	int err = ntm_detach_xdp(d->pins, l->ifindex, l->link_fd);
	*l = d->links[--d->n_links];
	return err;
}

/* Is the program in native mode, and is that what the configuration asks for? */
static int check_mode(struct ntm_dp_bpf *d, uint32_t ifindex, bool *native, bool *wanted)
{
	struct ntm_link l;
	int err = ntm_rtnl_link_get(&d->rtnl, NULL, ifindex, &l);
	if (err)
		return err;
	*native = l.xdp_attached == XDP_ATTACHED_DRV || l.xdp_attached == XDP_ATTACHED_HW;
	*wanted = d->xdp_mode == NTM_XDP_AUTO || (d->xdp_mode == NTM_XDP_NATIVE) == *native;
	return 0;
}

/* node_decap has to know: bpf/lib/deliver.h says why. Unknown counts as generic, which is always right. */
static void note_mode(struct ntm_dp_bpf *d, uint32_t ifindex, bool native)
{
	uint32_t bit = 1u << (ifindex % 32);

	/* two interfaces may share a bit: it is set only if all of them are native */
	for (size_t i = 0; native && i < d->n_links; i++)
		native = d->links[i].ifindex % 32 != ifindex % 32 || d->links[i].native;
	if (native)
		__atomic_or_fetch(&d->settings->native, bit, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&d->settings->native, ~bit, __ATOMIC_RELAXED);
}

/* Somebody else's program is, or will be, on the uplink. */
static void note_other_mode(struct ntm_dp_bpf *d, struct ntm_dp_uplink *u)
{
	struct ntm_link l;
	u->xdp_native = !ntm_rtnl_link_get(&d->rtnl, NULL, u->ifindex, &l) &&
			(l.xdp_attached == XDP_ATTACHED_DRV || l.xdp_attached == XDP_ATTACHED_HW);
	note_mode(d, u->ifindex, u->xdp_native);
}

static int adopt_pin(void *arg, const char *name)
{
	struct ntm_dp_bpf *d = arg;
	bool native, wanted;
	uint32_t ifindex = ntm_xdp_pin_ifindex(name);
	if (!ifindex || d->n_links == NTM_UPLINKS_MAX)
		return 0;
	int fd = ntm_adopt_link(d->pins, name, ifindex, ntm_decap_fd(d));
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	int err = check_mode(d, ifindex, &native, &wanted);
	if (err || !wanted) {
		/* Gone meanwhile, or the configuration now asks for the other mode. */
		return ntm_detach_xdp(d->pins, ifindex, fd);
	}
	note_mode(d, ifindex, native);
	d->links[d->n_links++] = (struct ntm_uplink_link){ifindex, fd, native};
	return 0;
}

/* The programs of an earlier agent are replaced at once by this one's, each atomically. */
int ntm_links_adopt(struct ntm_dp_bpf *d)
{
	return ntm_pin_foreach(d->pins, adopt_pin, d);
}

static int attach(struct ntm_dp_bpf *d, const struct ntm_dp_uplink *u, char *why, size_t cap)
{
	bool native = false;
	if (d->n_links == NTM_UPLINKS_MAX) {
		snprintf(why, cap, "%s: more than %d uplinks", u->name, NTM_UPLINKS_MAX);
		return -ENOSPC;
	}
	note_mode(d, u->ifindex, false);
	int fd = ntm_attach_xdp(d->pins, u->ifindex, ntm_decap_fd(d), d->xdp_mode, &native);
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
	note_mode(d, u->ifindex, native);
	d->links[d->n_links++] = (struct ntm_uplink_link){u->ifindex, fd, native};
	ntm_info("XDP on %s, %s mode", u->name, native ? "native" : "generic");
	return 0;
}

static bool has_address(const struct ntm_dp_uplink *u)
{
	static const uint8_t none[16];
	return memcmp(u->addr4, none, 4) || memcmp(u->addr6, none, 16);
}

static bool is_wanted(const struct ntm_dp_uplink *u, size_t n, const uint8_t ip[16])
{
	uint8_t mapped[16];
	for (size_t i = 0; i < n; i++) {
		ntm_ip_from_v4(mapped, u[i].addr4);
		if (!memcmp(mapped, ip, 16) || !memcmp(u[i].addr6, ip, 16))
			return true;
	}
	return false;
}

static int write_locals(struct ntm_dp_bpf *d, const struct ntm_dp_uplink *u, size_t n)
{
	int fd = d->map_fd[NTM_MAP_LOCALS], err = 0;
	struct ntm_vip key, next;
	uint32_t one = 1;
	static const uint8_t none[16];
	for (size_t i = 0; i < n && !err; i++) {
		ntm_ip_from_v4(key.ip, u[i].addr4);
		if (memcmp(u[i].addr4, none, 4))
			err = bpf_map_update_elem(fd, &key, &one, BPF_ANY);
		memcpy(key.ip, u[i].addr6, 16);
		if (!err && memcmp(key.ip, none, 16))
			err = bpf_map_update_elem(fd, &key, &one, BPF_ANY);
	}
	for (bool more = !err && !bpf_map_get_next_key(fd, NULL, &key); more; key = next) {
		more = !bpf_map_get_next_key(fd, &key, &next);
		if (!is_wanted(u, n, key.ip))
			(void)bpf_map_delete_elem(fd, &key); /* -ENOENT is as good */
	}
	return err;
}

/* The local addresses and the way come first: without XDP the agent's socket still gets what is sent there. */
int ntm_dp_set_uplinks(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	struct ntm_dp_bpf *d = ntm_dpb(dp);
	uint32_t best_mtu = 0;
	int first = write_locals(d, u, n);
	if (first)
		snprintf(why, cap, "can't note the addresses of the uplinks: %s", strerror(-first));
	ntm_ways_set(d->uplinks, u, n, d->duplicate_ms);
	for (size_t i = 0; i < n; i++)
		if (u[i].mtu > best_mtu && has_address(&u[i]))
			best_mtu = u[i].mtu;
	for (size_t i = 0; i < n && d->external_xdp; i++)
		note_other_mode(d, &u[i]);
	for (size_t i = 0; i < n && !d->external_xdp; i++) {
		int err = find_link(d, u[i].ifindex) || !has_address(&u[i]) ? 0 : attach(d, &u[i], why, cap);
		if (err && !first)
			first = err;
		struct ntm_uplink_link *l = find_link(d, u[i].ifindex);
		u[i].xdp_native = l && l->native;
	}
	int err = best_mtu ? ntm_ntm0_set_mtu(d, best_mtu) : 0;
	if (err && !first) {
		snprintf(why, cap, "can't set %s to its uplinks: %s", d->ifname, strerror(-err));
		first = err;
	}
	for (size_t i = d->n_links; i-- > 0;) {
		bool keep = false;
		for (size_t k = 0; k < n; k++)
			keep |= u[k].ifindex == d->links[i].ifindex;
		if (keep)
			continue;
		err = drop_link(d, &d->links[i]);
		if (err)
			ntm_warn("XDP program of an interface that is no uplink any more: %s", strerror(-err));
	}
	return first;
}
