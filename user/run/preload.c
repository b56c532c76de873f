/* SPDX-License-Identifier: BSD-2-Clause */
/* What the preloaded library knows: the broker, the zones, and which descriptors are virtual. */
#include "preload.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

enum { INHERITED_MAX = 256 };

bool run_has_datagrams;

static struct ntm_run_info info;
static int have_info; /* 0: not asked yet; 1: known; -1: not run by ntm-run, or it is gone */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int call(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = getenv(NTM_RUN_ENV);
	int fd;

	if (!path || strlen(path) >= sizeof(sa.sun_path))
		return -1;
	strcpy(sa.sun_path, path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && REAL(connect)(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static ssize_t ask(const struct ntm_run_request *q, int pass, void *a, size_t cap, int *got)
{
	int fd = call(), ignored;
	ssize_t n;

	if (fd < 0)
		return -ENETDOWN;
	n = run_send(fd, q, sizeof(*q), pass);
	while (!n && (n = run_receive(fd, a, cap, MSG_CMSG_CLOEXEC, got ? got : &ignored)) == -EINTR)
		n = 0;
	close(fd);
	return n ? n : -ENETDOWN;
}

int run_ask(struct ntm_run_request *q, int pass, struct ntm_run_answer *a, int *got)
{
	struct ntm_run_answer mine = {0};
	int saved = errno;
	ssize_t n;

	a = a ? a : &mine;
	if (got)
		*got = -1;
	n = ask(q, pass, a, sizeof(*a), got);
	errno = saved;
	if (n != (ssize_t)sizeof(*a))
		return n < 0 ? (int)-n : ENETDOWN;
	if (!a->err && got && *got < 0)
		return EMFILE;
	return a->err;
}

static bool know(void)
{
	struct ntm_run_request q = {.op = NTM_RUN_INFO};
	int saved = errno;

	if (__atomic_load_n(&have_info, __ATOMIC_ACQUIRE))
		return have_info > 0;
	pthread_mutex_lock(&lock);
	if (!have_info)
		__atomic_store_n(&have_info, ask(&q, -1, &info, sizeof(info), NULL) == sizeof(info) ? 1 : -1,
				 __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	errno = saved;
	return have_info > 0;
}

bool run_is_virtual(const struct ntm_addr *a)
{
	bool v4 = ntm_ip_is_v4(a->ip);

	for (int i = 0; know() && i < info.n; i++)
		if (ntm_prefix_contains(v4 ? &info.zones[i].pool4 : &info.zones[i].pool6, a->ip))
			return true;
	return false;
}

bool run_is_virtual_name(const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len && name[len - 1] == '.')
		len--;
	for (int i = 0; len && know() && i < info.n; i++) {
		size_t zone = strlen(info.zones[i].name);

		if (zone && len > zone + 1 && name[len - zone - 1] == '.' &&
		    !strncasecmp(name + len - zone, info.zones[i].name, zone))
			return true;
	}
	return false;
}

bool run_address(const struct sockaddr *sa, socklen_t len, struct ntm_addr *out)
{
	static const uint8_t any4[4];

	if (!sa || len < sizeof(sa->sa_family) || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6) ||
	    len < (sa->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					    : offsetof(struct sockaddr_in6, sin6_scope_id)) ||
	    ntm_addr_from_sockaddr(out, sa))
		return false;
	if (ntm_ip_is_v4(out->ip) && !memcmp(out->ip + 12, any4, 4))
		memset(out->ip, 0, 16);
	return true;
}

void run_fill(int family, const struct ntm_addr *a, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage ss;
	struct ntm_addr copy = *a;
	socklen_t need;

	if (!sa || !len)
		return;
	if (family == AF_INET && ntm_ip_is_zero(a->ip))
		ntm_ip_from_v4(copy.ip, &(struct in_addr){INADDR_ANY});
	need = ntm_addr_to_sockaddr(&copy, family, &ss);
	memcpy(sa, &ss, *len < need ? *len : need);
	*len = need;
}

bool run_describe(int fd, struct described *d)
{
	static const char prefix[] = NTM_RUN_NAME;
	struct sockaddr_un sa;
	socklen_t len = sizeof(sa), head = offsetof(struct sockaddr_un, sun_path) + 1;
	const char *text = sa.sun_path + sizeof(prefix);
	int saved = errno;
	bool ours;

	memset(&sa, 0, sizeof(sa));
	ours = !REAL(getpeername)(fd, (struct sockaddr *)&sa, &len) && sa.sun_family == AF_UNIX &&
	       len > head + sizeof(prefix) + 3 && len < sizeof(sa) && !sa.sun_path[0] &&
	       !memcmp(sa.sun_path + 1, prefix, sizeof(prefix) - 1);
	errno = saved;
	if (!ours)
		return false;
	d->kind = text[0];
	d->family = text[1] == '4' ? AF_INET : AF_INET6;
	d->id = (uint32_t)strtoul(text + 3, NULL, 16);
	errno = saved;
	return true;
}

/* After exec(): are there datagram sockets among what was inherited? */
static __attribute__((constructor)) void look_around(void)
{
	struct described d;

	for (int fd = 0; getenv(NTM_RUN_ENV) && fd < INHERITED_MAX && !run_has_datagrams; fd++)
		run_has_datagrams = run_describe(fd, &d) && d.kind == NTM_RUN_DATAGRAM;
}
