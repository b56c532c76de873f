/* SPDX-License-Identifier: BSD-2-Clause */
/* Where outer packets come in and leave, and which real addresses are this host's. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/addr.h"
#include "../engine/path_mem.h"
#include "dp_internal.h"

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
	int first = write_locals(d, u, n), err = 0;
	if (first)
		snprintf(why, cap, "can't note the addresses of the uplinks: %s", strerror(-first));
	ntm_ways_set(d->uplinks, u, n, d->duplicate_ms);
	for (size_t i = 0; i < n; i++)
		if (u[i].mtu > best_mtu && has_address(&u[i]))
			best_mtu = u[i].mtu;
	if (d->external_xdp)
		ntm_xdp_links_observe(&d->links, u, n);
	else
		err = ntm_xdp_links_set(&d->links, u, n, false, why, first ? 0 : cap);
	first = first ? first : err;
	err = best_mtu ? ntm_ntm0_set_mtu(d, best_mtu) : 0;
	if (err && !first) {
		snprintf(why, cap, "can't set %s to its uplinks: %s", d->ifname, strerror(-err));
		first = err;
	}
	return first;
}
