/* SPDX-License-Identifier: BSD-2-Clause */
/* What an RS says to its DC beyond what a node says: relay paths come and go, and how busy it is. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../common/crypto.h"
#include "gateway.h"
#include "relay.h"

enum { TELL_MS = 2500 };

static void error(struct ntm_sig *answer, enum ntm_error code)
{
	ntm_sig_init(answer, NTM_M_ERROR, answer->txid);
	answer->error_code = (uint16_t)code;
	answer->have = 1u << NTM_F_ERROR_CODE;
}

static void with_path(struct ntm_sig *answer, enum ntm_msg msg, uint64_t path_id)
{
	ntm_sig_init(answer, msg, answer->txid);
	answer->path_id = path_id;
	answer->have = 1u << NTM_F_PATH_ID;
}

static bool knows(struct ntm_relay *r, uint64_t path_id)
{
	struct ntm_relay_dp_path p;
	bool known = !r->dp->ops->get(r->dp, path_id, &p);

	ntm_wipe(&p, sizeof(p));
	return known;
}

static void on_direction(struct ntm_relay *r, const struct ntm_sig *m, struct ntm_sig *answer)
{
	bool known;
	int err;

	if (!ntm_sig_has(m, NTM_F_PATH_ID) || !ntm_sig_has(m, NTM_F_RELAY_SECRET) || !m->path_id) {
		error(answer, NTM_E_MALFORMED);
		return;
	}
	known = knows(r, m->path_id);
	/* The DC's resend of a direction that was taken is answered as the first was, draining or not. */
	err = r->draining && !known
		  ? -EBUSY
		  : r->dp->ops->add(r->dp, m->path_id, m->relay_secret, ntm_sig_has(m, NTM_F_RATE) ? m->rate_kbit : 0);
	if (!err) {
		r->paths_added += !known;
		with_path(answer, NTM_M_RELAY_RESPONSE, m->path_id);
		ntm_debug("path %016" PRIx64 " %s", m->path_id, known ? "again" : "added");
		return;
	}
	r->paths_refused++;
	if (err != -EBUSY)
		ntm_warn_limited("path %016" PRIx64 " refused: %s", m->path_id,
				 err == -ENOSPC   ? "the table is full"
				 : err == -EEXIST ? "it is there with another key"
						  : strerror(-err));
	error(answer, err == -EBUSY || err == -ENOSPC ? NTM_E_BUSY : NTM_E_INTERNAL);
}

static bool on_release(struct ntm_relay *r, const struct ntm_sig *m, struct ntm_sig *answer)
{
	int err = ntm_sig_has(m, NTM_F_PATH_ID) ? r->dp->ops->del(r->dp, m->path_id) : -ENOENT;

	if (err == -ENOENT)
		return false; /* of the gateway, or gone already: answered as a node does */
	if (err) {
		ntm_warn_limited("path %016" PRIx64 " not removed: %s", m->path_id, strerror(-err));
		error(answer, NTM_E_INTERNAL);
		return true;
	}
	r->paths_released++;
	with_path(answer, NTM_M_ROUTE_ACK, m->path_id);
	ntm_debug("path %016" PRIx64 " released", m->path_id);
	return true;
}

static bool on_message(struct ntm_node *n, const struct ntm_sig *m, struct ntm_sig *answer)
{
	struct ntm_relay *r = n->hooks.arg;

	switch (m->msg) {
	case NTM_M_RELAY_DIRECTION:
		on_direction(r, m, answer);
		return true;
	case NTM_M_RELEASE:
		return on_release(r, m, answer);
	default:
		return false;
	}
}

static void on_registered(struct ntm_node *n, const struct ntm_sig *m)
{
	struct ntm_relay *r = n->hooks.arg;
	bool served = ntm_gateway_serves(r);

	if (ntm_sig_has(m, NTM_F_RELAY_SECRET))
		ntm_admission_set_probe_secret(&r->admission, m->relay_secret);
	else
		ntm_warn_limited("the DC does not know this host as a relay: is [relay %s] with this key in its "
				 "configuration?",
				 n->conf.name);
	if (!ntm_gateway_registered(r) && ntm_gateway_serves(r) && !served)
		ntm_relay_tell_load(r);
}

static void on_keepalive(struct ntm_node *n, struct ntm_sig *m)
{
	ntm_relay_load(n->hooks.arg, &m->load);
	m->have |= 1u << NTM_F_LOAD;
}

static bool on_datagram(struct ntm_node *n, const struct ntm_addr *from, const uint8_t to[16], const uint8_t *data,
			size_t len)
{
	struct ntm_relay *r = n->hooks.arg;

	return ntm_admission_input(&r->admission, from, to, data, len);
}

void ntm_relay_session_init(struct ntm_relay *r)
{
	r->node.hooks = (struct ntm_node_hooks){
	    .registered = on_registered,
	    .keepalive = on_keepalive,
	    .message = on_message,
	    .datagram = on_datagram,
	    .arg = r,
	};
}

void ntm_relay_load(const struct ntm_relay *r, struct ntm_load *out)
{
	size_t max = r->dp->ops->max(r->dp), count = r->dp->ops->count(r->dp);

	*out = (struct ntm_load){.paths = (uint32_t)count, .paths_max = (uint32_t)max};
	ntm_load_rates(&r->load, out);
	out->flags = (uint16_t)((r->draining ? NTM_LOAD_DRAINING : 0) | (ntm_gateway_serves(r) ? NTM_LOAD_GATEWAY : 0));
}

void ntm_relay_tell_load(struct ntm_relay *r)
{
	struct ntm_sig m;
	int err;

	if (!ntm_dc_connected(&r->node.dc))
		return; /* its next registration says it */
	ntm_sig_init(&m, NTM_M_KEEP_ALIVE, 0);
	on_keepalive(&r->node, &m);
	err = ntm_dc_call(&r->node.dc, &m, TELL_MS, NULL, NULL);
	if (err)
		ntm_warn("load not told to the DC: %s", strerror(-err));
}

void ntm_relay_leave(struct ntm_relay *r)
{
	struct ntm_sig m;
	int err;

	if (!ntm_dc_connected(&r->node.dc))
		return;
	ntm_sig_init(&m, NTM_M_RELEASE, 0);
	err = ntm_dc_send(&r->node.dc, &m);
	if (err)
		ntm_warn("the DC was not told of this relay's end: %s", strerror(-err));
}
