/* SPDX-License-Identifier: BSD-2-Clause */
#include "hostwatch.h"

#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../common/addr.h"
#include "../common/log.h"

enum { COALESCE_MS = 20 };

struct ntm_hostwatch {
	struct mnl_socket *events;
	uv_poll_t *poll;
	uv_timer_t *timer;
	ntm_hostwatch_changed changed;
	void *arg;
	bool addresses;
};

static void add(uint8_t (*out)[16], size_t max, size_t *n, const struct sockaddr *sa)
{
	struct ntm_addr a;

	if (!sa || ntm_addr_from_sockaddr(&a, sa) || !ntm_ip_is_usable(a.ip))
		return;
	for (size_t i = 0; i < *n && i < max; i++)
		if (!memcmp(out[i], a.ip, 16))
			return;
	if (*n < max)
		memcpy(out[*n], a.ip, 16);
	(*n)++;
}

int ntm_host_addresses(uint8_t (*out)[16], size_t max)
{
	struct ifaddrs *list;
	size_t n = 0;

	if (getifaddrs(&list))
		return -errno;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		add(out, max, &n, i->ifa_addr);
		if (i->ifa_flags & IFF_BROADCAST)
			add(out, max, &n, i->ifa_broadaddr);
	}
	freeifaddrs(list);
	return (int)n;
}

static void on_timer(uv_timer_t *h)
{
	struct ntm_hostwatch *w = h->data;
	bool addresses = w->addresses;

	w->addresses = false;
	w->changed(w->arg, addresses);
}

static void soon(struct ntm_hostwatch *w, bool addresses)
{
	w->addresses |= addresses;
	if (!uv_is_active((uv_handle_t *)w->timer))
		uv_timer_start(w->timer, on_timer, COALESCE_MS, 0);
}

static int on_event(const struct nlmsghdr *nlh, void *arg)
{
	soon(arg, nlh->nlmsg_type != RTM_NEWROUTE && nlh->nlmsg_type != RTM_DELROUTE);
	return MNL_CB_OK;
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct ntm_hostwatch *w = h->data;
	char buf[32768];
	ssize_t len;

	(void)events;
	while ((len = recv(mnl_socket_get_fd(w->events), buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		mnl_cb_run(buf, (size_t)len, 0, 0, on_event, w);
	if (len < 0 && errno == ENOBUFS)
		soon(w, true);
	/* A socket that has an error, as one that overflowed, is no longer polled by libuv: recv() took the error away.
	 */
	if (status < 0 && uv_poll_start(h, UV_READABLE, on_readable))
		ntm_err("this host's addresses are watched no more: %s", uv_strerror(status));
}

int ntm_hostwatch_open(struct ntm_hostwatch **out, uv_loop_t *loop, ntm_hostwatch_changed changed, void *arg, char *why,
		       size_t cap)
{
	/* Not neighbours: a busy host has such events all the time, and a next hop is asked for anew every second. */
	static const unsigned groups = 1u << (RTNLGRP_LINK - 1) | 1u << (RTNLGRP_IPV4_IFADDR - 1) |
				       1u << (RTNLGRP_IPV6_IFADDR - 1) | 1u << (RTNLGRP_IPV4_ROUTE - 1) |
				       1u << (RTNLGRP_IPV6_ROUTE - 1);
	struct ntm_hostwatch *w = calloc(1, sizeof(*w));
	int err = w ? 0 : -ENOMEM;

	if (err)
		goto fail;
	w->changed = changed;
	w->arg = arg;
	w->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->events || mnl_socket_bind(w->events, groups, MNL_SOCKET_AUTOPID))
		err = -errno;
	if (!err && (!(w->poll = calloc(1, sizeof(*w->poll))) || !(w->timer = calloc(1, sizeof(*w->timer)))))
		err = -ENOMEM;
	if (!err)
		err = uv_poll_init(loop, w->poll, mnl_socket_get_fd(w->events));
	if (err)
		goto fail;
	uv_timer_init(loop, w->timer);
	w->poll->data = w->timer->data = w;
	err = uv_poll_start(w->poll, UV_READABLE, on_readable);
	if (err) {
		snprintf(why, cap, "cannot watch this host's addresses: %s", uv_strerror(err));
		ntm_hostwatch_close(w);
		return err;
	}
	*out = w;
	return 0;
fail:
	snprintf(why, cap, "cannot watch this host's addresses: %s", strerror(-err));
	if (w) {
		if (w->events)
			mnl_socket_close(w->events);
		free(w->poll);
		free(w->timer);
	}
	free(w);
	return err;
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

void ntm_hostwatch_close(struct ntm_hostwatch *w)
{
	if (!w)
		return;
	uv_poll_stop(w->poll);
	uv_timer_stop(w->timer);
	uv_close((uv_handle_t *)w->poll, on_closed);
	uv_close((uv_handle_t *)w->timer, on_closed);
	mnl_socket_close(w->events);
	free(w);
}
