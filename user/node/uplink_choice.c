/* SPDX-License-Identifier: BSD-2-Clause */
#include "uplink_choice.h"

#include <string.h>

static bool has_default(const struct ntm_uplink_info *u)
{
	return u->default4 || u->default6;
}

/* Takes over what is known of those that are still there; the others begin now. */
static void note(struct ntm_uplink_choice *c, const struct ntm_uplink_info *u, unsigned n, uint64_t now_ms,
		 uint32_t settle_ms)
{
	struct ntm_uplink_choice old = *c;

	c->n = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!has_default(&u[i]))
			continue;
		c->known[c->n].ifindex = u[i].dp.ifindex;
		c->known[c->n].since_ms = now_ms;
		/* What there is when the agent begins is no newcomer. */
		c->known[c->n].settled = !old.begun;
		for (unsigned j = 0; j < old.n; j++)
			if (old.known[j].ifindex == u[i].dp.ifindex)
				c->known[c->n] = old.known[j];
		c->known[c->n].settled |= now_ms - c->known[c->n].since_ms >= settle_ms;
		c->n++;
	}
	c->begun = true;
}

static unsigned rank(const struct ntm_uplink_choice *c, const struct ntm_uplink_info *u)
{
	if (!has_default(u))
		return 2;
	for (unsigned i = 0; i < c->n; i++)
		if (c->known[i].ifindex == u->dp.ifindex)
			return c->known[i].settled ? 0 : 1;
	return 1;
}

uint64_t ntm_uplink_choice(struct ntm_uplink_choice *c, struct ntm_uplink_info *u, unsigned n, uint64_t now_ms,
			   uint32_t settle_ms)
{
	struct ntm_uplink_info in[NTM_UPLINKS_MAX];
	uint64_t next = 0;
	unsigned out = 0;

	if (n > NTM_UPLINKS_MAX)
		n = NTM_UPLINKS_MAX;
	note(c, u, n, now_ms, settle_ms);
	memcpy(in, u, n * sizeof(*u));
	for (unsigned r = 0; r <= 2; r++)
		for (unsigned i = 0; i < n; i++)
			if (rank(c, &in[i]) == r)
				u[out++] = in[i];
	for (unsigned i = 0; i < c->n; i++) {
		uint64_t left;

		/* In use: from now on it is what others must outlast. */
		if (c->known[i].ifindex == u[0].dp.ifindex)
			c->known[i].settled = true;
		if (c->known[i].settled)
			continue;
		left = c->known[i].since_ms + settle_ms - now_ms;
		if (!next || left < next)
			next = left;
	}
	return next;
}
