/* SPDX-License-Identifier: BSD-2-Clause */
/* Is there a gateway, and do general destinations go to it? */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "doctor.h"

/* Some address within a prefix; of everything, one that is nobody's (RFC 5737, RFC 3849). */
static void sample(const struct ntm_prefix *p, bool v4, struct ntm_addr *out)
{
	*out = (struct ntm_addr){.port = htons(9)};
	memcpy(out->ip, p->ip, 16);
	if (p->len <= (v4 ? 96 : 0) && ntm_ip_parse(v4 ? "198.51.100.1" : "2001:db8::1", out->ip))
		return;
	out->ip[15] |= p->len < 128;
}

/* The source that the kernel gives to such a packet. Connecting a UDP socket asks, and sends nothing. */
static bool source_to(const struct ntm_addr *to, bool v4, char text[NTM_ADDR_STRLEN])
{
	int family = v4 ? AF_INET : AF_INET6, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	struct ntm_addr from;
	socklen_t len = ntm_addr_to_sockaddr(to, family, &ss);
	bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&ss, len);

	len = sizeof(ss);
	ok = ok && !getsockname(fd, (struct sockaddr *)&ss, &len) &&
	     !ntm_addr_from_sockaddr(&from, (struct sockaddr *)&ss);
	if (fd >= 0)
		close(fd);
	if (ok)
		ntm_ip_format(from.ip, text);
	return ok;
}

static void check_routes(struct doctor *d, const char *peer)
{
	for (size_t i = 0; i < d->conf->gateway_routes.n; i++) {
		const struct ntm_prefix *p = &d->conf->gateway_routes.prefixes[i];
		bool v4 = p->len >= 96 && ntm_ip_is_v4(p->ip);
		const char *vip = ctl_text(d->status, v4 ? "vip4" : "vip6");
		char prefix[NTM_ADDR_STRLEN], source[NTM_ADDR_STRLEN] = "no address at all";
		struct ntm_addr to;

		sample(p, v4, &to);
		if (source_to(&to, v4, source) && vip && !strcmp(source, vip))
			continue;
		doctor_add(
		    d, DOCTOR_WARN, "gateway",
		    "see `ip rule`: a rule before 32700, another VPN's perhaps, or a route of the table main that "
		    "is no default route, comes first",
		    "packets to %s leave with %s, not by the gateway %s", ntm_prefix_format(p, prefix), source, peer);
		return;
	}
	doctor_add(d, DOCTOR_OK, "gateway", NULL, "general destinations go by %s", peer);
}

void doctor_gateway(struct doctor *d)
{
	json_object *gateway = NULL;
	const char *peer;

	if (!d->conf || !d->conf->gateway_routes.n || !d->status)
		return;
	if (!json_object_object_get_ex(d->status, "gateway", &gateway)) {
		doctor_add(d, DOCTOR_WARN, "gateway", "restart ntm-node",
			   "the agent runs without the [gateway] of its configuration");
		return;
	}
	peer = ctl_text(gateway, "peer");
	if (peer)
		check_routes(d, peer);
	else
		doctor_add(d, DOCTOR_WARN, "gateway",
			   "see `ntm -r DC_DIR relays` on the DC: is there an RS with `gateway = yes` online?",
			   "no gateway is in use: general destinations can't be reached by one");
}
