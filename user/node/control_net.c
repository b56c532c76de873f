/* SPDX-License-Identifier: BSD-2-Clause */
/* relays and netcheck as JSON. */
#include <stdio.h>
#include <string.h>

#include "node.h"
#include "relays.h"

static json_object *address(const struct ntm_addr *a)
{
	char text[NTM_ADDR_STRLEN];

	return a->port ? json_object_new_string(ntm_addr_format(a, text)) : NULL;
}

static json_object *rtt(const struct ntm_relay_known *k)
{
	uint32_t us = k->seen[0].rtt_us < k->seen[1].rtt_us ? k->seen[0].rtt_us : k->seen[1].rtt_us;
	char text[32];

	if (us == NTM_RELAY_RTT_NONE)
		return NULL;
	snprintf(text, sizeof(text), "%u.%03u", us / 1000, us % 1000);
	return json_object_new_double_s(us / 1000.0, text);
}

static bool uses(const struct ntm_tunnel *t, const struct ntm_relay_info *r)
{
	return (r->ep4.port && ntm_addr_equal(&t->bind.relay.ep4, &r->ep4)) ||
	       (r->ep6.port && ntm_addr_equal(&t->bind.relay.ep6, &r->ep6));
}

json_object *ntm_control_relays(struct ntm_node *n)
{
	json_object *list = json_object_new_array();

	for (unsigned i = 0; i < n->relays.n && list; i++) {
		const struct ntm_relay_known *k = &n->relays.r[i];
		json_object *o = json_object_new_object();
		unsigned bound = 0, through = 0;

		for (const struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
			if (!uses(t, &k->offer.relay))
				continue;
			bound += t->bind.bound;
			through += t->route.kind == NTM_ROUTE_RELAY;
		}
		json_object_object_add(o, "name", json_object_new_string(k->offer.relay.name));
		json_object_object_add(o, "rtt_ms", rtt(k));
		json_object_object_add(o, "endpoint4", address(&k->offer.relay.ep4));
		json_object_object_add(o, "endpoint6", address(&k->offer.relay.ep6));
		json_object_object_add(o, "bound", json_object_new_int((int)bound));
		json_object_object_add(o, "paths", json_object_new_int((int)through));
		json_object_array_add(list, o);
	}
	return list;
}

static void add_once(json_object *list, const struct ntm_addr *a, bool v6)
{
	char text[NTM_ADDR_STRLEN];

	if (!a->port || ntm_ip_is_v4(a->ip) == v6)
		return;
	ntm_addr_format(a, text);
	for (size_t i = 0; i < json_object_array_length(list); i++)
		if (!strcmp(json_object_get_string(json_object_array_get_idx(list, i)), text))
			return;
	json_object_array_add(list, json_object_new_string(text));
}

static json_object *reflexive(const struct ntm_node *n, bool v6)
{
	json_object *list = json_object_new_array();

	add_once(list, &n->dc.reflexive, v6);
	for (unsigned i = 0; i < n->relays.n; i++)
		add_once(list, &n->relays.r[i].seen[v6].observed, v6);
	return list;
}

static json_object *measured_relays(const struct ntm_node *n)
{
	json_object *list = json_object_new_array();

	for (unsigned i = 0; i < n->relays.n; i++) {
		const struct ntm_relay_known *k = &n->relays.r[i];
		bool v6 = k->seen[1].rtt_us < k->seen[0].rtt_us;
		json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(k->offer.relay.name));
		json_object_object_add(o, "rtt_ms", rtt(k));
		json_object_object_add(o, "endpoint", address(v6 ? &k->offer.relay.ep6 : &k->offer.relay.ep4));
		json_object_array_add(list, o);
	}
	return list;
}

json_object *ntm_control_netcheck(struct ntm_node *n)
{
	json_object *o = json_object_new_object(), *seen4 = reflexive(n, false), *seen6 = reflexive(n, true);
	size_t n4 = json_object_array_length(seen4), n6 = json_object_array_length(seen6);

	json_object_object_add(o, "udp4", json_object_new_boolean(n4 > 0));
	json_object_object_add(o, "udp6", json_object_new_boolean(n6 > 0));
	json_object_object_add(o, "nat4", json_object_new_boolean(ntm_mapping_is_nat(n)));
	json_object_object_add(o, "reflexive4", seen4);
	json_object_object_add(o, "reflexive6", seen6);
	json_object_object_add(o, "mapping_varies", json_object_new_boolean(n4 > 1 || n6 > 1));
	json_object_object_add(o, "mapping_survives_s",
			       n->mapping.proven_s ? json_object_new_int(n->mapping.proven_s) : NULL);
	json_object_object_add(o, "keepalive_s", json_object_new_int((int)(ntm_mapping_keepalive_ms(n) / 1000)));
	json_object_object_add(o, "relays", measured_relays(n));
	return o;
}
