/* SPDX-License-Identifier: BSD-2-Clause */
#include "nat.h"

#include <errno.h>
#include <stdio.h>

#include "../common/nft.h"

/*
 * raw: a virtual address in the clear is nobody's. input: by the tunnel this host is reached at its virtual addresses
 * only. forward: clients to general nodes and the answers, never to each other. An accept here is no more than no
 * objection: the host's own chains have their say, too.
 */
int ntm_nat_script(const struct ntm_nat *c, char *out, size_t cap)
{
	static const char text[] =
	    "table inet ntm_gateway\n"
	    "delete table inet ntm_gateway\n"
	    "table inet ntm_gateway {\n"
	    "	chain clear {\n"
	    "		type filter hook prerouting priority raw; policy accept;\n"
	    "		iifname { \"%1$s\", \"lo\" } accept\n"
	    "		ip saddr %2$s counter drop\n"
	    "		ip daddr %2$s counter drop\n"
	    "		ip6 saddr %3$s counter drop\n"
	    "		ip6 daddr %3$s counter drop\n"
	    "	}\n"
	    "	chain input {\n"
	    "		type filter hook input priority filter; policy accept;\n"
	    "		iifname \"%1$s\" ip daddr != %2$s counter drop\n"
	    "		iifname \"%1$s\" ip6 daddr != %3$s counter drop\n"
	    "	}\n"
	    "	chain forward {\n"
	    "		type filter hook forward priority filter; policy accept;\n"
	    "		iifname \"%1$s\" oifname \"%1$s\" counter drop\n"
	    "		iifname \"%1$s\" ip saddr %2$s ip daddr != %2$s counter accept\n"
	    "		iifname \"%1$s\" ip6 saddr %3$s ip6 daddr != %3$s counter accept\n"
	    "		iifname \"%1$s\" counter drop\n"
	    "		oifname \"%1$s\" ct state established,related counter accept\n"
	    "		oifname \"%1$s\" counter drop\n"
	    "%4$s%5$s"
	    "	}\n"
	    "	chain postrouting {\n"
	    "		type nat hook postrouting priority srcnat; policy accept;\n"
	    "		oifname != \"%1$s\" ip saddr %2$s ip daddr != %2$s counter masquerade\n"
	    "		oifname != \"%1$s\" ip6 saddr %3$s ip6 daddr != %3$s counter masquerade\n"
	    "	}\n"
	    "}\n";
	char pool4[NTM_ADDR_STRLEN], pool6[NTM_ADDR_STRLEN];
	int n = snprintf(out, cap, text, c->ifname, ntm_prefix_format(&c->pool4, pool4),
			 ntm_prefix_format(&c->pool6, pool6),
			 c->only_ours4 ? "		meta nfproto ipv4 counter drop\n" : "",
			 c->only_ours6 ? "		meta nfproto ipv6 counter drop\n" : "");

	return n < 0 || (size_t)n >= cap ? -ENOSPC : n;
}

int ntm_nat_check(char *why, size_t cap)
{
	struct ntm_nat example = {.ifname = "ntm0", .only_ours4 = true, .only_ours6 = true};
	char script[NTM_NAT_SCRIPT_MAX];
	int len, err = ntm_prefix_parse("100.96.0.0/12", &example.pool4);

	if (!err)
		err = ntm_prefix_parse("fd4e:544d::/48", &example.pool6);
	if (err)
		return err;
	len = ntm_nat_script(&example, script, sizeof(script));
	return len < 0 ? len : ntm_nft_run("-c", script, (size_t)len, why, cap);
}

int ntm_nat_set(const struct ntm_nat *c, char *why, size_t cap)
{
	char script[NTM_NAT_SCRIPT_MAX];
	int len = ntm_nat_script(c, script, sizeof(script));

	if (len < 0) {
		snprintf(why, cap, "the gateway's table does not fit");
		return len;
	}
	return ntm_nft_run(NULL, script, (size_t)len, why, cap);
}

int ntm_nat_remove(char *why, size_t cap)
{
	/* Made first, as deleting what is not there is an error. */
	static const char script[] = "table inet ntm_gateway\ndelete table inet ntm_gateway\n";

	return ntm_nft_run(NULL, script, sizeof(script) - 1, why, cap);
}
