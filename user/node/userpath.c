/* SPDX-License-Identifier: BSD-2-Clause */
#include "userpath.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../dataplane/dp_user.h"
#include "../dataplane/tunif.h"
#include "../engine/udpio.h"
#include "dnstun.h"
#include "netwatch.h"
#include "node.h"
#include "udp.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { ROUNDS = 16 }; /* batches a wake-up: the rest waits, other events get their turn */

struct ntm_userpath {
	struct ntm_node *node;
	struct ntm_tunif *tun;
	uv_poll_t *poll; /* NULL: no device, or not started */
	bool own, started;
	bool handed;            /* the device that was there first is the workers' */
	struct ntm_dnstun *dns; /* NULL: not dns.mode = tun */
	struct ntm_udp_tx tx;
	struct ntm_udp_rx rx;
	_Alignas(16) uint8_t one[NTM_CONTROL_MAX];
};

/* A node has one, and few processes have several: the device's context leads to it. */
static int send_by(void *arg, const struct ntm_addr *to, const uint8_t src[16], uint32_t ifindex, const void *datagram,
		   size_t len, uint8_t tos)
{
	struct ntm_userpath *u = ntm_tunif_user(arg);
	struct ntm_udp_to dst = {.to = *to, .ifindex = ifindex, .tos = tos};

	if (!u->started)
		return -ENETUNREACH;
	if ((ntm_ip_is_v4(to->ip) ? u->tx.fd4 : u->tx.fd6) < 0)
		return -EAFNOSUPPORT;
	memcpy(dst.src, src, sizeof(dst.src));
	memcpy(ntm_udp_tx_room(&u->tx, &dst, len), datagram, len);
	ntm_udp_tx_add(&u->tx, len); /* sent when the device has nothing more to say */
	return 0;
}

static int send_out(void *arg, const struct ntm_addr *to, const void *datagram, size_t len, uint8_t tos)
{
	struct ntm_userpath *u = ntm_tunif_user(arg);
	uint8_t src[16];

	ntm_node_source(u->node, to, src);
	return send_by(arg, to, src, ntm_udp_interface(u->node->udp, src), datagram, len, tos);
}

static void input(struct ntm_userpath *u, const struct ntm_udp_in *in, uint8_t *data, size_t len)
{
	const struct ntm_hdr *h = (const struct ntm_hdr *)u->one;

	if (len >= sizeof(*h) && data[0] == (NTM_WIRE_VERSION << 4 | NTM_T_DATA) && data[1] >> 4 == NTM_SUITE_KERNEL) {
		(void)ntm_dp_user_outer_input(u->node->dp, data, len, &in->from, in->tos); /* counted there */
	} else if (len <= sizeof(u->one)) {
		/* Where GRO merged datagrams, the later ones lie anywhere. */
		memcpy(u->one, data, len);
		ntm_node_input(u->node, &in->from, in->to, (const uint8_t *)h, len);
	}
}

static void on_datagrams(void *arg, int fd)
{
	struct ntm_userpath *u = arg;

	for (int round = 0; round < ROUNDS; round++) {
		int n = ntm_udp_rx(&u->rx, fd);

		ntm_tunif_begin(u->tun);
		for (int i = 0; i < n; i++) {
			struct ntm_udp_in *in = &u->rx.in[i];

			for (size_t off = 0; off < in->len; off += in->seg)
				input(u, in, in->data + off, in->len - off < in->seg ? in->len - off : in->seg);
		}
		ntm_tunif_end(u->tun);
		if (n < NTM_UDP_RX_BATCH)
			return;
	}
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static void unwatch(struct ntm_userpath *u)
{
	if (!u->poll)
		return;
	uv_poll_stop(u->poll);
	uv_close((uv_handle_t *)u->poll, on_closed);
	u->poll = NULL;
}

struct path_list {
	struct ntm_dp_path *paths;
	size_t n;
};

static void collect(void *arg, const struct ntm_dp_path *p)
{
	struct path_list *l = arg;
	struct ntm_dp_path *grown = realloc(l->paths, (l->n + 1) * sizeof(*grown));

	if (!grown)
		return; /* its route comes back with its next MTU */
	l->paths = grown;
	l->paths[l->n++] = *p;
}

/* Somebody deleted our device: a new one, with everything that was there. */
static int make_again(struct ntm_userpath *u)
{
	struct ntm_dp *dp = u->node->dp;
	struct ntm_dp_addresses a;
	struct path_list l = {0};
	char why[256] = "";
	int err = ntm_tunif_reopen(u->tun, u->node->conf.interface, why, sizeof(why));

	if (err) {
		ntm_err("%s", why);
		return err;
	}
	if (!dp->ops->get_addresses(dp, &a))
		err = dp->ops->set_addresses(dp, &a);
	dp->ops->foreach(dp, collect, &l);
	for (size_t i = 0; i < l.n && !err; i++)
		err = dp->ops->set_mtu(dp, l.paths[i].path_id, l.paths[i].inner_mtu, l.paths[i].small_outer);
	free(l.paths);
	if (err)
		ntm_err("%s is not what it was: %s", u->node->conf.interface, strerror(-err));
	return 0;
}

static int watch(struct ntm_userpath *u);

static void flush(void *arg)
{
	struct ntm_userpath *u = ntm_tunif_user(arg);

	if (!u->started)
		return;
	ntm_udp_tx_flush(&u->tx);
	if (u->tx.errors) {
		ntm_debug("%llu datagrams not sent: %s", (unsigned long long)u->tx.errors, strerror(-u->tx.last_error));
		u->tx.errors = 0;
	}
}

static void lost(struct ntm_userpath *u)
{
	unwatch(u);
	ntm_tunif_drop(u->tun);
	if (u->own && !make_again(u))
		(void)watch(u);
	else if (!u->own)
		ntm_warn("no packets until another TUN device is given (`ntm tun`)");
}

static void on_tun(uv_poll_t *h, int status, int events)
{
	struct ntm_userpath *u = h->data;
	int err;

	(void)status;
	(void)events;
	err = ntm_tunif_read(u->tun, u->node->dp);
	flush(u->tun);
	if (err)
		lost(u);
}

/* Workers say so of each queue, and what one of them says may be of a device that was replaced meanwhile. */
static void tun_gone(void *arg)
{
	struct ntm_userpath *u = ntm_tunif_user(arg);

	if (!u->started || ntm_tunif_fd(u->tun) < 0 || ntm_tunif_is_there(u->tun))
		return;
	ntm_warn("%s is gone", ntm_tunif_name(u->tun));
	lost(u);
}

/* The configuration's do not change while workers ask. */
static bool is_own(void *arg, const uint8_t ip[16])
{
	const struct ntm_userpath *u = ntm_tunif_user(arg);
	const struct ntm_addr_list *l = &u->node->conf.dns_addresses;

	for (size_t i = 0; u->node->conf.dns_mode == NTM_DNS_TUN && i < l->n; i++)
		if (!memcmp(l->addrs[i].ip, ip, 16))
			return true;
	return false;
}

static int watch(struct ntm_userpath *u)
{
	int err;

	if (ntm_tunif_fd(u->tun) < 0 || !u->started || u->poll)
		return 0;
	if (ntm_dp_user_engine_runs(u->node->dp))
		return u->handed ? ntm_dp_user_new_tun(u->node->dp) : 0;
	u->poll = malloc(sizeof(*u->poll));
	if (!u->poll)
		return -ENOMEM;
	err = uv_poll_init(u->node->loop, u->poll, ntm_tunif_fd(u->tun));
	if (err) {
		free(u->poll);
		u->poll = NULL;
		return err;
	}
	u->poll->data = u;
	return uv_poll_start(u->poll, UV_READABLE, on_tun);
}

int ntm_userpath_open(struct ntm_userpath **out, struct ntm_node *n, char *why, size_t cap)
{
	struct ntm_userpath *u = NULL;
	struct ntm_dp_user_config c = {.max_paths = n->conf.max_paths,
				       .send = send_out,
				       .send_by = send_by,
				       .duplicate_ms = n->conf.uplink_duplicate_ms,
				       .engine = !n->conf.no_bulk,
				       .tun_gone = tun_gone,
				       .is_own = is_own,
				       .flush = flush};
	char state[PATH_MAX];
	int err = 0;

	if (posix_memalign((void **)&u, 64, sizeof(*u))) {
		snprintf(why, cap, "out of memory");
		return -ENOMEM;
	}
	memset(u, 0, sizeof(*u));
	u->node = n;
	u->own = strcmp(n->conf.interface, NTM_INTERFACE_FD) != 0;
	if (snprintf(state, sizeof(state), "%s/paths", n->conf.runtime_dir) >= (int)sizeof(state))
		err = -ENAMETOOLONG;
	c.state_file = state;
	if (!err)
		err = ntm_tunif_open(&u->tun, u->own ? n->conf.interface : NULL, u, why, cap);
	if (!err) {
		ntm_tunif_config(u->tun, &c);
		err = ntm_dp_user_open(&n->dp, &c, &ntm_node_dp_events, n, why, cap);
	}
	if (!err && !n->dp->ops->adopted(n->dp))
		err = ntm_tunif_clear(u->tun);
	if (err) {
		ntm_tunif_close(u->tun, true);
		free(u);
		return err;
	}
	*out = u;
	return 0;
}

static void set(int fd, int level, int option)
{
	int one = 1;

	/* Without them datagrams come one by one, and ECN stays what it was inside. */
	if (fd >= 0 && setsockopt(fd, level, option, &one, sizeof(one)))
		ntm_debug("socket option %d of %d: %s", option, level, strerror(errno));
}

int ntm_userpath_start(struct ntm_userpath *u)
{
	int fds[2], err;

	ntm_udp_take_over(u->node->udp, on_datagrams, u, fds);
	for (int i = 0; i < 2; i++)
		set(fds[i], IPPROTO_UDP, UDP_GRO);
	set(fds[0], IPPROTO_IP, IP_RECVTOS);
	set(fds[1], IPPROTO_IPV6, IPV6_RECVTCLASS);
	ntm_udp_tx_init(&u->tx, fds[0], fds[1]);
	u->started = true;
	err = watch(u);
	u->handed = true;
	return err;
}

void ntm_userpath_stop(struct ntm_userpath *u)
{
	if (!u)
		return;
	unwatch(u);
	u->started = false;
}

void ntm_userpath_close(struct ntm_userpath *u, bool keep)
{
	if (!u)
		return;
	ntm_tunif_close(u->tun, keep);
	free(u);
}

int ntm_userpath_take(struct ntm_userpath *u, int fd, char *why, size_t cap)
{
	int err;

	/* The loop has to let go of the former one before it is closed. */
	unwatch(u);
	err = ntm_tunif_take(u->tun, fd, why, cap);
	if (err)
		close(fd);
	else
		ntm_info("TUN device %s taken over", ntm_tunif_name(u->tun));
	if (!err && u->node->netwatch)
		ntm_netwatch_set_own(u->node->netwatch, ntm_tunif_name(u->tun));
	if (watch(u) && !err) {
		snprintf(why, cap, "that TUN device can't be watched");
		err = -EIO;
	}
	return err;
}

static bool on_packet(void *arg, const uint8_t *packet, size_t len)
{
	struct ntm_userpath *u = arg;

	return ntm_dnstun_packet(u->dns, packet, len);
}

int ntm_userpath_dns(struct ntm_userpath *u, char *why, size_t cap)
{
	int err = ntm_dnstun_open(&u->dns, u->node, ntm_tunif_deliver, u->tun, why, cap);

	if (!err)
		ntm_tunif_set_filter(u->tun, on_packet, u);
	return err;
}

void ntm_userpath_dns_close(struct ntm_userpath *u)
{
	if (!u || !u->dns)
		return;
	ntm_tunif_set_filter(u->tun, NULL, NULL);
	ntm_dnstun_close(u->dns);
	u->dns = NULL;
}

const char *ntm_userpath_ifname(const struct ntm_userpath *u)
{
	return ntm_tunif_name(u->tun);
}

bool ntm_userpath_guarded(const struct ntm_userpath *u)
{
	return ntm_tunif_guarded(u->tun);
}

int ntm_userpath_down(const char *interface, const char *runtime_dir, char *why, size_t cap)
{
	struct ntm_dp_user_config c = {0};
	char state[PATH_MAX];
	int err = 0;

	if (snprintf(state, sizeof(state), "%s/paths", runtime_dir) >= (int)sizeof(state))
		return -ENAMETOOLONG;
	c.state_file = state;
	err = ntm_dp_user_remove(&c, why, cap);
	if (!err && strcmp(interface, NTM_INTERFACE_FD) != 0)
		err = ntm_tunif_remove(interface, why, cap);
	return err;
}
