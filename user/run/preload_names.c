/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the zone, and of the zones that its DC federates with; all others are the system's. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "preload.h"

/* 0, or EAI_*: both addresses. */
static int resolve(const char *name, struct ntm_run_answer *a)
{
	struct ntm_run_request q = {.op = NTM_RUN_RESOLVE};
	int err;

	if (strlen(name) > NTM_RUN_NAME_MAX)
		return EAI_NONAME;
	snprintf(q.name, sizeof(q.name), "%s", name);
	err = run_ask(&q, -1, a, NULL);
	return err > 0 ? EAI_AGAIN : err; /* EAI_* are negative */
}

EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
	int family = hints ? hints->ai_family : AF_UNSPEC, err;
	struct addrinfo h = hints ? *hints : (struct addrinfo){.ai_flags = 0}, *first = NULL, **tail = &first, *part;
	const uint8_t *ip[2];
	struct ntm_run_answer a;

	if (!node || !run_is_virtual_name(node) || h.ai_flags & AI_NUMERICHOST)
		return REAL(getaddrinfo)(node, service, hints, res);
	err = resolve(node, &a);
	if (err)
		return err;
	ip[0] = a.addr.ip;
	ip[1] = a.local.ip;
	h.ai_flags = (h.ai_flags & ~(AI_ADDRCONFIG | AI_V4MAPPED | AI_ALL | AI_CANONNAME)) | AI_NUMERICHOST;
	/* The system's lists, of addresses in digits, one after the other: freeaddrinfo() takes them as one. */
	for (int f = 0; f < 2; f++) {
		char text[INET6_ADDRSTRLEN];

		if (family != AF_UNSPEC && family != (f ? AF_INET : AF_INET6))
			continue;
		h.ai_family = f ? AF_INET : AF_INET6;
		inet_ntop(h.ai_family, f ? ip[f] + 12 : ip[f], text, sizeof(text));
		err = REAL(getaddrinfo)(text, service, &h, &part);
		if (err) {
			if (first)
				freeaddrinfo(first);
			return err;
		}
		for (*tail = part; *tail; tail = &(*tail)->ai_next)
			;
	}
	if (!first)
		return EAI_FAMILY;
	/* freeaddrinfo() frees it by itself. */
	if (hints && hints->ai_flags & AI_CANONNAME)
		first->ai_canonname = strdup(node);
	*res = first;
	return 0;
}

static struct hostent *hostent(const char *name, int family)
{
	static _Thread_local struct {
		struct hostent h;
		char name[NTM_RUN_NAME_MAX + 1];
		uint8_t ip[16];
		char *addrs[2], *aliases[1];
	} t;
	struct ntm_run_answer a;
	int err = resolve(name, &a);

	if (err) {
		h_errno = err == EAI_NONAME ? HOST_NOT_FOUND : err == EAI_AGAIN ? TRY_AGAIN : NO_RECOVERY;
		return NULL;
	}
	snprintf(t.name, sizeof(t.name), "%s", name);
	memcpy(t.ip, family == AF_INET ? a.local.ip + 12 : a.addr.ip, family == AF_INET ? 4 : 16);
	t.addrs[0] = (char *)t.ip;
	t.addrs[1] = t.aliases[0] = NULL;
	t.h = (struct hostent){t.name, t.aliases, family, family == AF_INET ? 4 : 16, t.addrs};
	return &t.h;
}

EXPORT struct hostent *gethostbyname(const char *name)
{
	return run_is_virtual_name(name) ? hostent(name, AF_INET) : REAL(gethostbyname)(name);
}

EXPORT struct hostent *gethostbyname2(const char *name, int family)
{
	return run_is_virtual_name(name) && (family == AF_INET || family == AF_INET6)
		   ? hostent(name, family)
		   : REAL(gethostbyname2)(name, family);
}

EXPORT int getnameinfo(const struct sockaddr *sa, socklen_t len, char *host, socklen_t host_cap, char *serv,
		       socklen_t serv_cap, int flags)
{
	struct ntm_run_request q = {.op = NTM_RUN_GETNAME};
	struct ntm_run_answer a;

	if (!host || !host_cap || flags & NI_NUMERICHOST || !run_address(sa, len, &q.addr) || !run_is_virtual(&q.addr))
		return REAL(getnameinfo)(sa, len, host, host_cap, serv, serv_cap, flags);
	if (run_ask(&q, -1, &a, NULL))
		return flags & NI_NAMEREQD
			   ? EAI_NONAME
			   : REAL(getnameinfo)(sa, len, host, host_cap, serv, serv_cap, flags | NI_NUMERICHOST);
	if (strlen(a.name) >= host_cap)
		return EAI_OVERFLOW;
	strcpy(host, a.name);
	return serv && serv_cap ? REAL(getnameinfo)(sa, len, NULL, 0, serv, serv_cap, flags) : 0;
}
