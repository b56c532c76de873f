/* SPDX-License-Identifier: BSD-2-Clause */
#include "dnsmode.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/dns_hook.h"
#include "dnsstub.h"
#include "node.h"

struct ntm_dnsmode {
	struct ntm_node *node;
	enum ntm_dns_mode mode;
	char reason[256];
	struct ntm_dns_hook *hook;
	struct ntm_dnsstub *other; /* hook: of the family that dns.listen is not of; resolved: see own_address() */
};

const char *ntm_dnsmode_name(enum ntm_dns_mode mode)
{
	static const char *const names[] = {"auto", "off", "stub", "resolved", "resolvconf", "hook", "tun"};

	return names[mode];
}

/* What an agent that died left behind. */
static void restore(const struct ntm_node *n)
{
	char why[256] = "";

	if (ntm_resolved_restore(n->conf.runtime_dir, why, sizeof(why)) ||
	    ntm_resolvconf_restore(n->conf.runtime_dir, NTM_RESOLV_CONF, why, sizeof(why)))
		ntm_warn("the resolver's settings are not put back: %s", why[0] ? why : "see the runtime directory");
}

/* A stub on the loopback address of the other family: datagrams can't be sent from one to the other. */
static int open_other(struct ntm_dnsmode *m)
{
	struct ntm_addr a;
	char why[256] = "";

	if (ntm_addr_parse(ntm_ip_is_v4(m->node->conf.dns_listen.ip) ? "[::1]:53" : "127.0.0.1:53", 53, &a))
		return -EINVAL;
	a.port = 0;
	return ntm_dnsstub_open_at(&m->other, m->node, &a, why, sizeof(why));
}

static int open_hook(struct ntm_dnsmode *m, char *why, size_t cap)
{
	const struct ntm_node_config *c = &m->node->conf;
	struct ntm_addr first = *ntm_dnsstub_addr(m->node->dns), second = {0};
	const struct ntm_addr *v4 = NULL, *v6 = NULL;
	int err;

	if (open_other(m))
		ntm_info("dns.mode hook: one family only, the other's queries are left alone");
	else
		second = *ntm_dnsstub_addr(m->other);
	*(ntm_ip_is_v4(first.ip) ? &v4 : &v6) = &first;
	if (m->other)
		*(ntm_ip_is_v4(second.ip) ? &v4 : &v6) = &second;
	err = ntm_dns_hook_open(&m->hook, c->dns_cgroup, v4, v6, why, cap);
	if (err) {
		ntm_dnsstub_close(m->other);
		m->other = NULL;
	}
	return err;
}

/* systemd-resolved takes no server at its own 127.0.0.53 and .54: another stub, at any port. */
static int own_address(struct ntm_dnsmode *m, char *why, size_t cap)
{
	const uint8_t *ip = ntm_dnsstub_addr(m->node->dns)->ip;
	struct ntm_addr a;

	if (!ntm_ip_is_v4(ip) || (memcmp(ip + 12, "\x7f\0\0\x35", 4) != 0 && memcmp(ip + 12, "\x7f\0\0\x36", 4) != 0))
		return 0;
	if (m->other)
		return 0;
	if (ntm_addr_parse("127.0.0.1:53", 53, &a))
		return -EINVAL;
	a.port = 0;
	return ntm_dnsstub_open_at(&m->other, m->node, &a, why, cap);
}

static int set_resolved(struct ntm_dnsmode *m, char *why, size_t cap)
{
	const struct ntm_node *n = m->node;
	int err;

	if (!n->id.known)
		return 0;
	err = own_address(m, why, cap);
	return err ? err
		   : ntm_resolved_set(n->conf.runtime_dir, n->conf.interface, ntm_dnsstub_addr(m->other ?: n->dns),
				      n->id.zone, why, cap);
}

static int open_mode(struct ntm_dnsmode *m, enum ntm_dns_mode mode, char *why, size_t cap)
{
	const struct ntm_node *n = m->node;
	int err = 0;

	switch (mode) {
	case NTM_DNS_RESOLVED:
		err = ntm_resolved_present(NTM_RESOLV_CONF, why, cap);
		if (!err)
			err = set_resolved(m, why, cap);
		if (err) {
			restore(n);
			ntm_dnsstub_close(m->other);
			m->other = NULL;
		}
		break;
	case NTM_DNS_RESOLVCONF:
		err = ntm_resolvconf_set(n->conf.runtime_dir, n->conf.interface, ntm_dnsstub_addr(n->dns),
					 NTM_RESOLV_CONF, why, cap);
		if (err)
			restore(n);
		break;
	case NTM_DNS_HOOK:
		err = open_hook(m, why, cap);
		break;
	default:
		break;
	}
	if (!err)
		m->mode = mode;
	return err;
}

/* The least that is touched first. resolv.conf itself is only written by those who ask for it. */
static void choose(struct ntm_dnsmode *m)
{
	char no_resolved[256] = "", no_hook[256] = "", why[256] = "";

	if (!open_mode(m, NTM_DNS_RESOLVED, no_resolved, sizeof(no_resolved)))
		snprintf(m->reason, sizeof(m->reason), "systemd-resolved runs");
	else if (!open_mode(m, NTM_DNS_HOOK, no_hook, sizeof(no_hook)))
		snprintf(m->reason, sizeof(m->reason), "not resolved: %.180s", no_resolved);
	else if (ntm_resolvconf_program() && !open_mode(m, NTM_DNS_RESOLVCONF, why, sizeof(why)))
		snprintf(m->reason, sizeof(m->reason), "not hook: %.180s", no_hook);
	else {
		m->mode = NTM_DNS_STUB;
		snprintf(m->reason, sizeof(m->reason), "not resolved: %.90s; not hook: %.90s", no_resolved, no_hook);
		ntm_warn("dns.mode auto: %s; the resolver's settings are yours to make", m->reason);
	}
}

int ntm_dnsmode_open(struct ntm_dnsmode **out, struct ntm_node *n, char *why, size_t cap)
{
	struct ntm_dnsmode *m = calloc(1, sizeof(*m));
	int err = 0;

	if (!m)
		return -ENOMEM;
	m->node = n;
	restore(n);
	if (n->conf.dns_mode == NTM_DNS_AUTO) {
		choose(m);
	} else {
		snprintf(m->reason, sizeof(m->reason), "configured");
		err = open_mode(m, n->conf.dns_mode, why, cap);
	}
	if (err) {
		free(m);
		return err;
	}
	ntm_info("dns.mode %s (%s)", ntm_dnsmode_name(m->mode), m->reason);
	*out = m;
	return 0;
}

void ntm_dnsmode_identity(struct ntm_node *n)
{
	char why[256] = "";

	if (n->dnsmode && n->dnsmode->mode == NTM_DNS_RESOLVED && set_resolved(n->dnsmode, why, sizeof(why)))
		ntm_warn("%s: names of the zone do not resolve", why);
}

void ntm_dnsmode_close(struct ntm_dnsmode *m)
{
	if (!m)
		return;
	/* First the hook: what it still sent to the stubs would be lost. */
	ntm_dns_hook_close(m->hook);
	m->hook = NULL;
	restore(m->node);
	ntm_dnsstub_close(m->other);
	free(m);
}

enum ntm_dns_mode ntm_dnsmode_in_effect(const struct ntm_dnsmode *m)
{
	return m->mode;
}

const char *ntm_dnsmode_reason(const struct ntm_dnsmode *m)
{
	return m->reason;
}

struct ntm_dns_hook *ntm_dnsmode_hook(const struct ntm_dnsmode *m)
{
	return m ? m->hook : NULL;
}

void ntm_dnsmode_counters(json_object *status, const struct ntm_dnsmode *m)
{
#define X(symbol, name) name,
	static const char *const names[] = {NTM_DNS_COUNTS(X)};
#undef X
	uint64_t n[NTM_DNS_COUNT];
	json_object *o;

	if (!m || !m->hook || ntm_dns_hook_counts(m->hook, n))
		return;
	o = json_object_new_object();
	if (!o)
		return;
	for (unsigned i = 0; i < NTM_DNS_COUNT; i++)
		json_object_object_add(o, names[i], json_object_new_int64((int64_t)n[i]));
	json_object_object_add(status, "hook", o);
}
