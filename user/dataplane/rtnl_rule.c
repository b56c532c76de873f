/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing tables of our own, and the policy rules that lead there. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "rtnl_int.h"

static size_t family_len(int family)
{
	return family == AF_INET ? 4 : 16;
}

static int rule_request(struct ntm_rtnl *r, uint16_t type, uint16_t flags, const struct ntm_rule *rule)
{
	char buf[NTM_RTNL_REQUEST] = {0};
	void *extra;
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, type, flags, &extra, sizeof(struct fib_rule_hdr));
	struct fib_rule_hdr *h = extra;
	h->family = (uint8_t)rule->family;
	h->action = rule->go_on ? FR_ACT_GOTO : FR_ACT_TO_TBL;
	h->table = RT_TABLE_UNSPEC;
	if (rule->go_on)
		mnl_attr_put_u32(nlh, FRA_GOTO, rule->go_on);
	else
		mnl_attr_put_u32(nlh, FRA_TABLE, rule->table);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, rule->pref);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, NTM_RTPROT);
	if (rule->has_src) {
		h->src_len = (uint8_t)(8 * family_len(rule->family));
		mnl_attr_put(nlh, FRA_SRC, family_len(rule->family), rule->src);
		/* IPv6 has no source before it has a route: then the one that the route would give is looked at. */
		if (rule->family == AF_INET6)
			h->flags |= FIB_RULE_FIND_SADDR;
	}
	if (rule->mark) {
		mnl_attr_put_u32(nlh, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(nlh, FRA_FWMASK, UINT32_MAX);
	}
	if (rule->no_default)
		mnl_attr_put_u32(nlh, FRA_SUPPRESS_PREFIXLEN, 0);
	return ntm_rtnl_talk(r, nlh, NULL, NULL);
}

int ntm_rtnl_rule_add(struct ntm_rtnl *r, const struct ntm_rule *rule)
{
	return rule_request(r, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, rule);
}

int ntm_rtnl_rule_del(struct ntm_rtnl *r, const struct ntm_rule *rule)
{
	return rule_request(r, RTM_DELRULE, 0, rule);
}

struct rule_dump {
	void (*fn)(void *arg, const struct ntm_rule *rule);
	void *arg;
};

static int rule_cb(const struct nlmsghdr *nlh, void *arg)
{
	const struct rule_dump *d = arg;
	const struct fib_rule_hdr *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	struct ntm_rule rule = {.family = h->family, .table = h->table};
	uint8_t protocol = 0;
	if (nlh->nlmsg_type != RTM_NEWRULE || (h->family != AF_INET && h->family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*h))
	{
		uint16_t type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);
		if (type == FRA_PROTOCOL && len >= 1) {
			protocol = mnl_attr_get_u8(a);
		} else if (type == FRA_SRC && len == family_len(h->family)) {
			rule.has_src = true;
			memcpy(rule.src, mnl_attr_get_payload(a), len);
		} else if (len < sizeof(uint32_t)) {
			continue;
		} else if (type == FRA_TABLE) {
			rule.table = mnl_attr_get_u32(a);
		} else if (type == FRA_GOTO) {
			rule.go_on = mnl_attr_get_u32(a);
		} else if (type == FRA_PRIORITY) {
			rule.pref = mnl_attr_get_u32(a);
		} else if (type == FRA_FWMARK) {
			rule.mark = mnl_attr_get_u32(a);
		} else if (type == FRA_SUPPRESS_PREFIXLEN) {
			rule.no_default = mnl_attr_get_u32(a) == 0;
		}
	}
	/* IPv4 does not name the source 0.0.0.0. */
	if (h->src_len == 8 * family_len(h->family))
		rule.has_src = true;
	if (rule.go_on)
		rule.table = 0;
	if (protocol == NTM_RTPROT)
		d->fn(d->arg, &rule);
	return MNL_CB_OK;
}

int ntm_rtnl_rule_dump(struct ntm_rtnl *r, void (*fn)(void *arg, const struct ntm_rule *rule), void *arg)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct rule_dump d = {fn, arg};
	for (size_t i = 0; i < sizeof(families); i++) {
		char buf[NTM_RTNL_REQUEST] = {0};
		void *extra;
		struct nlmsghdr *nlh =
		    ntm_rtnl_request(buf, RTM_GETRULE, NLM_F_DUMP, &extra, sizeof(struct fib_rule_hdr));
		((struct fib_rule_hdr *)extra)->family = families[i];
		int err = ntm_rtnl_talk(r, nlh, rule_cb, &d);
		if (err && err != -EAFNOSUPPORT)
			return err;
	}
	return 0;
}

struct route_dump {
	uint32_t table;
	void (*fn)(void *arg, const struct ntm_route *rt);
	void *arg;
};

static int route_cb(const struct nlmsghdr *nlh, void *arg)
{
	static const uint8_t none[16];
	const struct route_dump *d = arg;
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a;
	struct ntm_route rt = {.family = rtm->rtm_family,
			       .dst = none,
			       .len = rtm->rtm_dst_len,
			       .table = rtm->rtm_table,
			       .leave = rtm->rtm_type == RTN_THROW};
	if (nlh->nlmsg_type != RTM_NEWROUTE || rtm->rtm_protocol != NTM_RTPROT ||
	    (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_for_each(a, nlh, sizeof(*rtm))
	{
		uint16_t type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);
		if (type == RTA_DST && len == family_len(rtm->rtm_family))
			rt.dst = mnl_attr_get_payload(a);
		else if (type == RTA_TABLE && len == sizeof(uint32_t))
			rt.table = mnl_attr_get_u32(a);
		else if (type == RTA_OIF && len == sizeof(uint32_t))
			rt.ifindex = mnl_attr_get_u32(a);
	}
	if (rt.table == d->table)
		d->fn(d->arg, &rt);
	return MNL_CB_OK;
}

int ntm_rtnl_route_dump(struct ntm_rtnl *r, uint32_t table, void (*fn)(void *arg, const struct ntm_route *rt),
			void *arg)
{
	char buf[NTM_RTNL_REQUEST] = {0};
	void *extra;
	struct route_dump d = {table, fn, arg};
	struct nlmsghdr *nlh = ntm_rtnl_request(buf, RTM_GETROUTE, NLM_F_DUMP, &extra, sizeof(struct rtmsg));
	return ntm_rtnl_talk(r, nlh, route_cb, &d);
}
