/* SPDX-License-Identifier: BSD-2-Clause */
#include "dc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "clock.h"

#define SWEEP_MS 1000
#define PURGE_MS 3600000
#define CLOCK_JUMP_S 60

void ntm_dc_expire_nodes(struct ntm_dc *dc)
{
	struct ntm_dc_node *n;

	while ((n = ntm_dc_nodes_expire(&dc->nodes, ntm_dc_now(dc), dc->conf->lifetime_s * 1000ULL))) {
		ntm_info("%s is offline: nothing heard for %u s", n->rec.label, dc->conf->lifetime_s);
		ntm_dc_event(dc, "offline", NULL, n->rec.label, "nothing heard");
		ntm_dc_dns_moved(dc, &n->rec);
		ntm_dc_cluster_changed(dc, n);
	}
	ntm_dc_relays_expire(dc);
}

/*
 * What is old goes by the real-time clock, and that may be set. Rows that are needed must not go by an hour that was
 * never: the clock has run straight for PURGE_MS before anything does.
 */
static void purge(struct ntm_dc *dc, uint64_t now_ms)
{
	int64_t now_s = ntm_dc_wall_s(), ahead = now_s - (int64_t)(now_ms / 1000), jump = ahead - dc->clock_ahead;

	dc->clock_ahead = ahead;
	if (jump < -CLOCK_JUMP_S || jump > CLOCK_JUMP_S) {
		if (dc->purged_ms)
			ntm_warn("the clock was set by %lld s: lifetimes of tokens and ages of paths are by it",
				 (long long)jump);
		dc->purged_ms = now_ms;
	}
	if (now_ms - dc->purged_ms < PURGE_MS)
		return;
	dc->purged_ms = now_ms;
	dc->store->ops->purge_paths(dc->store, now_s - NTM_DC_PATH_KEEP_S);
}

static void on_sweep(uv_timer_t *t)
{
	struct ntm_dc *dc = t->data;
	uint64_t now = ntm_dc_now(dc);

	ntm_dc_sessions_expire(&dc->sessions, now);
	ntm_dc_paths_expire(&dc->paths, now);
	purge(dc, now);
	ntm_dc_retired_expire(dc, now);
	ntm_dc_expire_nodes(dc);
	ntm_dc_check_paths_again(dc);
	ntm_dc_answer_delayed(dc);
}

/* Virtual addresses are indices into the pools: those may grow in place, and nothing else, once one was given. */
static int check_pools(struct ntm_dc *dc, char *why, size_t cap)
{
	const char *store = ntm_store_name(dc->conf->store_file);
	const struct ntm_pool *p = &dc->conf->pool;
	char v4[NTM_ADDR_STRLEN], v6[NTM_ADDR_STRLEN], text[2 * NTM_ADDR_STRLEN], was[2 * NTM_ADDR_STRLEN];
	uint8_t first4[4], first6[16], ip[16];
	uint32_t highest;
	int err = dc->store->ops->highest_index(dc->store, &highest);

	if (err) {
		snprintf(why, cap, "the store %s failed", store);
		return err;
	}
	ntm_pool_addresses(p, 0, first4, first6);
	ntm_ip_from_v4(ip, first4);
	snprintf(text, sizeof(text), "%s %s", ntm_ip_format(ip, v4), ntm_ip_format(first6, v6));
	err = dc->store->ops->setting(dc->store, "pools", text, highest == 0, was, sizeof(was));
	if (err == -EEXIST)
		snprintf(why, cap,
			 "the store %s has addresses from pools that begin at %s, the configuration's begin at %s",
			 store, was, text);
	else if (err)
		snprintf(why, cap, "the store %s failed", store);
	else if (highest > p->last) {
		snprintf(why, cap, "the store %s has given %u addresses, the configured pools have room for %u", store,
			 highest, p->last);
		err = -ENOSPC;
	}
	if (err)
		return err;
	err = dc->store->ops->setting(dc->store, "zone", dc->conf->zone, highest == 0, was, sizeof(was));
	if (err == -EEXIST)
		snprintf(why, cap, "the store %s belongs to the zone %s, the configuration says %s", store, was,
			 dc->conf->zone);
	else if (err)
		snprintf(why, cap, "the store %s failed", store);
	return err;
}

int ntm_dc_start(struct ntm_dc *dc, uv_loop_t *loop, const struct ntm_dc_config *conf, const uint8_t priv[NTM_DH_LEN],
		 const uint8_t pub[NTM_DH_LEN], char *why, size_t cap)
{
	int err;

	memset(dc, 0, sizeof(*dc));
	dc->loop = loop;
	dc->audit.fd = -1;
	dc->conf = conf;
	memcpy(dc->priv, priv, NTM_DH_LEN);
	memcpy(dc->pub, pub, NTM_DH_LEN);
	uv_update_time(loop);
	dc->started_ms = ntm_dc_now(dc);
	uv_timer_init(loop, &dc->sweep);
	ntm_dc_news_init(dc);
	dc->sweep.data = dc;
	TAILQ_INIT(&dc->retired);

	snprintf(why, cap, "out of memory");
	err = ntm_dc_identities_init(&dc->ids, priv, pub, conf->cookie_threshold);
	if (!err)
		err = ntm_dc_identities_load(&dc->ids, conf, why, cap);
	if (!err)
		err = ntm_dc_nodes_init(&dc->nodes);
	if (!err)
		err = ntm_dc_sessions_init(&dc->sessions);
	if (!err)
		err = ntm_dc_responder_start(&dc->responder, loop, &dc->sessions.kept, ntm_dc_handshake_answered, dc);
	if (!err) {
		ntm_dc_responder_set_keys(dc->responder, &dc->ids);
		err = ntm_dc_paths_init(&dc->paths);
	}
	if (!err)
		err = ntm_dc_outbox_init(&dc->outbox, loop, ntm_dc_send_to_node, ntm_dc_request_lost, dc);
	if (!err)
		err = ntm_store_open(conf->store_file, &dc->store, why, cap);
	if (!err)
		err = ntm_dc_write_behind_start(dc);
	if (!err)
		err = check_pools(dc, why, cap);
	if (!err)
		err = ntm_dc_net_open(&dc->net, loop, conf->listen.addrs, conf->listen.n, ntm_dc_receive_datagram, dc,
				      why, cap);
	if (!err)
		err = ntm_dc_cluster_start(dc, why, cap);
	if (!err) {
		err = ntm_dc_relays_apply(dc, &conf->relays);
		if (err)
			snprintf(why, cap, "cannot let the relays in: %s", strerror(-err));
	}
	if (!err)
		err = ntm_dc_dns_start(dc, why, cap);
	if (!err)
		err = ntm_dc_audit_open(&dc->audit, conf->audit_file, why, cap);
	if (!err)
		err = ntm_dc_policy_set(dc, conf->policy_file, why, cap);
	if (!err)
		err = ntm_dc_metrics_start(dc, why, cap);
	if (!err && conf->runtime_dir) {
		err = ntm_dc_control_start(dc);
		if (err)
			snprintf(why, cap, "control socket in %s: %s", conf->runtime_dir, strerror(-err));
	}
	if (err) {
		ntm_dc_stop(dc);
		return err;
	}
	uv_timer_start(&dc->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	err = ntm_dc_peers_start(dc, &conf->peers, why, cap);
	if (err) {
		ntm_dc_stop(dc);
		return err;
	}
	ntm_dc_invites_start(dc);
	dc->running = true;
	return 0;
}

void ntm_dc_stop(struct ntm_dc *dc)
{
	ntm_dc_responder_stop(dc->responder);
	dc->responder = NULL;
	ntm_dc_invites_stop(dc);
	ntm_dc_peers_stop(dc);
	if (dc->ctl)
		ntm_ctl_server_stop(dc->ctl);
	dc->ctl = NULL;
	ntm_metrics_stop(dc->metrics);
	dc->metrics = NULL;
	ntm_dc_dns_stop(dc);
	/* nodes that are online stay so in the store: the next start invites them, or another process */
	ntm_dc_write_behind_stop(dc);
	ntm_dc_cluster_stop(dc);
	if (dc->net)
		ntm_dc_net_close(dc->net);
	dc->net = NULL;
	ntm_store_close(dc->store);
	dc->store = NULL;
	if (dc->outbox.timer.loop)
		ntm_dc_outbox_close(&dc->outbox);
	uv_close((uv_handle_t *)&dc->sweep, NULL);
	uv_close((uv_handle_t *)&dc->news, NULL);
}

void ntm_dc_free(struct ntm_dc *dc)
{
	if (dc->paths.by_id.buckets)
		ntm_dc_paths_free(&dc->paths);
	if (dc->sessions.by_id.buckets)
		ntm_dc_sessions_free(&dc->sessions);
	ntm_dc_retired_free(dc);
	ntm_dc_policy_free(dc->policy);
	ntm_dc_audit_close(&dc->audit);
	ntm_dc_events_free(&dc->events);
	ntm_dc_relays_free(&dc->relays);
	ntm_dc_dns_free(dc);
	ntm_dc_nodes_free(&dc->nodes);
	ntm_dc_identities_free(&dc->ids);
	ntm_wipe(dc, sizeof(*dc));
}
