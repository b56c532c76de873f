/* SPDX-License-Identifier: BSD-2-Clause */
#include "netwatch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "uplink_choice.h"

enum {
	STORM_MS = 50, /* between two looks, after STORM of them within a second */
	STORM = 30,
	AWAKE_MS = 1000, /* how soon it is noticed that the host has slept */
	ASLEEP_MS = 500, /* so long asleep counts */
	RETRY_MS = 500,  /* a dump that was refused */
	AGAIN_MS = 2,    /* one that was interrupted by the next change */
	ROUTE_DUMPS = 8, /* interfaces whose routes are asked for one by one; of more, all there are */
};

struct ntm_netwatch {
	struct mnl_socket *events;
	uv_poll_t *poll;
	uv_timer_t *timer, *awake;
	uint32_t settle_ms;
	uint64_t asleep_ms, second_ms;
	unsigned looks; /* in that second */
	struct ntm_uplink_choice choice;
	const struct ntm_string_list *wanted, *prefer;
	char own[IF_NAMESIZE], own_peer[IF_NAMESIZE];
	uint32_t own_index, own_peer_index;
	ntm_netwatch_changed changed;
	void *arg;
	struct ntm_links links;
	struct ntm_uplink_info last[NTM_UPLINKS_MAX];
	unsigned n_last;
	bool scanned, news;
};

static int on_dump(const struct nlmsghdr *nlh, void *arg)
{
	/* A malformed or superfluous entry costs that entry only. */
	(void)ntm_links_take(arg, nlh);
	return MNL_CB_OK;
}

static int take_dump(struct mnl_socket *nl, const struct nlmsghdr *request, struct ntm_links *links)
{
	unsigned seq = request->nlmsg_seq, portid = mnl_socket_get_portid(nl);
	char buf[32768];
	ssize_t len;
	int ret;

	if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		len = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (len < 0)
			return -errno;
		ret = mnl_cb_run(buf, (size_t)len, seq, portid, on_dump, links);
	} while (ret > MNL_CB_STOP);
	return ret < 0 ? -errno : 0;
}

static struct nlmsghdr *ask_for(char *buf, uint16_t type)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	static unsigned seq;

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = ++seq;
	return nlh;
}

static int dump(struct mnl_socket *nl, uint16_t type, struct ntm_links *links)
{
	char buf[MNL_NLMSG_HDRLEN + sizeof(struct ifinfomsg)];
	struct nlmsghdr *nlh = ask_for(buf, type);
	struct rtgenmsg *g = mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));

	g->rtgen_family = AF_UNSPEC;
	return take_dump(nl, nlh, links);
}

/* ifindex 0: by any interface. */
static int dump_routes(struct mnl_socket *nl, uint8_t family, uint32_t ifindex, struct ntm_links *links)
{
	char buf[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct rtmsg)) + 2 * MNL_ALIGN(MNL_ATTR_HDRLEN + 4)];
	struct nlmsghdr *nlh = ask_for(buf, RTM_GETROUTE);
	struct rtmsg *r = mnl_nlmsg_put_extra_header(nlh, sizeof(*r));
	int err;

	r->rtm_family = family;
	r->rtm_table = RT_TABLE_MAIN;
	if (ifindex)
		mnl_attr_put_u32(nlh, RTA_OIF, ifindex);
	err = take_dump(nl, nlh, links);
	/* No route was ever made in the table; the interface has gone a moment ago; no IPv6. */
	return err == -ENOENT || err == -ENODEV || err == -EAFNOSUPPORT || err == -EOPNOTSUPP ? 0 : err;
}

/*
 * Each peer has two routes by the own interface: to read those of a thousand takes milliseconds, in which no packet of
 * a move leaves. So the kernel is asked for the others only, which takes it no time.
 */
static int read_routes(struct mnl_socket *nl, const char *own, struct ntm_links *links)
{
	uint32_t of[NTM_LINKS_MAX];
	int on = 1, err = 0;

	/* Without it the kernel filters nothing. */
	if (mnl_socket_setsockopt(nl, NETLINK_GET_STRICT_CHK, &on, sizeof(on)))
		return -errno;
	for (int v4 = 1; v4 >= 0 && !err; v4--) {
		unsigned n = ntm_links_with_routes(links, own, v4, of, NTM_LINKS_MAX);

		if (n > ROUTE_DUMPS) {
			of[0] = 0;
			n = 1;
		}
		for (unsigned i = 0; i < n && !err; i++)
			err = dump_routes(nl, v4 ? AF_INET : AF_INET6, of[i], links);
	}
	return err;
}

static int read_links(struct ntm_links *links, const char *own)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	links->n = 0;
	links->policy4 = links->policy6 = false;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) ? -errno : 0;
	if (!err)
		err = dump(nl, RTM_GETLINK, links);
	if (!err)
		err = dump(nl, RTM_GETADDR, links);
	if (!err)
		err = dump(nl, RTM_GETRULE, links);
	if (!err)
		err = read_routes(nl, own, links);
	mnl_socket_close(nl);
	return err;
}

static uint64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static void on_timer(uv_timer_t *h);

static void look_in(struct ntm_netwatch *w, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)w->timer) || uv_timer_get_due_in(w->timer) > ms)
		uv_timer_start(w->timer, on_timer, ms, 0);
}

int ntm_netwatch_scan(struct ntm_netwatch *w, bool force)
{
	struct ntm_uplink_info now[NTM_UPLINKS_MAX];
	uint64_t again_ms;
	unsigned n;
	int err = read_links(&w->links, w->own);

	if (err)
		return err;
	/* Zeroed, so that memcmp() compares what counts and no padding. */
	memset(now, 0, sizeof(now));
	n = ntm_links_choose(&w->links, w->wanted, w->prefer, w->own, now);
	again_ms = ntm_uplink_choice(&w->choice, now, n, clock_ms(CLOCK_BOOTTIME), w->settle_ms);
	if (again_ms)
		look_in(w, again_ms);
	w->own_index = if_nametoindex(w->own);
	w->own_peer_index = if_nametoindex(w->own_peer);
	if (!force && w->scanned && n == w->n_last && !memcmp(now, w->last, n * sizeof(now[0])))
		return 0;
	w->scanned = true;
	w->n_last = n;
	memcpy(w->last, now, sizeof(now));
	w->changed(w->arg, now, n, force);
	return 0;
}

static void look(struct ntm_netwatch *w, bool force)
{
	int err;

	uv_timer_stop(w->timer);
	err = ntm_netwatch_scan(w, force);
	if (err) {
		ntm_debug("netlink: dump failed: %s", strerror(-err));
		look_in(w, err == -EINTR ? AGAIN_MS : RETRY_MS);
	}
}

static void on_timer(uv_timer_t *h)
{
	look(h->data, false);
}

/* The clocks differ by how long the host has slept since it was booted. */
static void on_awake_timer(uv_timer_t *h)
{
	struct ntm_netwatch *w = h->data;
	uint64_t asleep = clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
	bool slept = asleep > w->asleep_ms + ASLEEP_MS;

	w->asleep_ms = asleep;
	if (!slept)
		return;
	ntm_info("this host was asleep: everything is looked at anew");
	look(w, true);
}

/* The first usable state counts, so at once; a kernel that has more to say every moment is asked now and then. */
static void look_soon(struct ntm_netwatch *w)
{
	uint64_t now = clock_ms(CLOCK_BOOTTIME);

	if (now - w->second_ms >= 1000) {
		w->second_ms = now;
		w->looks = 0;
	}
	if (w->looks >= STORM) {
		look_in(w, STORM_MS);
		return;
	}
	w->looks++;
	look(w, false);
}

static int on_event(const struct nlmsghdr *nlh, void *arg)
{
	struct ntm_netwatch *w = arg;

	w->news |= ntm_links_relevant(nlh, w->own_index, w->own_peer_index, w->last, w->n_last);
	return MNL_CB_OK;
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct ntm_netwatch *w = h->data;
	char buf[32768];
	ssize_t len;

	(void)events;
	while ((len = recv(mnl_socket_get_fd(w->events), buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		mnl_cb_run(buf, (size_t)len, 0, 0, on_event, w);
	/* Messages were lost: what is so is asked for, not told. */
	if (len < 0 && errno == ENOBUFS)
		look_in(w, STORM_MS);
	if (w->news)
		look_soon(w);
	w->news = false;
	/* A socket that has an error, as one that overflowed, is no longer polled by libuv: recv() took the error away.
	 */
	if (status < 0 && uv_poll_start(h, UV_READABLE, on_readable))
		ntm_err("network interfaces are watched no more: %s", uv_strerror(status));
}

int ntm_netwatch_open(struct ntm_netwatch **out, uv_loop_t *loop, const struct ntm_string_list *wanted,
		      const char *own_ifname, ntm_netwatch_changed changed, void *arg, char *why, size_t cap)
{
	static const struct ntm_string_list none;
	struct ntm_netwatch *w = calloc(1, sizeof(*w));
	static const unsigned groups = 1u << (RTNLGRP_LINK - 1) | 1u << (RTNLGRP_IPV4_IFADDR - 1) |
				       1u << (RTNLGRP_IPV6_IFADDR - 1) | 1u << (RTNLGRP_IPV4_ROUTE - 1) |
				       1u << (RTNLGRP_IPV6_ROUTE - 1) | 1u << (RTNLGRP_IPV4_RULE - 1) |
				       1u << (RTNLGRP_IPV6_RULE - 1);
	int err = w ? 0 : -ENOMEM;

	if (err)
		goto fail;
	w->wanted = wanted;
	w->prefer = &none;
	w->changed = changed;
	w->arg = arg;
	snprintf(w->own, sizeof(w->own), "%s", own_ifname);
	snprintf(w->own_peer, sizeof(w->own_peer), "%.14sp", own_ifname);
	w->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->events || mnl_socket_bind(w->events, groups, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err && (!(w->poll = calloc(1, sizeof(*w->poll))) || !(w->timer = calloc(1, sizeof(*w->timer))) ||
		     !(w->awake = calloc(1, sizeof(*w->awake)))))
		err = -ENOMEM;
	if (err)
		goto fail;
	uv_timer_init(loop, w->timer);
	uv_timer_init(loop, w->awake);
	w->timer->data = w->awake->data = w;
	w->settle_ms = NTM_UPLINK_SETTLE_MS;
	w->asleep_ms = clock_ms(CLOCK_BOOTTIME) - clock_ms(CLOCK_MONOTONIC);
	err = uv_poll_init(loop, w->poll, mnl_socket_get_fd(w->events));
	w->poll->data = w;
	if (!err)
		err = uv_poll_start(w->poll, UV_READABLE, on_readable);
	if (!err)
		err = uv_timer_start(w->awake, on_awake_timer, AWAKE_MS, AWAKE_MS);
	if (!err) {
		*out = w;
		return 0;
	}
fail:
	snprintf(why, cap, "cannot watch network interfaces: %s", strerror(-err));
	if (w && w->events)
		mnl_socket_close(w->events);
	free(w);
	return err;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void ntm_netwatch_close(struct ntm_netwatch *w)
{
	if (!w)
		return;
	uv_poll_stop(w->poll);
	uv_timer_stop(w->timer);
	uv_close((uv_handle_t *)w->poll, on_closed);
	uv_close((uv_handle_t *)w->timer, on_closed);
	uv_close((uv_handle_t *)w->awake, on_closed);
	mnl_socket_close(w->events);
	free(w);
}

void ntm_netwatch_set_prefer(struct ntm_netwatch *w, const struct ntm_string_list *prefer)
{
	w->prefer = prefer;
}

void ntm_netwatch_set_own(struct ntm_netwatch *w, const char *ifname)
{
	snprintf(w->own, sizeof(w->own), "%s", ifname);
	snprintf(w->own_peer, sizeof(w->own_peer), "%.14sp", ifname);
	look_in(w, AGAIN_MS);
}

void ntm_netwatch_set_settle(struct ntm_netwatch *w, uint32_t ms)
{
	w->settle_ms = ms;
}

int ntm_node_notify_address_change(struct ntm_node *n)
{
	return n->netwatch ? ntm_netwatch_scan(n->netwatch, true) : -ENODEV;
}
