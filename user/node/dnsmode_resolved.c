/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * systemd-resolved: the virtual interface gets the stub as its server and the zone as routing domain, so that nothing
 * but the zone's names is asked of the stub. A dead agent takes only these names with it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "dnsmode.h"

static const char service[] = "org.freedesktop.resolve1", object[] = "/org/freedesktop/resolve1",
		  interface[] = "org.freedesktop.resolve1.Manager", mark[] = "dns.resolved";

enum { CALL_US = 2000000 };

static int open_bus(sd_bus **bus, char *why, size_t cap)
{
	int err = sd_bus_open_system(bus);

	if (err >= 0)
		err = sd_bus_set_method_call_timeout(*bus, CALL_US);
	if (err < 0) {
		snprintf(why, cap, "the system bus: %s", strerror(-err));
		*bus = sd_bus_flush_close_unref(*bus);
	}
	return err < 0 ? err : 0;
}

/* Sends m, which is unreferenced. */
static int call(sd_bus *bus, sd_bus_message *m, const char *what, char *why, size_t cap)
{
	sd_bus_error e = SD_BUS_ERROR_NULL;
	int err = sd_bus_call(bus, m, CALL_US, &e, NULL);

	if (err < 0)
		snprintf(why, cap, "systemd-resolved, %s: %s", what, e.message ? e.message : strerror(-err));
	sd_bus_error_free(&e);
	sd_bus_message_unref(m);
	return err < 0 ? err : 0;
}

static int new_call(sd_bus *bus, sd_bus_message **m, const char *method, int ifindex)
{
	int err = sd_bus_message_new_method_call(bus, m, service, object, interface, method);

	return err < 0 ? err : sd_bus_message_append(*m, "i", ifindex);
}

static int set_dns(sd_bus *bus, int ifindex, const struct ntm_addr *stub, char *why, size_t cap)
{
	bool v4 = ntm_ip_is_v4(stub->ip);
	sd_bus_message *m = NULL;
	int err = new_call(bus, &m, "SetLinkDNSEx", ifindex);

	if (err >= 0)
		err = sd_bus_message_open_container(m, 'a', "(iayqs)");
	if (err >= 0)
		err = sd_bus_message_open_container(m, 'r', "iayqs");
	if (err >= 0)
		err = sd_bus_message_append(m, "i", v4 ? AF_INET : AF_INET6);
	if (err >= 0)
		err = sd_bus_message_append_array(m, 'y', stub->ip + (v4 ? 12 : 0), v4 ? 4 : 16);
	if (err >= 0)
		err = sd_bus_message_append(m, "qs", ntohs(stub->port), "");
	if (err >= 0)
		err = sd_bus_message_close_container(m);
	if (err >= 0)
		err = sd_bus_message_close_container(m);
	if (err < 0) {
		sd_bus_message_unref(m);
		return err;
	}
	return call(bus, m, "SetLinkDNSEx", why, cap);
}

static int set_domain(sd_bus *bus, int ifindex, const char *zone, char *why, size_t cap)
{
	sd_bus_message *m = NULL;
	int err = new_call(bus, &m, "SetLinkDomains", ifindex);

	if (err >= 0)
		err = sd_bus_message_append(m, "a(sb)", 1, zone, 1);
	if (err < 0) {
		sd_bus_message_unref(m);
		return err;
	}
	err = call(bus, m, "SetLinkDomains", why, cap);
	m = NULL;
	if (!err)
		err = new_call(bus, &m, "SetLinkDefaultRoute", ifindex);
	if (!err || err > 0)
		err = sd_bus_message_append(m, "b", 0);
	if (err < 0) {
		sd_bus_message_unref(m);
		return err;
	}
	return call(bus, m, "SetLinkDefaultRoute", why, cap);
}

int ntm_resolved_present(const char *resolv_conf, char *why, size_t cap)
{
	char line[256], server[64] = "";
	FILE *f = fopen(resolv_conf, "re");
	sd_bus_message *m = NULL;
	sd_bus *bus = NULL;
	int err;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " nameserver %63s", server) == 1)
			break;
	if (f)
		fclose(f);
	if (strcmp(server, "127.0.0.53") != 0) {
		snprintf(why, cap, "%s does not name systemd-resolved", resolv_conf);
		return -ENOENT;
	}
	err = open_bus(&bus, why, cap);
	if (err)
		return err;
	err = sd_bus_message_new_method_call(bus, &m, service, object, "org.freedesktop.DBus.Peer", "Ping");
	err = err < 0 ? err : call(bus, m, "Ping", why, cap);
	sd_bus_flush_close_unref(bus);
	return err;
}

int ntm_resolved_set(const char *dir, const char *ifname, const struct ntm_addr *stub, const char *zone, char *why,
		     size_t cap)
{
	unsigned ifindex = if_nametoindex(ifname);
	sd_bus *bus = NULL;
	char path[512];
	int err;

	if (!ifindex) {
		snprintf(why, cap, "%s: %s", ifname, strerror(errno));
		return -errno;
	}
	err = open_bus(&bus, why, cap);
	if (err)
		return err;
	err = ntm_dnsmode_write(ntm_dnsmode_path(dir, mark, path, sizeof(path)), ifname, strlen(ifname));
	if (!err)
		err = set_dns(bus, (int)ifindex, stub, why, cap);
	if (!err)
		err = set_domain(bus, (int)ifindex, zone, why, cap);
	if (err && !why[0])
		snprintf(why, cap, "systemd-resolved: %s", strerror(-err));
	sd_bus_flush_close_unref(bus);
	return err;
}

int ntm_resolved_restore(const char *dir, char *why, size_t cap)
{
	char path[512], ifname[IF_NAMESIZE] = "";
	sd_bus_message *m = NULL;
	sd_bus *bus = NULL;
	unsigned ifindex;
	int err = 0;
	FILE *f = fopen(ntm_dnsmode_path(dir, mark, path, sizeof(path)), "re");

	if (!f)
		return errno == ENOENT ? 0 : -errno;
	if (fscanf(f, "%15s", ifname) != 1)
		ifname[0] = 0;
	fclose(f);
	ifindex = if_nametoindex(ifname);
	/* Settings of an interface that is gone went with it. */
	if (ifindex) {
		err = open_bus(&bus, why, cap);
		if (!err)
			err = new_call(bus, &m, "RevertLink", (int)ifindex);
		if (err >= 0)
			err = call(bus, m, "RevertLink", why, cap);
		sd_bus_flush_close_unref(bus);
	}
	if (!err && unlink(path) && errno != ENOENT)
		err = -errno;
	return err;
}
