/* SPDX-License-Identifier: BSD-2-Clause */
/* The agent's state, its UDP port, the way to the DC, and name resolution. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/buf.h"
#include "ctl.h"
#include "doctor.h"

static long long counter(const struct doctor *d, const char *name)
{
	return json_object_get_int64(ctl_member(ctl_member(ctl_member(d->status, "counters"), name), "packets"));
}

static void check_counters(struct doctor *d)
{
	static const struct {
		const char *name, *text, *advice;
	} hints[] = {
	    {"rx_bad_tag", "packets failed authentication",
	     "watch whether it grows: someone forges packets, or a middlebox changes them"},
	    {"rx_clear", "packets claimed virtual addresses in the clear",
	     "see who on the uplink's network sends them: they are dropped"},
	    {"rx_bad_source", "opened packets had a source that is not their peer's",
	     "see that the peer does not forward others' packets into its tunnel"},
	    {"tx_no_uplink", "packets found no uplink of their family", "see that an uplink has an address of it"},
	    {"tx_key_expired", "packets met a path whose key had ended",
	     "see the agent's log: a peer does not answer rekeys"},
	    {"tx_agent_busy", "packets were dropped as the agent did not keep up", "see the agent's load"},
	};
	long long no_path = counter(d, "tx_no_path"), sent = counter(d, "tx_ok");

	for (size_t i = 0; i < sizeof(hints) / sizeof(*hints); i++) {
		long long n = counter(d, hints[i].name);

		if (n)
			doctor_add(d, DOCTOR_WARN, "counters", hints[i].advice, "%s %lld: %s", hints[i].name, n,
				   hints[i].text);
	}
	if (no_path > 100 && no_path > sent / 10)
		doctor_add(d, DOCTOR_WARN, "counters", "see `ntm monitor` for the peers that cannot be reached",
			   "tx_no_path %lld: many packets to virtual addresses without a path", no_path);
}

void doctor_agent(struct doctor *d)
{
	json_object *dc = ctl_member(d->status, "dc");
	const char *endpoint = ctl_text(dc, "endpoint"), *error = ctl_text(dc, "error");
	char pid[CTL_CELL_LEN];

	if (!d->status)
		return;
	doctor_add(d, DOCTOR_OK, "agent", NULL, "runs as process %s, %s", ctl_cell(d->status, "pid", CTL_INT, pid),
		   ctl_text(d->status, "name"));
	if (!json_object_get_boolean(ctl_member(dc, "connected")))
		doctor_add(d, DOCTOR_FAIL, "DC",
			   "see that the DC runs, that UDP reaches it, and that [dc] public_key and token are right",
			   "not connected to %s%s%s", endpoint ? endpoint : "the DC", error ? ": " : "",
			   error ? error : "");
	else if (!ctl_text(d->status, "vip4"))
		doctor_add(d, DOCTOR_FAIL, "DC", "see the agent's log; a new token may be needed",
			   "connected to %s, but not registered", endpoint ? endpoint : "the DC");
	else
		doctor_add(d, DOCTOR_OK, "DC", NULL, "registered with %s", endpoint ? endpoint : "it");
	check_counters(d);
}

static int udp_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0 && family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	return fd;
}

/* 0 or -errno of binding the port in one family. */
static int try_bind(int family, uint16_t port)
{
	struct ntm_addr any = {.port = htons(port)};
	struct sockaddr_storage sa;
	int fd = udp_socket(family), err = 0;
	socklen_t len;

	if (fd < 0)
		return -errno;
	if (family == AF_INET)
		ntm_ip_from_v4(any.ip, "\0\0\0");
	len = ntm_addr_to_sockaddr(&any, family, &sa);
	if (bind(fd, (struct sockaddr *)&sa, len))
		err = -errno;
	close(fd);
	return err;
}

static void check_port(struct doctor *d)
{
	int v4 = try_bind(AF_INET, d->port), v6 = try_bind(AF_INET6, d->port);
	bool used = v4 == -EADDRINUSE || v6 == -EADDRINUSE;

	if (used && d->status)
		doctor_add(d, DOCTOR_OK, "port", NULL, "UDP port %u is in use while the agent runs", d->port);
	else if (used)
		doctor_add(d, DOCTOR_FAIL, "port",
			   "`ss -lunp` names the program: stop it, or set another `port` in node.conf",
			   "UDP port %u is in use, and no agent answers", d->port);
	else if (v4 && v6)
		doctor_add(d, DOCTOR_FAIL, "port", "see the reason", "UDP port %u cannot be used: %s", d->port,
			   strerror(-v4));
	else if (d->status)
		doctor_add(d, DOCTOR_WARN, "port", "name the agent's configuration with -c",
			   "UDP port %u is free although the agent runs: it uses another one", d->port);
	else
		doctor_add(d, DOCTOR_OK, "port", NULL, "UDP port %u is free", d->port);
}

/* Is there a route to each of the DC's addresses? Connecting a UDP socket asks, and sends nothing. */
static void check_route(struct doctor *d)
{
	size_t n = d->conf ? d->conf->dc_endpoints.n : 0, reachable = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ntm_addr *a = &d->conf->dc_endpoints.addrs[i];
		int family = ntm_ip_is_v4(a->ip) ? AF_INET : AF_INET6;
		struct sockaddr_storage sa;
		socklen_t len = ntm_addr_to_sockaddr(a, family, &sa);
		int fd = udp_socket(family);

		reachable += fd >= 0 && !connect(fd, (struct sockaddr *)&sa, len);
		if (fd >= 0)
			close(fd);
	}
	if (n && !reachable)
		doctor_add(d, DOCTOR_FAIL, "route", "give this host a route to the DC, or correct [dc] endpoint",
			   "there is no route to any address of the DC");
	else if (n)
		doctor_add(d, DOCTOR_OK, "route", NULL, "there is a route to %zu of %zu addresses of the DC", reachable,
			   n);
}

/* Sends a question for `name`, type A, and waits a second for an answer to it. 0 or -errno. */
static int ask_stub(const struct ntm_addr *stub, const char *name)
{
	int family = ntm_ip_is_v4(stub->ip) ? AF_INET : AF_INET6, fd = udp_socket(family), err = 0;
	const uint16_t id = (uint16_t)(getpid() * 31);
	struct sockaddr_storage sa;
	socklen_t len = ntm_addr_to_sockaddr(stub, family, &sa);
	uint8_t q[512], a[512];
	struct ntm_wr w = ntm_wr_init(q, sizeof(q));
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (fd < 0)
		return -errno;
	/* RFC 1035 4.1: id, RD, one question, nothing else */
	ntm_wr_u16(&w, id);
	ntm_wr_u16(&w, 0x0100);
	ntm_wr_u16(&w, 1);
	ntm_wr_bytes(&w, "\0\0\0\0\0", 6);
	for (const char *label = name; *label;) {
		size_t n = strcspn(label, ".");

		ntm_wr_u8(&w, (uint8_t)n);
		ntm_wr_bytes(&w, label, n);
		label += n + (label[n] == '.');
	}
	ntm_wr_u8(&w, 0);
	ntm_wr_u32(&w, 0x00010001); /* A, IN */
	if (w.err || connect(fd, (struct sockaddr *)&sa, len) || send(fd, q, ntm_wr_len(&w), 0) < 0)
		err = w.err ? w.err : -errno;
	else if (poll(&p, 1, 1000) <= 0)
		err = -ETIMEDOUT;
	else if (recv(fd, a, sizeof(a), 0) < 12)
		err = errno ? -errno : -EBADMSG;
	else if (a[0] != id >> 8 || a[1] != (id & 0xff) || !(a[2] & 0x80))
		err = -EBADMSG;
	close(fd);
	return err;
}

/* The first name server, and whether the stub is one of them. */
static bool resolv_conf_names(const struct ntm_addr *stub, char first[NTM_ADDR_STRLEN])
{
	FILE *f = fopen("/etc/resolv.conf", "re");
	char line[512], text[64];
	bool found = false;
	uint8_t ip[16];

	first[0] = 0;
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "nameserver %63s", text) != 1 || ntm_ip_parse(text, ip))
			continue;
		if (!first[0])
			ntm_ip_format(ip, first);
		found |= !memcmp(ip, stub->ip, 16);
	}
	fclose(f);
	return found;
}

static void check_dns(struct doctor *d)
{
	json_object *dns = ctl_member(d->status, "dns");
	const char *mode = ctl_text(dns, "mode"), *listen = ctl_text(dns, "listen"), *reason = ctl_text(dns, "reason");
	char first[NTM_ADDR_STRLEN], text[NTM_ADDR_STRLEN];
	struct ntm_addr stub = {0};
	int err = 0;

	if (d->conf) {
		mode = mode ? mode : d->conf->dns_mode == NTM_DNS_OFF ? "off" : "not known";
		stub = d->conf->dns_listen;
	}
	if (listen)
		err = ntm_addr_parse(listen, 53, &stub);
	else if (!d->conf)
		err = ntm_addr_parse("127.0.0.54:53", 53, &stub);
	if (mode && !strcmp(mode, "off")) {
		doctor_add(d, DOCTOR_WARN, "DNS", "set [dns] mode = auto, or use `ntm resolve NAME` before an address",
			   "mode off: applications cannot use names of the zone");
		return;
	}
	if (err || !stub.port)
		return;
	ntm_addr_format(&stub, text);
	if (d->status) {
		const char *name = ctl_text(d->status, "name");

		err = ask_stub(&stub, name ? name : "localhost");
		if (err)
			doctor_add(d, DOCTOR_FAIL, "DNS stub", "see the agent's log; another program may hold the port",
				   "nobody answers at %s: %s", text, strerror(-err));
		else
			doctor_add(d, DOCTOR_OK, "DNS stub", NULL, "answers at %s, mode %s%s%s%s", text,
				   mode ? mode : "auto", reason ? " (" : "", reason ? reason : "", reason ? ")" : "");
		/* These need no server in resolv.conf. */
		if (mode && (!strcmp(mode, "hook") || !strcmp(mode, "resolved")))
			return;
	}
	if (resolv_conf_names(&stub, first) && stub.port == htons(53))
		doctor_add(d, DOCTOR_OK, "resolv.conf", NULL, "names the stub");
	else if (!first[0])
		doctor_add(d, DOCTOR_WARN, "resolv.conf", "put `nameserver` and the stub's address into it",
			   "/etc/resolv.conf names no server; the stub is %s", text);
	else
		doctor_add(d, DOCTOR_WARN, "resolv.conf",
			   "put the stub before other servers, or let the local resolver forward the zone to it",
			   "/etc/resolv.conf names %s first, not the stub %s", first, text);
}

void doctor_net(struct doctor *d)
{
	check_port(d);
	check_route(d);
	check_dns(d);
}
