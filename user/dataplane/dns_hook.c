/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_hook.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node_dns.skel.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

enum { LINKS = 8 };

struct ntm_dns_hook {
	struct node_dns *skel;
	struct bpf_link *links[LINKS];
	int diag;
};

int ntm_cgroup2_root(const char *mountinfo, char *out, size_t cap)
{
	char line[1024], dir[512], root[512];
	FILE *f = fopen(mountinfo, "re");
	int err = -ENOENT;

	if (!f)
		return -errno;
	/* "31 23 0:28 ROOT MOUNT OPTIONS [FIELDS] - TYPE SOURCE OPTIONS", proc(5) */
	while (err && fgets(line, sizeof(line), f)) {
		const char *type = strstr(line, " - ");

		if (!type || strncmp(type, " - cgroup2 ", 11) != 0 ||
		    sscanf(line, "%*s %*s %*s %511s %511s", root, dir) != 2 || strlen(dir) >= cap)
			continue;
		snprintf(out, cap, "%s", dir);
		err = 0;
	}
	fclose(f);
	return err;
}

static int netns_cookie(uint64_t *out)
{
	socklen_t len = sizeof(*out);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, out, &len) ? -errno : 0;
	close(fd);
	return err;
}

static int set(struct ntm_dns_hook *h, const struct ntm_addr *stub4, const struct ntm_addr *stub6)
{
	struct ntm_dns_settings s = {0};
	uint32_t zero = 0;
	uint64_t netns = 0;
	int err = netns_cookie(&netns);

	if (err)
		return err;
	s.netns = netns;
	if (stub4) {
		memcpy(&s.stub4, stub4->ip + 12, 4);
		s.port4 = stub4->port;
	}
	if (stub6) {
		memcpy(s.stub6, stub6->ip, 16);
		s.port6 = stub6->port;
	}
	return bpf_map_update_elem(bpf_map__fd(h->skel->maps.dns_settings), &zero, &s, BPF_ANY);
}

static int attach(struct ntm_dns_hook *h, int cgroup)
{
	struct bpf_program *p;
	unsigned n = 0;

	bpf_object__for_each_program(p, h->skel->obj)
	{
		struct bpf_link *l = n < LINKS ? bpf_program__attach_cgroup(p, cgroup) : NULL;

		if (!l)
			return errno ? -errno : -E2BIG;
		h->links[n++] = l;
	}
	return 0;
}

int ntm_dns_hook_open(struct ntm_dns_hook **out, const char *cgroup, const struct ntm_addr *stub4,
		      const struct ntm_addr *stub6, char *why, size_t cap)
{
	struct ntm_dns_hook *h = calloc(1, sizeof(*h));
	char root[PATH_MAX];
	int err = 0, fd = -1;

	if (!h)
		return -ENOMEM;
	h->diag = -1;
	if (!cgroup) {
		err = ntm_cgroup2_root("/proc/self/mountinfo", root, sizeof(root));
		cgroup = root;
	}
	if (err) {
		snprintf(why, cap, "no cgroup of version 2 is mounted");
		goto fail;
	}
	fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		snprintf(why, cap, "cgroup %s: %s", cgroup, strerror(-err));
		goto fail;
	}
	h->skel = node_dns__open_and_load();
	if (!h->skel) {
		err = -errno;
		snprintf(why, cap, "the kernel refused node_dns: %s", strerror(-err));
		goto fail;
	}
	err = set(h, stub4, stub6);
	if (!err)
		err = attach(h, fd);
	if (err) {
		snprintf(why, cap, "can't attach to the cgroup %s: %s", cgroup, strerror(-err));
		goto fail;
	}
	h->diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (h->diag < 0) {
		err = -errno;
		snprintf(why, cap, "can't ask for sockets: %s", strerror(-err));
		goto fail;
	}
	close(fd);
	*out = h;
	return 0;
fail:
	if (fd >= 0)
		close(fd);
	ntm_dns_hook_close(h);
	return err;
}

void ntm_dns_hook_close(struct ntm_dns_hook *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < LINKS; i++)
		bpf_link__destroy(h->links[i]);
	node_dns__destroy(h->skel);
	if (h->diag >= 0)
		close(h->diag);
	free(h);
}

int ntm_dns_hook_exempt(struct ntm_dns_hook *h, int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie;
	uint8_t one = 1;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len))
		return -errno;
	return bpf_map_update_elem(bpf_map__fd(h->skel->maps.dns_own), &cookie, &one, BPF_ANY);
}

struct diag_request {
	struct nlmsghdr nl;
	struct inet_diag_req_v2 r;
};

static void put_ip(__be32 out[4], const uint8_t ip[16])
{
	memset(out, 0, 16);
	if (ntm_ip_is_v4(ip))
		memcpy(out, ip + 12, 4);
	else
		memcpy(out, ip, 16);
}

/* The socket at `local` that hears what comes from `remote`. */
static void fill(struct diag_request *q, const struct ntm_addr *local, const struct ntm_addr *remote, bool tcp)
{
	/* The kernel has the two swapped in a request for one UDP socket, and keeps it so. */
	const struct ntm_addr *src = tcp ? local : remote, *dst = tcp ? remote : local;

	*q = (struct diag_request){
	    .nl = {.nlmsg_len = sizeof(*q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
	    .r = {.sdiag_family = ntm_ip_is_v4(local->ip) ? AF_INET : AF_INET6,
		  .sdiag_protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP,
		  .idiag_states = ~0u}};
	q->r.id.idiag_sport = src->port;
	q->r.id.idiag_dport = dst->port;
	put_ip(q->r.id.idiag_src, src->ip);
	put_ip(q->r.id.idiag_dst, dst->ip);
	q->r.id.idiag_cookie[0] = q->r.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

/* The kernel answers within sendto(), so reading never waits. */
static int cookie_of(int diag, struct diag_request *q, uint64_t *cookie)
{
	union {
		struct nlmsghdr nl;
		uint8_t bytes[1024];
	} a;
	const struct inet_diag_msg *m;
	ssize_t n;

	if (send(diag, q, sizeof(*q), 0) < 0)
		return -errno;
	n = recv(diag, &a, sizeof(a), MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (!NLMSG_OK(&a.nl, (size_t)n) || a.nl.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    a.nl.nlmsg_len < NLMSG_LENGTH(sizeof(*m)))
		return -ENOENT;
	m = NLMSG_DATA(&a.nl);
	*cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	return 0;
}

int ntm_dns_hook_origin(struct ntm_dns_hook *h, const struct ntm_addr *client, const struct ntm_addr *stub, bool tcp,
			struct ntm_addr *out)
{
	struct ntm_dns_flow flow;
	struct diag_request q;
	uint64_t cookie;
	int err;

	fill(&q, client, stub, tcp);
	err = cookie_of(h->diag, &q, &cookie);
	if (!err)
		err = bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.dns_flows), &cookie, &flow);
	if (err)
		return err;
	memset(out, 0, sizeof(*out));
	memcpy(out->ip, flow.ip, 16);
	out->port = flow.port;
	return 0;
}

int ntm_dns_hook_counts(struct ntm_dns_hook *h, uint64_t out[NTM_DNS_COUNT])
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	for (uint32_t i = 0; i < NTM_DNS_COUNT; i++) {
		uint64_t v[cpus];
		int err = bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.dns_counters), &i, v);

		if (err)
			return err;
		out[i] = 0;
		for (int c = 0; c < cpus; c++)
			out[i] += v[c];
	}
	return 0;
}
