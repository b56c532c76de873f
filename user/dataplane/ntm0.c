/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The veth pair ntm0/ntm0p. ntm0 carries the virtual addresses; what is sent there arrives at ntm0p, where tc seals it,
 * and what XDP redirects into ntm0p arrives at ntm0. Crossing the pair segments GSO packets and completes checksums, as
 * ntm0 offers no offloads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../common/addr.h"
#include "../common/log.h"
#include "../engine/udpio.h"
#include "dp_internal.h"
#include "ethtool.h"
#include "hostif.h"

/* UDP, header and tag around an inner packet, plus an IPv4 header */
#define OUTER_OVERHEAD 60
#define OUTER_OVERHEAD6 80

static const struct ntm_feature ntm0_features[] = {
    {"tx-checksum-*", false},
    {"tx-tcp*", false},
    {"tx-udp-segmentation", false},
    {"tx-gso-*", false},
    {"tx-gre-*", false},
    {"tx-ipxip*", false},
    {"tx-udp_tnl-*", false},
    {"tx-sctp-segmentation", false},
    {"tx-esp-segmentation", false},
    /* Segments come out linear, as the program needs them: a few per cent of throughput. */
    {"tx-scatter-gather*", false},
    {"rx-gro", true}, /* XDP redirect into the pair needs NAPI at the receiving end */
};
static const struct ntm_feature ntm0p_features[] = {{"rx-gro", false}};

/* Looks for an interface of that name; *mine: it is the one that the adopted settings speak of. -ENODEV: none. */
int ntm_ntm0_find(struct ntm_dp_bpf *d, bool *mine)
{
	struct ntm_link a, b;
	*mine = false;
	int err = ntm_rtnl_link_get(&d->rtnl, d->ifname, 0, &a);
	if (err)
		return err;
	d->ntm0 = a;
	err = ntm_rtnl_link_get(&d->rtnl, d->peer_name, 0, &b);
	if (err)
		return err == -ENODEV ? 0 : err;
	d->ntm0p = b;
	const struct ntm_settings *s = d->settings;
	*mine = s && !strcmp(a.kind, "veth") && a.peer == b.ifindex && s->if_ntm0 == a.ifindex &&
		s->if_ntm0p == b.ifindex && !memcmp(s->mac_ntm0, a.mac, 6) && !memcmp(s->mac_ntm0p, b.mac, 6);
	return 0;
}

static int set_up(struct ntm_dp_bpf *d, const struct ntm_link *l)
{
	struct ntm_link_change c = {
	    .ifindex = l->ifindex, .flags = IFF_NOARP, .flags_mask = IFF_NOARP | IFF_MULTICAST, .no_addrgen = true};
	int err = ntm_rtnl_link_set(&d->rtnl, &c);
	if (err == -EAFNOSUPPORT) { /* kernel without IPv6 */
		c.no_addrgen = false;
		err = ntm_rtnl_link_set(&d->rtnl, &c);
	}
	if (err)
		return err;
	c = (struct ntm_link_change){.ifindex = l->ifindex, .flags = IFF_UP, .flags_mask = IFF_UP};
	return ntm_rtnl_link_set(&d->rtnl, &c);
}

int ntm_ntm0_create(struct ntm_dp_bpf *d, char *why, size_t cap)
{
	uint32_t mtu = 1500 - OUTER_OVERHEAD;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int err = ntm_rtnl_veth_add(&d->rtnl, d->ifname, d->peer_name, mtu, cpus > 0 ? (uint32_t)cpus : 1);
	if (err) {
		snprintf(why, cap, "can't create the interface pair %s, %s: %s%s", d->ifname, d->peer_name,
			 strerror(-err),
			 err == -EOPNOTSUPP ? " (kernel without veth)"
			 : err == -EPERM    ? " (CAP_NET_ADMIN is needed)"
					    : "");
		return err;
	}
	err = ntm_rtnl_link_get(&d->rtnl, d->ifname, 0, &d->ntm0);
	if (!err)
		err = ntm_rtnl_link_get(&d->rtnl, d->peer_name, 0, &d->ntm0p);
	if (!err)
		err = ntm_ethtool_features(d->ifname, ntm0_features, sizeof(ntm0_features) / sizeof(ntm0_features[0]));
	if (!err)
		err = ntm_ethtool_features(d->peer_name, ntm0p_features,
					   sizeof(ntm0p_features) / sizeof(ntm0p_features[0]));
	if (!err) {
		ntm_link_enable_ipv6(d->ifname);
		err = set_up(d, &d->ntm0p);
	}
	if (!err)
		err = set_up(d, &d->ntm0);
	if (err) {
		snprintf(why, cap, "can't set up %s: %s", d->ifname, strerror(-err));
		(void)ntm_rtnl_link_del(&d->rtnl, d->ntm0.ifindex);
	}
	return err;
}

int ntm_ntm0_remove(struct ntm_dp_bpf *d)
{
	int err = ntm_rtnl_link_del(&d->rtnl, d->ntm0.ifindex);
	return err == -ENODEV ? 0 : err;
}

/*
 * TCP's super-packets no larger than what leaves by one UDP_SEGMENT send when sealed. With two segments more each of
 * them costs both ends a second round through all of the kernel: a twelfth of all CPU time.
 */
void ntm_ntm0_limit_segments(struct ntm_dp_bpf *d)
{
	uint32_t sealed = d->ntm0.mtu + (uint32_t)sizeof(struct ntm_hdr) + NTM_TAG_LEN;
	uint32_t n = NTM_UDP_SEND_MAX / sealed < NTM_UDP_SEGS ? NTM_UDP_SEND_MAX / sealed : NTM_UDP_SEGS;
	int err = ntm_rtnl_link_set(&d->rtnl, &(struct ntm_link_change){.ifindex = d->ntm0.ifindex, .gso_segs = n});
	if (err)
		ntm_debug("%s: super-packets of at most %u segments: %s", d->ifname, n, strerror(-err));
}

int ntm_ntm0_set_mtu(struct ntm_dp_bpf *d, uint32_t uplink_mtu)
{
	uint32_t mtu = uplink_mtu > OUTER_OVERHEAD ? uplink_mtu - OUTER_OVERHEAD : 0;
	if (mtu < NTM_INNER_MTU_BASE)
		mtu = NTM_INNER_MTU_BASE;
	if (mtu > NTM_INNER_MAX)
		mtu = NTM_INNER_MAX;
	/* Sealed packets go through the pair, too (bpf/lib/round.h). */
	uint32_t sealed = mtu + OUTER_OVERHEAD6;
	if (mtu == d->ntm0.mtu && sealed == d->ntm0p.mtu)
		return 0;
	int err = ntm_rtnl_link_set(&d->rtnl, &(struct ntm_link_change){.ifindex = d->ntm0p.ifindex, .mtu = sealed});
	if (!err)
		err = ntm_rtnl_link_set(&d->rtnl, &(struct ntm_link_change){.ifindex = d->ntm0.ifindex, .mtu = mtu});
	if (!err)
		d->ntm0.mtu = mtu;
	if (!err)
		d->ntm0p.mtu = sealed;
	if (!err && d->engine)
		ntm_ntm0_limit_segments(d);
	return err;
}

static struct ntm_hostif host_of(struct ntm_dp_bpf *d)
{
	return (struct ntm_hostif){.rtnl = &d->rtnl,
				   .link = &d->ntm0,
				   .settings = d->settings,
				   .general = &d->general,
				   .general_prefixes = &d->general_prefixes};
}

int ntm_ntm0_addresses(struct ntm_dp_bpf *d, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a)
{
	struct ntm_hostif h = host_of(d);
	return ntm_hostif_addresses(&h, old, a);
}

int ntm_ntm0_peer_route(struct ntm_dp_bpf *d, const uint8_t ip[16], uint16_t mtu)
{
	struct ntm_hostif h = host_of(d);
	return ntm_hostif_peer_route(&h, ip, mtu);
}

int ntm_ntm0_peer_route_del(struct ntm_dp_bpf *d, const uint8_t ip[16])
{
	struct ntm_hostif h = host_of(d);
	return ntm_hostif_peer_route_del(&h, ip);
}

static uint16_t general_mtu(const struct ntm_dp_bpf *d)
{
	uint32_t slot = d->settings->gateway;
	uint16_t mtu = slot && slot < d->n_slots ? d->paths[slot].inner_mtu : 0;
	return mtu < NTM_INNER_MTU_BASE ? NTM_INNER_MTU_BASE : mtu;
}

int ntm_general_routes(struct ntm_dp_bpf *d)
{
	struct ntm_hostif h = host_of(d);
	return ntm_hostif_general_routes(&h, general_mtu(d));
}

int ntm_dp_set_general(struct ntm_dp *dp, const struct ntm_dp_general *g)
{
	struct ntm_hostif h = host_of(ntm_dpb(dp));
	return ntm_hostif_general(&h, g, general_mtu(ntm_dpb(dp)));
}

int ntm_general_clear(struct ntm_dp_bpf *d)
{
	struct ntm_hostif h = host_of(d);
	if (d->external_xdp)
		return 0; /* a relay: it has no such routes, a node beside it may */
	return ntm_hostif_general_clear(&h);
}

void ntm_general_free(struct ntm_dp_bpf *d)
{
	struct ntm_hostif h = host_of(d);
	ntm_hostif_general_free(&h);
}
