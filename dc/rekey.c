/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A node, or a relay, takes over another key. It says so on a session of its former key, and proves that it has the new
 * one. From the answer on the former key is nobody's: a session begun with it is a stranger's.
 */
#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/key_proof.h"
#include "../user/common/keystore.h"
#include "../user/common/log.h"
#include "../user/common/relay_crypto.h"
#include "dc.h"

enum { PAUSE_MS = 1000 }; /* each change is a write to the disk */

/* The session may be one of any of our keys. */
static bool proven(const struct ntm_dc *dc, const struct ntm_dc_session *s, const struct ntm_sig *m)
{
	uint8_t want[NTM_KEY_LEN];
	bool ok = false;

	for (size_t i = 0; i < dc->ids.n && !ok; i++) {
		const struct ntm_dc_identity *id = &dc->ids.items[i];

		ok = !ntm_key_proof(id->priv, m->public_key, s->node->rec.public_key, m->public_key, want) &&
		     ntm_equal(want, m->key_proof, sizeof(want));
	}
	ntm_wipe(want, sizeof(want));
	return ok;
}

static int change(struct ntm_dc *dc, struct ntm_dc_node *node, const uint8_t key[NTM_DH_LEN])
{
	int err;

	if (node->relay)
		return ntm_dc_relay_rekey(dc, node->relay, key);
	err = dc->store->ops->rekey(dc->store, node->rec.id, key);
	if (!err)
		ntm_dc_node_set_key(&dc->nodes, node, key);
	return err;
}

static void answer(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_sig r;

	ntm_sig_init(&r, NTM_M_KEY_UPDATE_RESPONSE, m->txid);
	memcpy(r.public_key, m->public_key, sizeof(r.public_key));
	r.have = NTM_SIG_BIT(NTM_F_PUBLIC_KEY);
	ntm_dc_reply(dc, s, &r);
}

void ntm_dc_key_changed(struct ntm_dc *dc, struct ntm_dc_node *node)
{
	char text[NTM_KEY_TEXT_LEN + 1];

	ntm_key_to_text(node->rec.public_key, text);
	dc->counters.key_changes++;
	ntm_info("%s has another key: %s", node->rec.label, text);
	ntm_dc_audit(dc, node->rec.label, "key_changed", node->rec.label, text);
}

struct ntm_dc_node *ntm_dc_node_rekeyed(struct ntm_dc *dc, const struct ntm_node_record *rec)
{
	struct ntm_dc_node *node = ntm_dc_node_by_label(&dc->nodes, rec->label);
	struct ntm_dc_relay *r;

	if (!node || node->rec.id != rec->id || node->rec.index != rec->index)
		return NULL;
	ntm_dc_node_set_key(&dc->nodes, node, rec->public_key);
	r = node->relay;
	if (r && !ntm_probe_secret(dc->priv, rec->public_key, r->probe_secret)) {
		memcpy(r->public_key, rec->public_key, NTM_DH_LEN);
		dc->relays.generation++;
	}
	return node;
}

void ntm_dc_key_update(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m)
{
	struct ntm_dc_node *node = s->node;
	uint64_t now = ntm_dc_now(dc);
	int err;

	if (!ntm_sig_has(m, NTM_F_PUBLIC_KEY) || !ntm_sig_has(m, NTM_F_KEY_PROOF)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_MALFORMED, "a key update needs a key and its proof");
		return;
	}
	if (ntm_equal(m->public_key, node->rec.public_key, NTM_DH_LEN)) { /* again: the answer was lost */
		answer(dc, s, m);
		return;
	}
	if (!proven(dc, s, m)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "the proof for the new key is wrong");
		return;
	}
	if (node->relay && !ntm_key_list_has(&node->relay->keys, m->public_key)) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_DENIED, "add the new public_key to [relay %s] at the DC first",
				   node->rec.label);
		return;
	}
	if (ntm_dc_identity_has(&dc->ids, m->public_key) || ntm_dc_peer_by_key(dc, m->public_key) ||
	    ntm_dc_foreign_by_key(dc, m->public_key) ||
	    (!node->relay && ntm_dc_relay_may_use(&dc->relays, m->public_key))) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_NAME_TAKEN, "the new key is another party's");
		return;
	}
	if (node->rekeyed_ms && now - node->rekeyed_ms < PAUSE_MS) {
		ntm_dc_reply_error(dc, s, m->txid, NTM_E_BUSY, "the key was changed a moment ago");
		return;
	}
	err = change(dc, node, m->public_key);
	if (err) {
		ntm_dc_reply_error(dc, s, m->txid, err == -EEXIST ? NTM_E_NAME_TAKEN : NTM_E_INTERNAL, "%s",
				   err == -EEXIST ? "the new key is another node's" : "the store failed");
		return;
	}
	node->rekeyed_ms = now;
	ntm_dc_session_set_peer_key(&dc->sessions, s, m->public_key); /* whose session it is, until it ends */
	ntm_dc_key_changed(dc, node);
	ntm_dc_cluster_changed(dc, node);
	answer(dc, s, m);
}
