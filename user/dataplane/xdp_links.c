/* SPDX-License-Identifier: BSD-2-Clause */
#include "xdp_links.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
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
	char name[IF_NAMESIZE];
	if (l->gro && if_indextoname(l->ifindex, name))
		(void)ntm_ethtool_features(name, &(struct ntm_feature){"rx-gro", false}, 1);
	int err = l->hook == NTM_RX_TC ? ntm_detach_ingress(x->pins, l->ifindex, l->fd)
				       : ntm_detach_xdp(x->pins, l->ifindex, l->fd);
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
		*(x->l[i].hook == NTM_RX_NATIVE ? &native : &generic) |= bit_of(x->l[i].ifindex);
	__atomic_store_n(x->native, native & ~generic, __ATOMIC_RELAXED);
}

static int mode_of(struct ntm_xdp_links *x, uint32_t ifindex, enum ntm_rx_hook *hook)
{
	struct ntm_link l;
	int err = ntm_rtnl_link_get(x->rtnl, NULL, ifindex, &l);
	bool native = !err && (l.xdp_attached == XDP_ATTACHED_DRV || l.xdp_attached == XDP_ATTACHED_HW);
	*hook = native ? NTM_RX_NATIVE : NTM_RX_GENERIC;
	return err;
}

static bool is_asked_for(const struct ntm_xdp_links *x, enum ntm_rx_hook hook)
{
	static const enum ntm_rx_hook asked[] = {
	    [NTM_XDP_NATIVE] = NTM_RX_NATIVE, [NTM_XDP_GENERIC] = NTM_RX_GENERIC, [NTM_XDP_TC] = NTM_RX_TC};
	return x->mode == NTM_XDP_AUTO || asked[x->mode] == hook;
}

/* An earlier agent's at tc ingress. */
static int adopt_ingress(struct ntm_xdp_links *x, const char *name, uint32_t ifindex)
{
	char path[NTM_PIN_PATH_LEN];
	int prog = x->tc_prog && is_asked_for(x, NTM_RX_TC) ? x->tc_prog(x->tc_arg) : -ENOENT;
	int fd = prog < 0 ? prog : ntm_attach_ingress(x->pins, ifindex, prog, true);
	if (fd >= 0) {
		x->l[x->n++] = (struct ntm_xdp_link){.ifindex = ifindex, .fd = fd, .hook = NTM_RX_TC};
		return 0;
	}
	fd = bpf_obj_get(ntm_pin_path(x->pins, name, path));
	return fd < 0 ? ntm_pin_remove(x->pins, name) : ntm_detach_ingress(x->pins, ifindex, fd);
}

static int adopt_pin(void *arg, const char *name)
{
	struct ntm_xdp_links *x = arg;
	uint32_t ifindex = ntm_xdp_pin_ifindex(name), ingress = ntm_ingress_pin_ifindex(name);
	enum ntm_rx_hook hook;
	if (ingress && x->n < NTM_XDP_LINKS_MAX)
		return find(x, ingress) ? 0 : adopt_ingress(x, name, ingress);
	if (!ifindex || x->n == NTM_XDP_LINKS_MAX)
		return 0;
	int fd = ntm_adopt_link(x->pins, name, ifindex, x->prog_fd);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	int err = mode_of(x, ifindex, &hook);
	/* Gone meanwhile, or the configuration now asks for another mode. */
	if (err || !is_asked_for(x, hook))
		return ntm_detach_xdp(x->pins, ifindex, fd);
	x->l[x->n++] = (struct ntm_xdp_link){.ifindex = ifindex, .fd = fd, .hook = hook};
	return 0;
}

int ntm_xdp_links_adopt(struct ntm_xdp_links *x)
{
	int err = ntm_pin_foreach(x->pins, adopt_pin, x);
	note_modes(x);
	return err;
}

/*
 * Without GRO the bulk lane's packets would come up one by one; with an XDP program a veth has it, whatever it is set
 * to.
 */
static int attach_ingress(struct ntm_xdp_links *x, const struct ntm_dp_uplink *u, char *why, size_t cap)
{
	int prog = x->tc_prog ? x->tc_prog(x->tc_arg) : -EOPNOTSUPP;
	int fd = prog < 0 ? prog : ntm_attach_ingress(x->pins, u->ifindex, prog, true);
	if (fd < 0) {
		snprintf(why, cap, "%s: can't attach to tc ingress: %s", u->name, strerror(-fd));
		return fd;
	}
	bool gro = !ntm_ethtool_feature_get(u->name, "rx-gro") &&
		   !ntm_ethtool_features(u->name, &(struct ntm_feature){"rx-gro", true}, 1);
	x->l[x->n++] = (struct ntm_xdp_link){u->ifindex, fd, NTM_RX_TC, gro};
	ntm_info("tc ingress on %s", u->name);
	return 0;
}

static int attach(struct ntm_xdp_links *x, const struct ntm_dp_uplink *u, char *why, size_t cap)
{
	enum ntm_xdp_mode mode = x->mode;
	bool native = false;
	if (x->n == NTM_XDP_LINKS_MAX) {
		snprintf(why, cap, "%s: more than %d interfaces", u->name, NTM_XDP_LINKS_MAX);
		return -ENOSPC;
	}
	if (mode == NTM_XDP_TC)
		return attach_ingress(x, u, why, cap);
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
	x->l[x->n++] = (struct ntm_xdp_link){u->ifindex, fd, native ? NTM_RX_NATIVE : NTM_RX_GENERIC, false};
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
		u[i].hook = l ? l->hook : NTM_RX_GENERIC;
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
		(void)mode_of(x, u[i].ifindex, &u[i].hook); /* gone: generic */
		*(u[i].hook == NTM_RX_NATIVE ? &native : &generic) |= bit_of(u[i].ifindex);
	}
	__atomic_store_n(x->native, native & ~generic, __ATOMIC_RELAXED);
}

void ntm_xdp_links_close(struct ntm_xdp_links *x)
{
	for (size_t i = 0; i < x->n; i++)
		close(x->l[i].fd);
	x->n = 0;
}
