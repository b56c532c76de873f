/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

#define SERIAL_MS 1000 /* changes within that time are one version of the zone */

struct ntm_dc_dns {
	struct ntm_dc *dc;
	struct ntm_dns_zone zone;
	struct ntm_dns_server *server;
	struct ntm_dns_update *update;
	uint32_t serial;
	bool dirty;            /* changed since serial was given */
	uint64_t versioned_ms; /* when it was */
};

/* Where the node is by its own account, and by ours: what differs is a NAT's. */
static void real_addresses(const struct ntm_dc_node *n, struct ntm_dns_node *out)
{
	const struct ntm_addr *seen = &n->rec.endpoint;
	bool v4 = ntm_ip_is_v4(seen->ip), own = false;

	for (unsigned i = 0; i < n->n_candidates; i++) {
		const struct ntm_candidate *c = &n->candidates[i];
		struct ntm_addr *real = ntm_ip_is_v4(c->addr.ip) ? &out->real4 : &out->real6;

		if (c->kind != NTM_CAND_HOST)
			continue;
		if (!memcmp(c->addr.ip, seen->ip, 16)) {
			own = true;
			*real = c->addr;
		} else if (!real->port) {
			*real = c->addr;
		}
	}
	if (own || !seen->port)
		return;
	if (!(v4 ? &out->real4 : &out->real6)->port)
		*(v4 ? &out->real4 : &out->real6) = *seen;
	else
		*(v4 ? &out->nat4 : &out->nat6) = *seen;
}

static int describe(struct ntm_dc *dc, const struct ntm_node_record *rec, const struct ntm_dc_node *live,
		    struct ntm_dns_node *out)
{
	if (rec->revoked_s || !rec->index)
		return -ENOENT;
	memset(out, 0, sizeof(*out));
	memcpy(out->label, rec->label, sizeof(out->label));
	ntm_pool_addresses(&dc->conf->pool, rec->index, out->vip4, out->vip6);
	out->online = live && live->online;
	if (out->online)
		real_addresses(live, out);
	return 0;
}

static int by_label(void *arg, const char *label, struct ntm_dns_node *out)
{
	struct ntm_dc *dc = arg;
	const struct ntm_dc_node *n = ntm_dc_node_by_label(&dc->nodes, label);
	struct ntm_node_record rec;
	int err;

	if (n)
		return describe(dc, &n->rec, n, out);
	err = dc->store->ops->node_by_label(dc->store, label, &rec);
	return err ? err : describe(dc, &rec, NULL, out);
}

static int by_address(void *arg, const uint8_t vip[16], struct ntm_dns_node *out)
{
	struct ntm_dc *dc = arg;
	uint32_t index = ntm_pool_index(&dc->conf->pool, vip);
	const struct ntm_dc_node *n = index ? ntm_dc_node_by_index(&dc->nodes, index) : NULL;
	struct ntm_node_record rec;
	int err;

	if (n)
		return describe(dc, &n->rec, n, out);
	err = index ? dc->store->ops->node_by_index(dc->store, index, &rec) : -ENOENT;
	return err ? err : describe(dc, &rec, NULL, out);
}

static int next_node(void *arg, uint32_t *cursor, struct ntm_dns_node *out)
{
	struct ntm_dc *dc = arg;
	struct ntm_node_record rec;
	int err = dc->store->ops->node_after_index(dc->store, *cursor, &rec);
	const struct ntm_dc_node *n;

	if (err)
		return err;
	*cursor = rec.index;
	n = ntm_dc_node_by_index(&dc->nodes, rec.index);
	return describe(dc, n ? &n->rec : &rec, n, out);
}

/* Seconds since 1970 as long as changes are fewer than that; a clock that is put back does not take it back. */
static uint32_t serial(void *arg)
{
	struct ntm_dc *dc = arg;
	struct ntm_dc_dns *d = dc->dns;
	uint32_t now = (uint32_t)ntm_dc_wall_s();

	if (!d->dirty || ntm_dc_now(dc) - d->versioned_ms < SERIAL_MS)
		return d->serial;
	d->serial = (int32_t)(now - d->serial) > 0 ? now : d->serial + 1;
	d->dirty = false;
	d->versioned_ms = ntm_dc_now(dc);
	return d->serial;
}

static int init_zone(struct ntm_dc *dc, struct ntm_dc_dns *d)
{
	const struct ntm_dns_source source = {by_label, by_address, next_node, serial, dc};
	const struct ntm_dc_config *c = dc->conf;
	const struct ntm_dns_settings s = {
	    .zone = c->zone,
	    .publish = c->dns.publish,
	    .pool = c->pool,
	    .dc = c->listen.addrs,
	    .n_dc = c->listen.n,
	    .ns = c->dns_listen.addrs,
	    .n_ns = c->dns_listen.n,
	    .transfer = c->dns.transfer.items,
	    .n_transfer = c->dns.transfer.n,
	};

	d->dc = dc;
	d->serial = (uint32_t)ntm_dc_wall_s();
	return ntm_dns_zone_init(&d->zone, &s, &source);
}

static int visit(void *arg, const struct ntm_node_record *rec)
{
	ntm_dc_dns_changed(arg, rec);
	return 0;
}

/* Every node that ever was is looked at: what the server has of those that were revoked meanwhile goes. */
static int synchronise(struct ntm_dc *dc)
{
	return dc->store->ops->each_node(dc->store, NTM_STORE_ALL, visit, dc);
}

static int start_update(struct ntm_dc *dc, char *why, size_t cap)
{
	const struct ntm_dc_dns_config *c = &dc->conf->dns;
	struct ntm_dns_update_settings s = {
	    .server = c->server,
	    .key_name = c->key_name,
	    .reverse = (const char *const *)c->reverse_zones.items,
	    .n_reverse = c->reverse_zones.n,
	};
	char *key, addr[NTM_ADDR_STRLEN];
	int err = ntm_dc_dns_key_load(c->key_file, &key, why, cap);

	if (err)
		return err;
	s.key = key;
	err = ntm_dns_update_start(&dc->dns->update, dc->loop, &dc->dns->zone, &s, why, cap);
	ntm_wipe(key, strlen(key));
	free(key);
	if (!err) {
		ntm_info("DNS: %s is kept up to date", ntm_addr_format(&c->server, addr));
		err = synchronise(dc);
		if (err)
			snprintf(why, cap, "cannot read all nodes for DNS: %s", strerror(-err));
	}
	return err;
}

/* A wildcard is no address to find a server by. */
static void warn_of_names_without_address(const struct ntm_dc_dns *d)
{
	static const enum ntm_dns_place places[] = {NTM_DNS_AT_NS, NTM_DNS_AT_DC};

	for (int i = 0; i < 2; i++) {
		const struct ntm_dns_spot at = {.place = places[i]};
		ldns_rr_list *l = ldns_rr_list_new();
		bool exists;

		if (l && !ntm_dns_records(&d->zone, &at, d->zone.ns, LDNS_RR_TYPE_ANY, l, &exists) &&
		    !ldns_rr_list_rr_count(l))
			ntm_warn("DNS: %s has no address: %s says on which to listen, but not where that is",
				 i ? "the DC" : "the name server", i ? "listen" : "dns_listen");
		ldns_rr_list_deep_free(l);
	}
}

static int start_server(struct ntm_dc *dc, char *why, size_t cap)
{
	const struct ntm_addr_list *l = &dc->conf->dns_listen;
	char text[NTM_ADDR_STRLEN];
	int err = ntm_dns_server_start(&dc->dns->server, dc->loop, &dc->dns->zone, l->addrs, l->n, dc->conf->dns.rate,
				       why, cap);

	for (size_t i = 0; !err && i < l->n; i++)
		ntm_info("DNS: listening on %s", ntm_addr_format(ntm_dc_dns_bound(dc, i), text));
	if (!err)
		warn_of_names_without_address(dc->dns);
	return err;
}

int ntm_dc_dns_start(struct ntm_dc *dc, char *why, size_t cap)
{
	bool update = dc->conf->dns.mode == NTM_DC_DNS_UPDATE;
	int err;

	if (!update && !dc->conf->dns_listen.n)
		return 0;
	snprintf(why, cap, "out of memory");
	dc->dns = calloc(1, sizeof(*dc->dns));
	if (!dc->dns)
		return -ENOMEM;
	err = init_zone(dc, dc->dns);
	if (err)
		return err;
	return update ? start_update(dc, why, cap) : start_server(dc, why, cap);
}

void ntm_dc_dns_stop(struct ntm_dc *dc)
{
	struct ntm_dc_dns *d = dc->dns;

	if (d && d->server)
		ntm_dns_server_stop(d->server);
	if (d && d->update)
		ntm_dns_update_stop(d->update);
	if (d) {
		d->server = NULL;
		d->update = NULL;
	}
}

void ntm_dc_dns_free(struct ntm_dc *dc)
{
	if (dc->dns)
		ntm_dns_zone_free(&dc->dns->zone);
	free(dc->dns);
	dc->dns = NULL;
}

static void addresses(const struct ntm_dc *dc, const struct ntm_node_record *rec, uint8_t vip4[4], uint8_t vip6[16])
{
	memset(vip4, 0, 4);
	memset(vip6, 0, 16);
	if (rec->index)
		ntm_pool_addresses(&dc->conf->pool, rec->index, vip4, vip6);
}

void ntm_dc_dns_heard(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	uint8_t vip4[4], vip6[16];

	if (!dc->dns || !dc->dns->server)
		return;
	addresses(dc, rec, vip4, vip6);
	ntm_dns_server_forget(dc->dns->server, rec->label, vip4, vip6);
}

void ntm_dc_dns_unsure(struct ntm_dc *dc)
{
	if (dc->dns && dc->dns->server)
		ntm_dns_server_forget_all(dc->dns->server);
}

void ntm_dc_dns_changed(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	uint8_t vip4[4], vip6[16];

	if (!dc->dns)
		return;
	dc->dns->dirty = true;
	ntm_dc_dns_heard(dc, rec);
	if (!dc->dns->update)
		return;
	addresses(dc, rec, vip4, vip6);
	if (ntm_dns_update_changed(dc->dns->update, rec->label, vip4, vip6))
		ntm_warn_limited("DNS: out of memory: %s is not updated until the next change", rec->label);
}

void ntm_dc_dns_moved(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	if (dc->dns && dc->conf->dns.publish == NTM_DNS_REAL)
		ntm_dc_dns_changed(dc, rec);
}

const struct ntm_dns_stats *ntm_dc_dns_server_stats(const struct ntm_dc *dc)
{
	return dc->dns && dc->dns->server ? ntm_dns_server_stats(dc->dns->server) : NULL;
}

bool ntm_dc_dns_update_stats(const struct ntm_dc *dc, struct ntm_dns_update_stats *out)
{
	if (!dc->dns || !dc->dns->update)
		return false;
	*out = ntm_dns_update_stats(dc->dns->update);
	return true;
}

const struct ntm_addr *ntm_dc_dns_bound(const struct ntm_dc *dc, size_t i)
{
	return dc->dns && dc->dns->server ? ntm_dns_server_bound(dc->dns->server, i) : NULL;
}
