/* SPDX-License-Identifier: BSD-2-Clause */
#include "rotation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/crypto.h"
#include "../common/key_proof.h"
#include "../common/keystore.h"
#include "node.h"

enum {
	ANSWER_MS = 5000,
	PACE_MS = 100,
	AT_ONCE = 16, /* paths that are asked for anew in one step */
};

static int next_file(const struct ntm_node *n, char **out)
{
	if (!n->conf.private_key_file)
		return -ENOENT;
	return asprintf(out, "%s.next", n->conf.private_key_file) < 0 ? -ENOMEM : 0;
}

/*
 * The keys of a path are good for an hour, but new ones can't be agreed on with the former static key. So the DC is
 * asked for another path to each peer; the former one carries packets until that is up. That of a peer whose agent does
 * not answer is left alone: it has nobody who could make another one.
 */
static void on_pace(void *arg)
{
	struct ntm_node *n = arg;
	unsigned left = 0, begun = 0;

	for (struct ntm_tunnel *t = n->tunnels.all; t; t = t->next_all) {
		if (!t->former_key || t->state == NTM_TUN_OLD)
			continue;
		left++;
		if (begun < AT_ONCE && t->has_keys && ntm_live_agent_answers(t)) {
			begun++;
			ntm_live_redirect(t);
		}
	}
	if (left)
		ntm_timer_arm(&n->timers, &n->rotation.timer, begun ? PACE_MS : 10 * PACE_MS);
}

static int take(struct ntm_node *n, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN])
{
	struct ntm_cookie_jar jar;
	int err = ntm_cookie_jar_init(&jar, pub, n->jar.threshold);

	if (err)
		return err;
	n->jar = jar;
	memcpy(n->priv, priv, NTM_DH_LEN);
	memcpy(n->pub, pub, NTM_DH_LEN);
	ntm_wipe(&jar, sizeof(jar));
	/* a gateway's clients begin its paths: they ask anew when it no longer answers for the former key */
	for (struct ntm_tunnel *t = n->tunnels.all; t && !n->is_gateway; t = t->next_all)
		t->former_key = true;
	ntm_dc_renew(&n->dc);
	ntm_timer_arm(&n->timers, &n->rotation.timer, PACE_MS);
	return 0;
}

static void finish(struct ntm_node *n, int err, const char *why)
{
	struct ntm_rotation *r = &n->rotation;
	ntm_rotation_done done = r->done;

	r->busy = false;
	r->done = NULL;
	ntm_wipe(r->priv, sizeof(r->priv));
	if (done)
		done(r->arg, err, why);
}

static void on_answer(void *arg, int err, const struct ntm_sig *m)
{
	struct ntm_rotation *r = arg;
	struct ntm_node *n = r->node;
	char text[NTM_KEY_TEXT_LEN + 1];
	json_object *ev;

	if (err) {
		/* Perhaps it did change it: this session goes on in either case, and the same again is no error. */
		finish(n, err, "the DC did not answer: try again");
		return;
	}
	if (m->msg != NTM_M_KEY_UPDATE_RESPONSE) {
		ntm_err("the DC refuses the new key: %s", m->error_text);
		finish(n, -EACCES, m->error_text[0] ? m->error_text : "the DC refuses it");
		return;
	}
	err = take(n, r->priv, r->pub);
	if (err) {
		finish(n, err, "out of memory: restart the agent");
		return;
	}
	ntm_key_to_text(n->pub, text);
	ntm_info("this node's key is %s now", text);
	ev = ntm_node_event(n, "key_changed");
	if (ev) {
		json_object_object_add(ev, "public_key", json_object_new_string(text));
		ntm_node_emit(n, ev);
	}
	finish(n, 0, NULL);
}

int ntm_rotate_key(struct ntm_node *n, ntm_rotation_done done, void *arg, char *why, size_t cap)
{
	struct ntm_rotation *r = &n->rotation;
	const uint8_t *dc_key = ntm_dc_session_key(&n->dc);
	char *file = NULL;
	struct ntm_sig m;
	int err;

	if (r->busy) {
		snprintf(why, cap, "a key change is under way");
		return -EBUSY;
	}
	if (!dc_key) {
		snprintf(why, cap, "the DC cannot be reached");
		return -ENOTCONN;
	}
	err = next_file(n, &file);
	if (!err)
		err = ntm_key_load(file, r->priv, r->pub, why, cap);
	else
		snprintf(why, cap, "%s", strerror(-err));
	free(file);
	if (err)
		return err;
	ntm_sig_init(&m, NTM_M_KEY_UPDATE_REQUEST, 0);
	memcpy(m.public_key, r->pub, sizeof(m.public_key));
	m.have = NTM_SIG_BIT(NTM_F_PUBLIC_KEY) | NTM_SIG_BIT(NTM_F_KEY_PROOF);
	err = ntm_key_proof(r->priv, dc_key, n->pub, r->pub, m.key_proof);
	if (!err)
		err = ntm_dc_call(&n->dc, &m, ANSWER_MS, on_answer, r);
	if (err) {
		ntm_wipe(r->priv, sizeof(r->priv));
		snprintf(why, cap, "the DC is not asked: %s", strerror(-err));
		return err;
	}
	r->busy = true;
	r->done = done;
	r->arg = arg;
	return 0;
}

void ntm_rotation_forget(struct ntm_node *n, void *arg)
{
	if (n->rotation.done && n->rotation.arg == arg)
		n->rotation.done = NULL;
}

bool ntm_rotation_resume(struct ntm_node *n)
{
	struct ntm_rotation *r = &n->rotation;
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	char *file = NULL, why[256];
	int err = r->busy || r->resumed ? -EBUSY : next_file(n, &file);

	if (!err && access(file, F_OK))
		err = -errno;
	if (!err) {
		err = ntm_key_load(file, priv, pub, why, sizeof(why));
		if (err)
			ntm_err("%s", why);
	}
	if (!err) {
		ntm_info("the DC does not know this node's key; trying the one in %s", file);
		r->resumed = true;
		err = take(n, priv, pub);
		ntm_wipe(priv, sizeof(priv));
	}
	free(file);
	return !err;
}

void ntm_rotation_registered(struct ntm_node *n)
{
	char *file = NULL;

	if (!n->rotation.resumed)
		return;
	n->rotation.resumed = false;
	if (next_file(n, &file))
		return;
	if (rename(file, n->conf.private_key_file))
		ntm_warn("%s holds the key that the DC knows: rename it to %s (%s)", file, n->conf.private_key_file,
			 strerror(errno));
	else
		ntm_info("%s holds the new key now", n->conf.private_key_file);
	free(file);
}

void ntm_rotation_init(struct ntm_node *n)
{
	n->rotation = (struct ntm_rotation){.node = n};
	ntm_timer_init(&n->rotation.timer, on_pace, n);
}

void ntm_rotation_stop(struct ntm_node *n)
{
	ntm_timer_stop(&n->timers, &n->rotation.timer);
	if (n->rotation.busy) {
		ntm_dc_forget(&n->dc, &n->rotation);
		finish(n, -ECANCELED, "the agent ends");
	}
}
