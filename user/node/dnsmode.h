/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How the host's resolver gets to the stub (dns.mode). What a mode changes outside this process is noted in the runtime
 * directory before it is changed, so that it can be put back by whoever comes next: at exit, at the next start, or by
 * `ntm doctor --repair`. The hook changes nothing that outlives the process.
 */
#ifndef NTM_NODE_DNSMODE_H
#define NTM_NODE_DNSMODE_H

#include <stdbool.h>
#include <stddef.h>

#include <json-c/json.h>

#include "../common/addr.h"
#include "config.h"

struct ntm_node;
struct ntm_dnsmode;
struct ntm_dns_hook;
struct ntm_dns_query;

/*
 * Makes the resolver use n->dns, which is open. Before privileges are dropped. 0, also where no mode works in auto, or
 * -errno with a sentence in why.
 */
int ntm_dnsmode_open(struct ntm_dnsmode **out, struct ntm_node *n, char *why, size_t cap);
void ntm_dnsmode_identity(struct ntm_node *n); /* the zone may have become known */
void ntm_dnsmode_close(struct ntm_dnsmode *m); /* puts everything back */
/* The mode in effect and why that one, for status. */
enum ntm_dns_mode ntm_dnsmode_in_effect(const struct ntm_dnsmode *m);
const char *ntm_dnsmode_reason(const struct ntm_dnsmode *m);
const char *ntm_dnsmode_name(enum ntm_dns_mode mode);
void ntm_dnsmode_counters(json_object *status, const struct ntm_dnsmode *m); /* adds "hook" in that mode */
struct ntm_dns_hook *ntm_dnsmode_hook(const struct ntm_dnsmode *m);          /* NULL: not that mode */

/* dnsmode_resolved.c: systemd-resolved over the system bus. All: 0 or -errno with a sentence in why. */
int ntm_resolved_present(const char *resolv_conf, char *why, size_t cap);
int ntm_resolved_set(const char *dir, const char *ifname, const struct ntm_addr *stub, const char *zone, char *why,
		     size_t cap);
int ntm_resolved_restore(const char *dir, char *why, size_t cap); /* 0: nothing to put back, too */

/* dnsmode_resolvconf.c: a resolvconf program, or else the file. */
bool ntm_resolvconf_program(void);
int ntm_resolvconf_set(const char *dir, const char *ifname, const struct ntm_addr *stub, const char *file, char *why,
		       size_t cap);
int ntm_resolvconf_restore(const char *dir, const char *file, char *why, size_t cap);
/* DIR/NAME into out[cap]; returns out. */
const char *ntm_dnsmode_path(const char *dir, const char *name, char *out, size_t cap);
/* Writes a small file, whole or not at all. 0 or -errno. */
int ntm_dnsmode_write(const char *path, const char *text, size_t len);

#define NTM_RESOLV_CONF "/etc/resolv.conf"
#define NTM_RESOLV_BACKUP "resolv.conf.backup" /* in the runtime directory: the file as it was */

#endif
