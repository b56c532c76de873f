/* SPDX-License-Identifier: BSD-2-Clause */
/* Names: asking for one asks for the path to it, as the agent's DNS stub does. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lib.h"

enum { TUPLES = 8 };

bool ntm_name_in_zones(const struct ntm *n, const char *name, char out[NTM_NAME_MAX + 1])
{
	const struct ntm_identity *id = &n->agent->node.id;
	size_t len = strlen(name);

	if (!id->known || !len)
		return false;
	if (name[len - 1] == '.')
		len--;
	if (len > NTM_NAME_MAX)
		return false;
	for (unsigned z = 0; z <= id->addrs.n_peers; z++) {
		const char *zone = z ? id->peer_zones[z - 1] : id->zone;
		size_t zlen = strlen(zone);

		if (!zlen || len <= zlen + 1 || name[len - zlen - 1] != '.' ||
		    strncasecmp(name + len - zlen, zone, zlen))
			continue;
		for (size_t i = 0; i < len; i++)
			out[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
		out[len] = 0;
		return true;
	}
	return false;
}

int ntm_is_virtual_name(struct ntm *n, const char *name)
{
	char fqdn[NTM_NAME_MAX + 1];
	int yes;

	if (!n || !name || ntm_enter())
		return 0;
	yes = ntm_name_in_zones(n, name, fqdn);
	ntm_leave();
	return yes;
}

int ntm_is_virtual(struct ntm *n, const struct sockaddr *sa, socklen_t len)
{
	struct ntm_addr a;
	int yes;

	if (!n || !sa || len < sizeof(sa->sa_family) ||
	    len < (sa->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
		   : sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					       : SIZE_MAX) ||
	    ntm_addr_from_sockaddr(&a, sa) || ntm_enter()) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	yes = ntm_host_is_virtual(n, a.ip);
	ntm_leave();
	return yes;
}

struct resolving {
	bool done;
	int result;
	uint8_t vip4[4], vip6[16];
};

static void on_direction(void *arg, int result, struct ntm_tunnel *t)
{
	struct resolving *r = arg;

	r->done = true;
	r->result = result;
	if (t && !result) {
		memcpy(r->vip4, t->vip4, 4);
		memcpy(r->vip6, t->vip6, 16);
	}
}

static bool is_done(void *arg)
{
	return ((struct resolving *)arg)->done;
}

static int eai_of(int result)
{
	if (!result)
		return 0;
	ntm_set_reason("%s", ntm_direction_result_name(result));
	switch (result) {
	case NTM_E_NO_SUCH_NAME:
	case NTM_E_BAD_NAME:
		return EAI_NONAME;
	case NTM_E_DENIED:
		return EAI_FAIL;
	default:
		return EAI_AGAIN;
	}
}

static int resolve_name(struct ntm *n, const char *fqdn, struct resolving *r)
{
	struct ntm_node *node = &n->agent->node;
	int err;

	*r = (struct resolving){0};
	if (!strcasecmp(fqdn, node->id.fqdn)) {
		memcpy(r->vip4, node->id.addrs.vip4, 4);
		memcpy(r->vip6, node->id.addrs.vip6, 16);
		return 0;
	}
	(void)ntm_direct(node, fqdn, NULL, 0, on_direction, r);
	/* Directions end by themselves, after 2 s at most. */
	do
		err = ntm_engine_wait(is_done, r, -1, NULL, 0);
	while (err == -EINTR);
	if (!r->done) {
		ntm_direct_forget(node, r);
		ntm_set_reason("called in a callback");
		return EAI_SYSTEM;
	}
	return eai_of(r->result);
}

struct tuple {
	int socktype, protocol;
	uint16_t port;
};

/* What the service is, by the system's tables: types, protocols, port. */
static int tuples(const char *service, const struct addrinfo *hints, struct tuple out[TUPLES], unsigned *n)
{
	struct addrinfo h = {.ai_family = AF_INET, .ai_flags = AI_NUMERICHOST}, *res, *a;
	int err;

	if (hints) {
		h.ai_socktype = hints->ai_socktype;
		h.ai_protocol = hints->ai_protocol;
		h.ai_flags |= hints->ai_flags & AI_NUMERICSERV;
	}
	err = getaddrinfo("127.0.0.1", service, &h, &res);
	if (err)
		return err;
	for (a = res, *n = 0; a && *n < TUPLES; a = a->ai_next)
		if (a->ai_socktype == SOCK_STREAM || a->ai_socktype == SOCK_DGRAM)
			out[(*n)++] = (struct tuple){a->ai_socktype, a->ai_protocol,
						     ((struct sockaddr_in *)(void *)a->ai_addr)->sin_port};
	freeaddrinfo(res);
	return *n ? 0 : EAI_SOCKTYPE;
}

struct entry {
	struct addrinfo ai;
	struct sockaddr_storage ss;
};

static int append(struct addrinfo ***tail, const uint8_t ip[16], const struct tuple *t, const char *canon)
{
	struct entry *e = calloc(1, sizeof(*e));
	struct ntm_addr a = {.port = t->port};
	int family = ntm_ip_is_v4(ip) ? AF_INET : AF_INET6;

	if (!e)
		return EAI_MEMORY;
	memcpy(a.ip, ip, 16);
	e->ai.ai_family = family;
	e->ai.ai_socktype = t->socktype;
	e->ai.ai_protocol = t->protocol;
	e->ai.ai_addrlen = ntm_addr_to_sockaddr(&a, family, &e->ss);
	e->ai.ai_addr = (struct sockaddr *)&e->ss;
	if (canon) {
		e->ai.ai_canonname = strdup(canon);
		if (!e->ai.ai_canonname) {
			free(e);
			return EAI_MEMORY;
		}
	}
	**tail = &e->ai;
	*tail = &e->ai.ai_next;
	return 0;
}

void ntm_freeaddrinfo(struct addrinfo *res)
{
	while (res) {
		struct addrinfo *next = res->ai_next;

		free(res->ai_canonname);
		free(res);
		res = next;
	}
}

/* IPv6, then IPv4 (v4-mapped): what the caller asked for. */
static int addresses(struct ntm *n, const char *node, const struct addrinfo *hints, uint8_t out[2][16], bool have[2])
{
	int flags = hints ? hints->ai_flags : 0;
	char fqdn[NTM_NAME_MAX + 1];
	struct resolving r = {0};
	struct in_addr any = {INADDR_ANY};
	struct ntm_addr numeric;
	int err = 0;

	have[0] = have[1] = true;
	if (!node && flags & AI_PASSIVE) {
		memset(out[0], 0, 16);
		ntm_ip_from_v4(out[1], &any);
		return 0;
	}
	if (node && !ntm_ip_parse(node, numeric.ip)) {
		unsigned v4 = ntm_ip_is_v4(numeric.ip);

		memcpy(out[v4], numeric.ip, 16);
		have[!v4] = false;
		return 0;
	}
	if (node && flags & AI_NUMERICHOST)
		return EAI_NONAME;
	if (!n->registered)
		return EAI_AGAIN;
	if (node && !ntm_name_in_zones(n, node, fqdn))
		return EAI_NONAME;
	err = resolve_name(n, node ? fqdn : n->agent->node.id.fqdn, &r);
	memcpy(out[0], r.vip6, 16);
	ntm_ip_from_v4(out[1], r.vip4);
	return err;
}

int ntm_getaddrinfo(struct ntm *n, const char *node, const char *service, const struct addrinfo *hints,
		    struct addrinfo **res)
{
	int family = hints ? hints->ai_family : AF_UNSPEC, err;
	struct addrinfo *list = NULL, **tail = &list;
	struct tuple t[TUPLES];
	uint8_t ip[2][16];
	bool have[2];
	unsigned count = 0;

	ntm_set_reason("%s", "");
	if (!n || !res || (!node && !service))
		return EAI_NONAME;
	if (family != AF_UNSPEC && family != AF_INET && family != AF_INET6)
		return EAI_FAMILY;
	err = tuples(service, hints, t, &count);
	if (err)
		return err;
	if (ntm_enter())
		return EAI_SYSTEM;
	err = addresses(n, node, hints, ip, have);
	ntm_leave();
	for (unsigned f = 0; f < 2 && !err; f++) {
		if (!have[f] || (family != AF_UNSPEC && family != (f ? AF_INET : AF_INET6)))
			continue;
		for (unsigned i = 0; i < count && !err; i++)
			err = append(&tail, ip[f], &t[i],
				     !list && node && hints && hints->ai_flags & AI_CANONNAME ? node : NULL);
	}
	if (!err && !list)
		err = EAI_NONAME;
	if (err) {
		ntm_freeaddrinfo(list);
		return err;
	}
	*res = list;
	return 0;
}

int ntm_getname(struct ntm *n, const struct sockaddr *sa, socklen_t len, char *name, size_t cap)
{
	const char *found = NULL;
	struct ntm_tunnel *t;
	struct ntm_addr a;
	int err;

	if (ntm_is_virtual(n, sa, len) < 0)
		return -1;
	err = ntm_addr_from_sockaddr(&a, sa) ? -EAFNOSUPPORT : ntm_enter();
	if (err || !name) {
		errno = err ? -err : EFAULT;
		return -1;
	}
	if (!memcmp(a.ip, n->vif.vip4, 16) || !memcmp(a.ip, n->vif.vip6, 16)) {
		found = n->agent->node.id.fqdn;
	} else {
		t = ntm_tunnel_by_vip(&n->agent->node, a.ip);
		found = t && t->name[0] ? t->name : NULL;
	}
	if (!found)
		return vs_fail(-ENOENT);
	if (strlen(found) >= cap)
		return vs_fail(-ERANGE);
	strcpy(name, found);
	ntm_leave();
	return 0;
}
