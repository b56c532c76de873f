/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes hear of other zones and of the DC's keys with the answer to a Keep Alive. When one of these has changed they
 * are asked for a Keep Alive at once, some at a time, so that all of them don't come together; whoever does not hear
 * the question has its next one anyway.
 */
#include "dc.h"

enum { PACE_MS = 10, BUCKETS = 64 /* of the table of nodes, about as many nodes */ };

static void ask(void *arg, struct ntm_dc_node *node)
{
	struct ntm_dc *dc = arg;
	struct ntm_sig m;

	if (!node->session ||
	    (node->zones_generation == ntm_dc_peers_generation(dc) && node->keys_generation == dc->ids.generation))
		return;
	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, 0);
	ntm_dc_reply(dc, node->session, &m);
}

static void on_news(uv_timer_t *t)
{
	struct ntm_dc *dc = t->data;

	if (!ntm_dc_nodes_some(&dc->nodes, &dc->news_at, BUCKETS, ask, dc))
		uv_timer_stop(t);
}

void ntm_dc_news_init(struct ntm_dc *dc)
{
	uv_timer_init(dc->loop, &dc->news);
	dc->news.data = dc;
}

void ntm_dc_news(struct ntm_dc *dc)
{
	dc->news_at = 0;
	if (dc->running)
		uv_timer_start(&dc->news, on_news, 0, PACE_MS);
}
