/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way to general destinations on a node: a routing table of its own with routes into ntm0, and rules right before
 * the one for the table main:
 *
 *   32700  with the mark: go on at 32703
 *   32701  main, but for its default routes: what is near stays near
 *   32702  from the virtual address: our table
 *   32702  without a source yet (IPv4): our table, whose routes then give the virtual address
 *   32703  main, as it would be next anyway
 *
 * So what has a real address for its source goes its own way: the outer packets, answers to who came to a real address,
 * and whatever is bound to one. Sockets of the agent have no source at first, so they have the mark.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../common/log.h"
#include "hostif.h"

enum { PREF_MARK = 32700, PREF_NEAR, PREF_OURS, PREF_MAIN };
enum { TABLE_MAIN = 254, RULES_MAX = 32, ROUTES_MAX = 512 };

/* Limited to one link, or to be decided by who asks for an interface: what main says about them holds. */
static const struct {
	uint8_t dst[4], len;
} left_alone[] = {{{224}, 4}, {{169, 254}, 16}, {{255, 255, 255, 255}, 32}};
enum { N_LEFT_ALONE = sizeof(left_alone) / sizeof(left_alone[0]) };

struct rules {
	struct ntm_rule r[RULES_MAX];
	size_t n;
};

static void collect_rule(void *arg, const struct ntm_rule *rule)
{
	struct rules *s = arg;
	if (s->n < RULES_MAX)
		s->r[s->n++] = *rule;
}

static bool same_rule(const struct ntm_rule *a, const struct ntm_rule *b)
{
	return a->family == b->family && a->pref == b->pref && a->table == b->table && a->has_src == b->has_src &&
	       !memcmp(a->src, b->src, sizeof(a->src)) && a->go_on == b->go_on && a->mark == b->mark &&
	       a->no_default == b->no_default;
}

static bool has_rule(const struct rules *s, const struct ntm_rule *rule)
{
	for (size_t i = 0; i < s->n; i++)
		if (same_rule(&s->r[i], rule))
			return true;
	return false;
}

static bool is_v4(const struct ntm_prefix *p)
{
	return p->len >= 96 && ntm_ip_is_v4(p->ip);
}

static bool wants(const struct ntm_hostif *h, bool v4)
{
	for (size_t i = 0; i < h->general->n; i++)
		if (is_v4(&h->general->prefixes[i]) == v4)
			return true;
	return false;
}

static void wanted_of(const struct ntm_hostif *h, int family, struct rules *out)
{
	struct ntm_rule ours = {.family = family, .pref = PREF_OURS, .table = h->general->table, .has_src = true};
	collect_rule(out, &(struct ntm_rule){.family = family, .pref = PREF_MAIN, .table = TABLE_MAIN});
	collect_rule(
	    out, &(struct ntm_rule){.family = family, .pref = PREF_MARK, .mark = h->general->mark, .go_on = PREF_MAIN});
	collect_rule(out,
		     &(struct ntm_rule){.family = family, .pref = PREF_NEAR, .table = TABLE_MAIN, .no_default = true});
	if (family == AF_INET)
		collect_rule(out, &ours);
	if (family == AF_INET)
		memcpy(ours.src, &h->settings->vip4, 4);
	else
		memcpy(ours.src, h->settings->vip6, 16);
	collect_rule(out, &ours);
}

static void wanted_rules(const struct ntm_hostif *h, struct rules *out)
{
	if (wants(h, true))
		wanted_of(h, AF_INET, out);
	if (wants(h, false))
		wanted_of(h, AF_INET6, out);
}

struct routes {
	struct {
		int family;
		uint8_t dst[16], len;
		bool leave;
	} r[ROUTES_MAX];
	size_t n;
};

static void collect_route(void *arg, const struct ntm_route *rt)
{
	struct routes *s = arg;
	if (s->n == ROUTES_MAX)
		return;
	s->r[s->n].family = rt->family;
	s->r[s->n].len = rt->len;
	s->r[s->n].leave = rt->leave;
	memcpy(s->r[s->n++].dst, rt->dst, rt->family == AF_INET ? 4 : 16);
}

static bool is_wanted_route(struct ntm_hostif *h, const struct ntm_route *have)
{
	struct ntm_route rt;
	for (size_t i = 0; i < N_LEFT_ALONE && have->leave; i++)
		if (have->family == AF_INET && wants(h, true) && have->len == left_alone[i].len &&
		    !memcmp(have->dst, left_alone[i].dst, 4))
			return true;
	for (size_t i = 0; i < h->general->n && !have->leave; i++) {
		ntm_hostif_route(h, &h->general->prefixes[i], 0, &rt);
		if (rt.family == have->family && rt.len == have->len &&
		    !memcmp(rt.dst, have->dst, rt.family == AF_INET ? 4 : 16))
			return true;
	}
	return false;
}

/* Takes out of a table of ours what is there and not wanted. */
static int prune_table(struct ntm_hostif *h, uint32_t table)
{
	struct routes *have = calloc(1, sizeof(*have));
	if (!have)
		return -ENOMEM;
	int err = ntm_rtnl_route_dump(h->rtnl, table, collect_route, have);
	for (size_t i = 0; i < have->n && !err; i++) {
		struct ntm_route rt = {.family = have->r[i].family,
				       .dst = have->r[i].dst,
				       .len = have->r[i].len,
				       .leave = have->r[i].leave,
				       .table = table};
		if (table == h->general->table && is_wanted_route(h, &rt))
			continue;
		err = ntm_rtnl_route_del(h->rtnl, &rt);
		if (err == -ESRCH)
			err = 0;
	}
	free(have);
	return err;
}

static int prune_rules(struct ntm_hostif *h, const struct rules *have, const struct rules *wanted, bool has_src)
{
	int err = 0;
	for (size_t i = 0; i < have->n && !err; i++) {
		if (have->r[i].has_src != has_src || has_rule(wanted, &have->r[i]))
			continue;
		err = ntm_rtnl_rule_del(h->rtnl, &have->r[i]);
		if (err == -ENOENT || err == -EAFNOSUPPORT)
			err = 0;
	}
	return err;
}

/* First the rules that lead to our table: no packet is to get there while it is emptied, none with the mark at all. */
static int prune(struct ntm_hostif *h, const struct rules *wanted)
{
	struct rules have = {.n = 0};
	int err = ntm_rtnl_rule_dump(h->rtnl, collect_rule, &have);
	if (!err)
		err = prune_rules(h, &have, wanted, true);
	if (!err)
		err = prune_rules(h, &have, wanted, false);
	for (size_t i = 0; i < have.n && !err; i++)
		if (have.r[i].table && have.r[i].table != TABLE_MAIN)
			err = prune_table(h, have.r[i].table);
	return err;
}

int ntm_hostif_general_routes(struct ntm_hostif *h, uint16_t mtu)
{
	int err = 0;
	for (size_t i = 0; i < h->general->n && !err; i++) {
		struct ntm_route rt;
		ntm_hostif_route(h, &h->general->prefixes[i], mtu, &rt);
		rt.table = h->general->table;
		err = ntm_rtnl_route_set(h->rtnl, &rt);
	}
	for (size_t i = 0; i < N_LEFT_ALONE && !err && wants(h, true); i++)
		err = ntm_rtnl_route_set(h->rtnl, &(struct ntm_route){.family = AF_INET,
								      .dst = left_alone[i].dst,
								      .len = left_alone[i].len,
								      .table = h->general->table,
								      .leave = true});
	return err;
}

int ntm_hostif_general(struct ntm_hostif *h, const struct ntm_dp_general *g, uint16_t mtu)
{
	struct rules wanted = {.n = 0};
	struct ntm_prefix *copy = NULL;
	if (g->n > ROUTES_MAX - N_LEFT_ALONE || (g->n && (!g->table || g->table == TABLE_MAIN || !g->mark)))
		return -EINVAL;
	if (g->n && !h->settings->pool4_len)
		return -EADDRNOTAVAIL; /* whose packets, is not known yet */
	if (g->n) {
		copy = malloc(g->n * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, g->prefixes, g->n * sizeof(*copy));
	}
	const struct ntm_dp_general now = *g; /* it may be ours */
	ntm_hostif_general_free(h);
	*h->general = now;
	h->general->prefixes = *h->general_prefixes = copy;
	wanted_rules(h, &wanted);
	int err = ntm_hostif_general_routes(h, mtu);
	if (!err)
		err = prune(h, &wanted);
	for (size_t i = 0; i < wanted.n && !err; i++) {
		err = ntm_rtnl_rule_add(h->rtnl, &wanted.r[i]);
		if (err == -EEXIST)
			err = 0;
	}
	return err;
}

int ntm_hostif_general_clear(struct ntm_hostif *h)
{
	const struct rules none = {.n = 0};
	ntm_hostif_general_free(h);
	return prune(h, &none);
}

void ntm_hostif_general_free(struct ntm_hostif *h)
{
	free(*h->general_prefixes);
	*h->general_prefixes = NULL;
	*h->general = (struct ntm_dp_general){0};
}
