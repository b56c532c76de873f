/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration read again while the DC runs: what is taken over, and what is not. */
#include <stdio.h>
#include <string.h>

#include "../user/common/log.h"
#include "dc.h"

static bool same_prefixes(const struct ntm_dc_prefixes *a, const struct ntm_dc_prefixes *b)
{
	return a->n == b->n && (!a->n || !memcmp(a->items, b->items, a->n * sizeof(*a->items)));
}

size_t ntm_dc_config_fixed(const struct ntm_dc_config *was, const struct ntm_dc_config *now, char *text, size_t cap)
{
	const struct {
		const char *name;
		bool same;
	} all[] = {
	    {"zone", !strcmp(was->zone, now->zone)},
	    {"listen", ntm_addr_list_equal(&was->listen, &now->listen)},
	    {"private_key_file", ntm_text_equal(was->private_key_file, now->private_key_file)},
	    {"vip4_pool", !memcmp(&was->vip4_pool, &now->vip4_pool, sizeof(now->vip4_pool))},
	    {"vip6_pool", !memcmp(&was->vip6_pool, &now->vip6_pool, sizeof(now->vip6_pool))},
	    {"store", ntm_text_equal(was->store_file, now->store_file)},
	    {"process_address", ntm_addr_list_equal(&was->process_address, &now->process_address)},
	    {"dns_listen", ntm_addr_list_equal(&was->dns_listen, &now->dns_listen)},
	    {"dns", was->dns.mode == now->dns.mode},
	    {"publish", was->dns.publish == now->dns.publish},
	    {"dns_transfer", same_prefixes(&was->dns.transfer, &now->dns.transfer)},
	    {"dns_rate_limit", was->dns.rate == now->dns.rate},
	    {"dns_server", ntm_addr_equal(&was->dns.server, &now->dns.server)},
	    {"dns_key_name", ntm_text_equal(was->dns.key_name, now->dns.key_name)},
	    {"dns_key_file", ntm_text_equal(was->dns.key_file, now->dns.key_file)},
	    {"dns_reverse_zones", ntm_string_list_equal(&was->dns.reverse_zones, &now->dns.reverse_zones)},
	    {"runtime_dir", ntm_text_equal(was->runtime_dir, now->runtime_dir)},
	    {"admin_group", ntm_text_equal(was->admin_group, now->admin_group)},
	    {"metrics_listen", ntm_listen_equal(&was->metrics_listen, &now->metrics_listen)},
	};
	size_t n = 0, len = 0;

	*text = 0;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].same || len >= cap)
			continue;
		len += (size_t)snprintf(text + len, cap - len, "%s%s", n++ ? ", " : "", all[i].name);
	}
	return n;
}

void ntm_dc_reload(struct ntm_dc *dc, const struct ntm_dc_config *now)
{
	const struct ntm_dc_config *was = dc->conf;
	char why[512];
	int err = ntm_dc_relays_apply(dc, &now->relays);

	if (err)
		ntm_err("not all relays were taken over: %s", strerror(-err));
	err = ntm_dc_peers_reload(dc, &now->peers);
	if (err)
		ntm_err("not all peers were taken over: %s", strerror(-err));
	if (ntm_dc_identities_load(&dc->ids, now, why, sizeof(why)))
		ntm_err("%s: the next and the previous key stay as they were", why);
	ntm_dc_responder_set_keys(dc->responder, &dc->ids);
	ntm_dc_news(dc);
	if (ntm_dc_audit_open(&dc->audit, now->audit_file, why, sizeof(why)))
		ntm_err("%s: the audit log stays as it was", why);
	if (ntm_dc_policy_set(dc, now->policy_file, why, sizeof(why)))
		ntm_err("%s: the policy stays as it was", why);
	ntm_dc_dns_unsure(dc);
	ntm_dc_audit(dc, "signal", "reload", NULL, NULL);
	if (ntm_dc_config_fixed(was, now, why, sizeof(why)))
		ntm_warn("changed in the configuration, but only a restart takes it over: %s", why);
}
