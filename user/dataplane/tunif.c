/* SPDX-License-Identifier: BSD-2-Clause */
#include "tunif.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/log.h"
#include "../common/nft.h"
#include "../engine/gro.h"
#include "../engine/gso.h"
#include "../engine/tun.h"
#include "hostif.h"
#include "pathops.h"

enum {
	READS_A_CALL = 64,
	OUTER_OVERHEAD = 60, /* IPv4, UDP, header and tag around an inner packet */
	GUARD_MAX = 4096,
};

struct ntm_tunif {
	struct ntm_tun tun;
	bool own, guarded, batch, multi;
	void *user;
	struct ntm_rtnl rtnl;
	struct ntm_link link;
	struct ntm_settings settings; /* addresses and pools only */
	struct ntm_dp_general general;
	struct ntm_prefix *general_prefixes;
	ntm_tunif_filter filter;
	void *filter_arg;
	struct ntm_gro gro;
	uint8_t super[NTM_SUPER_MAX], segment[NTM_SUPER_MAX];
};

static struct ntm_hostif host_of(struct ntm_tunif *t)
{
	return (struct ntm_hostif){.rtnl = &t->rtnl,
				   .link = &t->link,
				   .settings = &t->settings,
				   .general = &t->general,
				   .general_prefixes = &t->general_prefixes};
}

static void write_merged(void *arg, const struct virtio_net_hdr *vh, struct iovec *iov, unsigned n, size_t len)
{
	struct ntm_tunif *t = arg;
	(void)len;
	int err = ntm_tun_write(&t->tun, vh, iov, n);
	if (err)
		ntm_debug("%s: %s", t->tun.name, strerror(-err)); /* its queue is full, or it is down: as on any wire */
}

int ntm_tunif_deliver(void *arg, const uint8_t *packet, size_t len)
{
	static const struct virtio_net_hdr plain;
	struct ntm_tunif *t = arg;
	struct iovec iov[2] = {{0}, {(void *)packet, len}};
	struct ntm_packet in;
	if (t->tun.fd < 0)
		return -ENOTCONN;
	/* In a batch the packet is in a buffer of whoever began it. */
	if (t->batch && t->tun.vnet && !ntm_packet_parse(&in, packet, len)) {
		ntm_gro_add(&t->gro, (uint8_t *)packet, &in);
		return 0;
	}
	return ntm_tun_write(&t->tun, &plain, iov, 2);
}

void ntm_tunif_begin(struct ntm_tunif *t)
{
	t->batch = true;
}

void ntm_tunif_end(struct ntm_tunif *t)
{
	if (t->tun.fd >= 0)
		ntm_gro_flush(&t->gro);
	t->batch = false;
}

static void inner_packet(struct ntm_tunif *t, struct ntm_dp *dp, const uint8_t *packet, size_t len)
{
	if (!t->filter || !t->filter(t->filter_arg, packet, len))
		ntm_dp_user_inner_input(dp, packet, len);
}

static void super_packet(struct ntm_tunif *t, struct ntm_dp *dp, const struct virtio_net_hdr *vh, size_t len)
{
	struct ntm_gso g;
	/* Segments that are over the path's MTU are the data plane's to answer. */
	if (ntm_gso_begin(&g, vh, t->super, len, UINT16_MAX)) {
		ntm_dp_user_inner_input(dp, t->super, 0); /* counted as malformed */
		return;
	}
	if (!g.size && !g.csum_at) {
		inner_packet(t, dp, t->super, len);
		return;
	}
	for (unsigned i = 0; i < g.n; i++) {
		ntm_gso_write(&g, i, t->segment);
		inner_packet(t, dp, t->segment, ntm_gso_len(&g, i));
	}
}

int ntm_tunif_read(struct ntm_tunif *t, struct ntm_dp *dp)
{
	for (int i = 0; i < READS_A_CALL && t->tun.fd >= 0; i++) {
		struct virtio_net_hdr vh;
		ssize_t n = ntm_tun_read(&t->tun, &vh, t->super, sizeof(t->super));
		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n < 0) {
			ntm_warn("%s is gone: %s", t->tun.name[0] ? t->tun.name : "the TUN device", strerror((int)-n));
			return -EIO;
		}
		if (t->tun.vnet)
			super_packet(t, dp, &vh, (size_t)n);
		else
			inner_packet(t, dp, t->super, (size_t)n);
	}
	return 0;
}

/* Virtual addresses come by the tunnel or from this host itself: nothing else may have them. */
static int guard_script(const struct ntm_tunif *t, const struct ntm_dp_addresses *a, bool remove, char *out, size_t cap)
{
	char table[IFNAMSIZ + 16], list4[600] = "", list6[600] = "", text[NTM_ADDR_STRLEN];
	size_t n4 = 0, n6 = 0;
	snprintf(table, sizeof(table), "ntm_clear_%s", t->link.name);
	for (char *c = table; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", *c))
			*c = '_';
	if (remove)
		return snprintf(out, cap, "table inet %s\ndelete table inet %s\n", table, table);
	for (unsigned i = 0; i <= a->n_peers; i++) {
		const struct ntm_prefix *p4 = i ? &a->peers[i - 1].pool4 : &a->pool4;
		const struct ntm_prefix *p6 = i ? &a->peers[i - 1].pool6 : &a->pool6;
		n4 += (size_t)snprintf(list4 + n4, sizeof(list4) - n4, "%s%s", i ? ", " : "",
				       ntm_prefix_format(p4, text));
		n6 += (size_t)snprintf(list6 + n6, sizeof(list6) - n6, "%s%s", i ? ", " : "",
				       ntm_prefix_format(p6, text));
	}
	return snprintf(out, cap,
			"table inet %1$s\n"
			"delete table inet %1$s\n"
			"table inet %1$s {\n"
			"	chain clear {\n"
			"		type filter hook prerouting priority raw; policy accept;\n"
			"		iifname { \"%2$s\", \"lo\" } accept\n"
			"		ip saddr { %3$s } counter drop\n"
			"		ip daddr { %3$s } counter drop\n"
			"		ip6 saddr { %4$s } counter drop\n"
			"		ip6 daddr { %4$s } counter drop\n"
			"	}\n"
			"}\n",
			table, t->link.name, list4, list6);
}

static int guard(const struct ntm_tunif *t, const struct ntm_dp_addresses *a, char *why, size_t cap)
{
	char script[GUARD_MAX];
	int len = guard_script(t, a, !a, script, sizeof(script));
	if (len < 0 || len >= (int)sizeof(script)) {
		snprintf(why, cap, "the table does not fit");
		return -ENOSPC;
	}
	return ntm_nft_run(NULL, script, (size_t)len, why, cap);
}

static int on_addresses(void *arg, const struct ntm_dp_addresses *old, const struct ntm_dp_addresses *a)
{
	struct ntm_tunif *t = arg;
	struct ntm_hostif h = host_of(t);
	char why[256] = "";
	if (!t->own)
		return 0;
	int err = ntm_hostif_addresses(&h, old, a);
	if (err)
		return err;
	ntm_settings_set_addresses(&t->settings, a);
	t->guarded = !guard(t, a, why, sizeof(why));
	if (!t->guarded)
		ntm_warn("others on this link can send clear text with virtual addresses to this host: %s", why);
	return 0;
}

static int on_peer_route(void *arg, const uint8_t ip[16], uint16_t mtu)
{
	struct ntm_tunif *t = arg;
	struct ntm_hostif h = host_of(t);
	if (!t->own)
		return 0;
	return mtu ? ntm_hostif_peer_route(&h, ip, mtu) : ntm_hostif_peer_route_del(&h, ip);
}

static int on_general(void *arg, const struct ntm_dp_general *g, uint16_t mtu)
{
	struct ntm_tunif *t = arg;
	struct ntm_hostif h = host_of(t);
	return t->own ? ntm_hostif_general(&h, g, mtu) : 0;
}

static int on_uplink_mtu(void *arg, uint32_t uplink_mtu)
{
	struct ntm_tunif *t = arg;
	uint32_t mtu = uplink_mtu > OUTER_OVERHEAD ? uplink_mtu - OUTER_OVERHEAD : 0;
	if (mtu < NTM_INNER_MTU_BASE)
		mtu = NTM_INNER_MTU_BASE;
	if (mtu > NTM_INNER_MAX)
		mtu = NTM_INNER_MAX;
	if (!t->own || mtu == t->link.mtu)
		return 0;
	int err = ntm_rtnl_link_set(&t->rtnl, &(struct ntm_link_change){.ifindex = t->link.ifindex, .mtu = mtu});
	if (!err)
		t->link.mtu = mtu;
	return err;
}

static bool own_packet(void *arg, const uint8_t *packet, size_t len)
{
	struct ntm_tunif *t = arg;
	return t->filter && t->filter(t->filter_arg, packet, len);
}

/* The first is this one once more: packets of the agent itself are written here, and read by nobody. */
static int queues(void *arg, struct ntm_tun *tuns, unsigned n)
{
	struct ntm_tunif *t = arg;
	int err = 0;
	unsigned done = 0;
	for (unsigned i = 0; i < n; i++)
		tuns[i] = (struct ntm_tun){.fd = -1};
	for (; t->tun.fd >= 0 && done < n && !err; done += !err)
		err = t->multi && done ? ntm_tun_open(&tuns[done], t->tun.name, true)
				       : ntm_tun_dup(&t->tun, done > 0, &tuns[done]);
	while (err && done)
		ntm_tun_close(&tuns[--done]);
	return err;
}

bool ntm_tunif_is_there(const struct ntm_tunif *t)
{
	struct ifreq ifr = {0};
	return t->tun.fd >= 0 && !ioctl(t->tun.fd, TUNGETIFF, &ifr);
}

void ntm_tunif_config(struct ntm_tunif *t, struct ntm_dp_user_config *c)
{
	c->deliver = ntm_tunif_deliver;
	c->addresses = on_addresses;
	c->peer_route = on_peer_route;
	c->general = on_general;
	c->uplink_mtu = on_uplink_mtu;
	c->queues = queues;
	c->own = own_packet;
	c->arg = t;
}

void ntm_tunif_set_filter(struct ntm_tunif *t, ntm_tunif_filter filter, void *arg)
{
	t->filter = filter;
	t->filter_arg = arg;
}

static int set_up(struct ntm_tunif *t)
{
	struct ntm_link_change c = {.ifindex = t->link.ifindex, .mtu = 1500 - OUTER_OVERHEAD, .no_addrgen = true};
	int err = ntm_rtnl_link_set(&t->rtnl, &c);
	if (err == -EAFNOSUPPORT) { /* kernel without IPv6 */
		c.no_addrgen = false;
		err = ntm_rtnl_link_set(&t->rtnl, &c);
	}
	c = (struct ntm_link_change){.ifindex = t->link.ifindex, .flags = IFF_UP, .flags_mask = IFF_UP | IFF_MULTICAST};
	if (!err)
		err = ntm_rtnl_link_set(&t->rtnl, &c);
	return err ? err : ntm_rtnl_link_get(&t->rtnl, NULL, t->link.ifindex, &t->link);
}

static int open_own(struct ntm_tunif *t, const char *name, char *why, size_t cap)
{
	/* One that was there before may have a single queue. */
	int err = ntm_tun_open(&t->tun, name, true);
	t->multi = !err;
	if (err == -EINVAL)
		err = ntm_tun_open(&t->tun, name, false);
	if (err) {
		snprintf(why, cap, "TUN device %s: %s%s", name, strerror(-err),
			 err == -EPERM    ? " (CAP_NET_ADMIN is needed)"
			 : err == -EBUSY  ? " (another agent has it)"
			 : err == -EINVAL ? " (an interface of another kind has that name)"
			 : err == -ENOENT ? " (/dev/net/tun is missing)"
					  : "");
		return err;
	}
	t->own = true;
	/* Without an agent its packets are lost, but addresses and routes stay, and with them connections. */
	err = ioctl(t->tun.fd, TUNSETPERSIST, 1UL) ? -errno : t->rtnl.nl ? 0 : ntm_rtnl_open(&t->rtnl);
	if (!err)
		err = ntm_rtnl_link_get(&t->rtnl, t->tun.name, 0, &t->link);
	if (!err) {
		ntm_link_enable_ipv6(t->tun.name);
		err = set_up(t);
	}
	if (err)
		snprintf(why, cap, "TUN device %s: %s", name, strerror(-err));
	return err;
}

int ntm_tunif_open(struct ntm_tunif **out, const char *name, void *user, char *why, size_t cap)
{
	struct ntm_tunif *t = calloc(1, sizeof(*t));
	if (!t) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	t->tun.fd = -1;
	t->user = user;
	int err = name ? open_own(t, name, why, cap) : 0;
	if (err) {
		ntm_tunif_close(t, true);
		return err;
	}
	ntm_gro_init(&t->gro, true, t->tun.uso, write_merged, t);
	*out = t;
	return 0;
}

int ntm_tunif_reopen(struct ntm_tunif *t, const char *name, char *why, size_t cap)
{
	int err = open_own(t, name, why, cap);
	if (err)
		ntm_tun_close(&t->tun);
	else
		ntm_gro_init(&t->gro, true, t->tun.uso, write_merged, t);
	return err;
}

void *ntm_tunif_user(struct ntm_tunif *t)
{
	return t->user;
}

void ntm_tunif_drop(struct ntm_tunif *t)
{
	ntm_tun_close(&t->tun);
}

int ntm_tunif_clear(struct ntm_tunif *t)
{
	struct ntm_hostif h = host_of(t);
	return t->own ? ntm_hostif_general_clear(&h) : 0;
}

static int remove_device(struct ntm_tunif *t, char *why, size_t cap)
{
	struct ntm_hostif h = host_of(t);
	char text[256] = "";
	int err = ntm_hostif_general_clear(&h), e;
	if (guard(t, NULL, text, sizeof(text)) && t->guarded)
		ntm_warn("%s", text);
	e = t->link.ifindex ? ntm_rtnl_link_del(&t->rtnl, t->link.ifindex) : 0;
	if (e && e != -ENODEV && !err)
		err = e;
	if (err)
		snprintf(why, cap, "can't remove %s: %s", t->link.name, strerror(-err));
	return err;
}

void ntm_tunif_close(struct ntm_tunif *t, bool keep)
{
	struct ntm_hostif h;
	char why[160] = "";
	if (!t)
		return;
	h = host_of(t);
	if (t->own && !keep && t->link.ifindex && remove_device(t, why, sizeof(why)))
		ntm_err("%s", why);
	ntm_hostif_general_free(&h);
	ntm_tun_close(&t->tun);
	ntm_rtnl_close(&t->rtnl);
	ntm_wipe(t, sizeof(*t));
	free(t);
}

int ntm_tunif_take(struct ntm_tunif *t, int fd, char *why, size_t cap)
{
	struct ntm_tun got;
	if (t->own) {
		snprintf(why, cap, "this agent has a TUN device of its own, %s", t->tun.name);
		return -EBUSY;
	}
	int err = ntm_tun_from_fd(&got, fd);
	if (err) {
		snprintf(why, cap,
			 err == -EINVAL ? "not a TUN device without packet information (IFF_TUN | IFF_NO_PI)"
					: "that TUN device can't be used: %s",
			 strerror(-err));
		return err;
	}
	ntm_tun_close(&t->tun);
	t->tun = got;
	ntm_gro_init(&t->gro, true, got.uso, write_merged, t);
	return 0;
}

int ntm_tunif_fd(const struct ntm_tunif *t)
{
	return t->tun.fd;
}

const char *ntm_tunif_name(const struct ntm_tunif *t)
{
	return t->tun.fd >= 0 ? t->tun.name : "";
}

bool ntm_tunif_guarded(const struct ntm_tunif *t)
{
	return t->guarded;
}

int ntm_tunif_remove(const char *name, char *why, size_t cap)
{
	struct ntm_tunif *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->tun.fd = -1;
	int err = ntm_rtnl_open(&t->rtnl);
	if (!err)
		err = ntm_rtnl_link_get(&t->rtnl, name, 0, &t->link);
	if (!err && strcmp(t->link.kind, "tun")) {
		snprintf(why, cap, "%s is no TUN device: it is not this agent's", name);
		err = -EEXIST;
	} else if (err == -ENODEV) {
		snprintf(t->link.name, sizeof(t->link.name), "%s", name);
		err = remove_device(t, why, cap);
	} else if (!err) {
		err = remove_device(t, why, cap);
	}
	ntm_tunif_close(t, true);
	return err;
}
