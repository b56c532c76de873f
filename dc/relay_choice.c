/* SPDX-License-Identifier: BSD-2-Clause */
/* Which relay serves two nodes best. */
#include <string.h>

#include "nodes.h"
#include "relays.h"

#define UNKNOWN_RTT_US 200000

enum { USABLE, SUSPECT = 1, UNREACHED = 2 }; /* added up: a lower sum is taken first whatever it costs */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Little while there is room, 100 ms and more towards the end: few would like such a relay better. */
static uint64_t fullness_us(uint64_t permille)
{
	return permille * 20 + (permille > 700 ? (permille - 700) * 300 : 0);
}

uint64_t ntm_dc_relay_load_us(const struct ntm_dc_relay *r)
{
	const struct ntm_load *l = &r->load;
	uint64_t paths = (uint64_t)l->paths + r->directed, seen = (uint64_t)l->packets_per_s + l->drops_per_s, us = 0;

	if (l->paths_max)
		us += fullness_us(least(paths * 1000 / l->paths_max, 1000));
	us += fullness_us(least(l->cpu_permille, 1000));
	/* anyone can make a relay drop forged packets: drops alone must not empty it */
	if (seen)
		us += (uint64_t)l->drops_per_s * 1000 / seen * 20;
	return us;
}

static const struct ntm_dc_rtt *measured(const struct ntm_dc_node *n, const struct ntm_dc_relay *r)
{
	for (unsigned i = 0; i < n->n_rtts; i++) {
		if (n->rtts[i].relay_id == r->id)
			return &n->rtts[i];
	}
	return NULL;
}

bool ntm_dc_relay_shares_family(const struct ntm_dc_node *n, const struct ntm_relay_info *info)
{
	bool v4 = info->ep4.port, v6 = info->ep6.port;

	if (n->rec.endpoint.port && (ntm_ip_is_v4(n->rec.endpoint.ip) ? v4 : v6))
		return true;
	for (unsigned i = 0; i < n->n_candidates; i++) {
		if (ntm_ip_is_v4(n->candidates[i].addr.ip) ? v4 : v6)
			return true;
	}
	return false;
}

/* Adds one end's part. False: this end cannot use it. */
static bool add_end(const struct ntm_dc_node *n, const struct ntm_dc_relay *r, uint64_t *us, int *doubt)
{
	const struct ntm_dc_rtt *rtt = measured(n, r);

	if (rtt && rtt->rtt_us != NTM_RELAY_RTT_NONE) {
		*us += rtt->rtt_us;
		return true;
	}
	*us += UNKNOWN_RTT_US;
	if (rtt)
		*doubt |= UNREACHED;
	return ntm_dc_relay_shares_family(n, &r->info);
}

static bool available(const struct ntm_dc_relay *r, const struct ntm_dc_relay_wish *w)
{
	return r->state == NTM_DC_RELAY_READY && r->node && r->node->session && !(r->bit & w->refused) &&
	       (!r->load.paths_max || (uint64_t)r->load.paths + r->directed < r->load.paths_max) &&
	       (!w->gateway || ntm_dc_relay_is_gateway(r));
}

struct ntm_dc_relay *ntm_dc_relay_choose(const struct ntm_dc_relays *rs, const struct ntm_dc_relay_wish *w)
{
	struct ntm_dc_relay *best = NULL;
	uint64_t best_us = 0;
	int best_doubt = 0;

	for (unsigned i = 0; i < rs->n; i++) {
		struct ntm_dc_relay *r = rs->items[i];
		uint64_t us = ntm_dc_relay_load_us(r);
		int doubt = USABLE;

		if (!available(r, w))
			continue;
		/* nothing was heard of it since it failed to take a path */
		if (r == w->suspect || (r->lost_ms && r->node->last_seen_ms <= r->lost_ms))
			doubt |= SUSPECT;
		if (!add_end(w->ends[0], r, &us, &doubt) || (w->ends[1] && !add_end(w->ends[1], r, &us, &doubt)))
			continue;
		if (best && (doubt > best_doubt || (doubt == best_doubt && us > best_us)))
			continue;
		if (best && doubt == best_doubt && us == best_us && strcmp(r->info.name, best->info.name) > 0)
			continue;
		best = r;
		best_us = us;
		best_doubt = doubt;
	}
	return best;
}
