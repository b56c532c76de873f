/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages for and from nodes of another process. What this process asks of such a node is resent by its outbox as
 * ever; the process where the node is only passes it on, and hands on what the node answers and nobody there asked for.
 *
 * Both ends of a pair may ask at once, at different processes, and must get one path. So all paths of a pair are made
 * by one process: the one where the end with the lower number is, or, of a path to a relay, the end that is no relay.
 */
#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "cluster_int.h"

static struct ntm_cluster about(uint8_t msg, const struct ntm_dc_node *node, const uint8_t *data, size_t len)
{
	return (struct ntm_cluster){
	    .msg = msg,
	    .fields = 1u << NTM_CF_NODE_ID | 1u << NTM_CF_INDEX | 1u << NTM_CF_MESSAGE,
	    .node_id = node->rec.id,
	    .index = node->rec.index,
	    .message = data,
	    .message_len = len,
	};
}

void ntm_dc_cluster_pass(struct ntm_dc *dc, const struct ntm_dc_node *to, const uint8_t *data, size_t len)
{
	struct ntm_cluster m = about(NTM_C_PASS, to, data, len);

	if (!dc->cluster || !to->at)
		return;
	dc->cluster->stats.passed++;
	ntm_dc_cluster_send(dc, to->at, &m);
}

static int heard_by(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_dc_node *from,
		    const struct ntm_sig *s)
{
	uint8_t data[NTM_SIGNAL_MAX];
	struct ntm_cluster m;
	size_t len;
	int err = ntm_sig_encode(s, data, sizeof(data), &len);

	if (err)
		return err;
	m = about(NTM_C_HEARD, from, data, len);
	ntm_dc_cluster_send(dc, p, &m);
	return 0;
}

void ntm_dc_cluster_heard(struct ntm_dc *dc, const struct ntm_dc_node *from, const struct ntm_sig *m)
{
	for (unsigned i = 0; dc->cluster && i < dc->cluster->n; i++) {
		if (dc->cluster->items[i]->up)
			(void)heard_by(dc, dc->cluster->items[i], from, m);
	}
}

bool ntm_dc_cluster_direct(struct ntm_dc *dc, struct ntm_dc_session *s, const struct ntm_sig *m,
			   const struct ntm_dc_node *other)
{
	const struct ntm_dc_node *me = s->node, *decisive = me->rec.id < other->rec.id ? me : other;

	if (me->relay || other->relay)
		decisive = me->relay ? other : me;
	if (!dc->cluster || s->remote || !decisive->at)
		return false;
	return !heard_by(dc, decisive->at, me, m);
}

/* The node, if both processes mean the same one. */
static struct ntm_dc_node *find(struct ntm_dc *dc, const struct ntm_cluster *m)
{
	const uint32_t need = 1u << NTM_CF_NODE_ID | 1u << NTM_CF_INDEX | 1u << NTM_CF_MESSAGE;
	struct ntm_dc_node *node = (m->fields & need) == need ? ntm_dc_node_by_index(&dc->nodes, m->index) : NULL;

	return node && node->rec.id == m->node_id ? node : NULL;
}

void ntm_dc_cluster_on_pass(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m)
{
	struct ntm_dc_node *node = find(dc, m);

	(void)p;
	if (!node || !node->session || m->message_len > NTM_SIGNAL_MAX - sizeof(struct ntm_hdr) - NTM_TAG_LEN)
		return;
	dc->cluster->stats.relayed++;
	ntm_dc_send_encoded(dc, node->session, m->message, m->message_len);
}

void ntm_dc_cluster_on_heard(struct ntm_dc *dc, struct ntm_dc_process *p, const struct ntm_cluster *m)
{
	struct ntm_dc_node *node = find(dc, m);
	struct ntm_dc_session remote = {.node = node, .remote = true};
	struct ntm_sig sig;

	/* it may have gone on to a third one, or come here: then it says so again by itself */
	if (!node || node->at != p || ntm_sig_decode(&sig, m->message, m->message_len))
		return;
	ntm_dc_node_message(dc, &remote, &sig);
	ntm_wipe(&sig, sizeof(sig));
}
