/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "relay.h"

/* What an RS without a gateway is asked of its node's data plane is either nothing to do, or not possible. */

static bool adopted(struct ntm_dp *dp)
{
	(void)dp;
	return false;
}

static void foreach(struct ntm_dp *dp, void (*fn)(void *arg, const struct ntm_dp_path *p), void *arg)
{
	(void)dp;
	(void)fn;
	(void)arg;
}

static int set_addresses(struct ntm_dp *dp, const struct ntm_dp_addresses *a)
{
	(void)dp;
	(void)a;
	return 0;
}

static int get_addresses(struct ntm_dp *dp, struct ntm_dp_addresses *a)
{
	(void)dp;
	(void)a;
	return -ENOENT;
}

static int set_uplinks(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	(void)dp;
	(void)u;
	(void)n;
	(void)why;
	(void)cap;
	return 0;
}

static int set_general(struct ntm_dp *dp, const struct ntm_dp_general *g)
{
	(void)dp;
	return g->n ? -EOPNOTSUPP : 0;
}

static int add_path(struct ntm_dp *dp, const struct ntm_dp_path *p)
{
	(void)dp;
	(void)p;
	return -EOPNOTSUPP;
}

static int set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send)
{
	(void)dp;
	(void)path_id;
	(void)k;
	(void)send;
	return -ENOENT;
}

static int no_path(struct ntm_dp *dp, uint64_t path_id)
{
	(void)dp;
	(void)path_id;
	return -ENOENT;
}

static int set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms)
{
	(void)ep;
	(void)hold_ms;
	return no_path(dp, path_id);
}

static int set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer)
{
	(void)inner_mtu;
	(void)small_outer;
	return no_path(dp, path_id);
}

static int stats(struct ntm_dp *dp, uint64_t path_id, struct ntm_dp_stats *s)
{
	(void)s;
	return no_path(dp, path_id);
}

static int endpoint(struct ntm_dp *dp, uint64_t path_id, struct ntm_addr *ep)
{
	(void)ep;
	return no_path(dp, path_id);
}

static int counters(struct ntm_dp *dp, struct ntm_counter *out)
{
	(void)dp;
	memset(out, 0, NTM_R_COUNT * sizeof(*out));
	return 0;
}

static struct ntm_path_agent *agent_record(struct ntm_dp *dp, uint64_t path_id)
{
	(void)dp;
	(void)path_id;
	return NULL;
}

static int seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		size_t *out_len)
{
	(void)inner;
	(void)len;
	(void)out;
	(void)cap;
	(void)out_len;
	return no_path(dp, path_id);
}

static int open_datagram(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from)
{
	(void)dp;
	(void)datagram;
	(void)len;
	(void)from;
	return -ENOENT;
}

static int no_fd(struct ntm_dp *dp)
{
	(void)dp;
	return -1;
}

static void dispatch(struct ntm_dp *dp)
{
	(void)dp;
}

static void close_dp(struct ntm_dp *dp, bool keep)
{
	(void)dp;
	(void)keep;
}

static const struct ntm_dp_ops ops = {
    .adopted = adopted,
    .foreach = foreach,
    .set_addresses = set_addresses,
    .get_addresses = get_addresses,
    .set_uplinks = set_uplinks,
    .set_general = set_general,
    .add_path = add_path,
    .set_keys = set_keys,
    .activate = no_path,
    .set_endpoint = set_endpoint,
    .set_mtu = set_mtu,
    .del_path = no_path,
    .stats = stats,
    .endpoint = endpoint,
    .counters = counters,
    .agent_record = agent_record,
    .seal = seal,
    .open = open_datagram,
    .fd = no_fd,
    .dispatch = dispatch,
    .close = close_dp,
};

int ntm_dp_none_open(struct ntm_dp **out)
{
	static struct ntm_dp none = {.ops = &ops};

	*out = &none;
	return 0;
}
