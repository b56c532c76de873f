/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes of other zones that paths were asked to or from: by key, name and virtual address. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers_int.h"

#define FOREIGN_ID (1ULL << 63) /* the store's are below */

struct foreigner {
	struct ntm_dc_node node;
	char fqdn[NTM_NAME_MAX + 1];
	uint8_t vip4[4], vip6[16];
	struct ntm_relay_info relay; /* no name: none was offered */
	bool leaving;
	struct ntm_table_link by_key, by_name, by_vip4, by_vip6;
	TAILQ_ENTRY(foreigner) link;
};

struct ntm_dc_foreigners {
	struct ntm_table by_key, by_name, by_vip;
	TAILQ_HEAD(foreigner_list, foreigner) all; /* heard of longest ago first */
	size_t n;
	uint64_t last_id;
};

static struct foreigner *foreigner(const struct ntm_dc_node *node)
{
	return ntm_container_of((struct ntm_dc_node *)node, struct foreigner, node);
}

int ntm_dc_foreigners_init(struct ntm_dc_foreigners **out)
{
	struct ntm_dc_foreigners *fs = calloc(1, sizeof(*fs));

	if (!fs)
		return -ENOMEM;
	TAILQ_INIT(&fs->all);
	if (ntm_table_init(&fs->by_key, 0) || ntm_table_init(&fs->by_name, 0) || ntm_table_init(&fs->by_vip, 0)) {
		ntm_table_free(&fs->by_key);
		ntm_table_free(&fs->by_name);
		free(fs);
		return -ENOMEM;
	}
	*out = fs;
	return 0;
}

static void unlink_names(struct ntm_dc_foreigners *fs, struct foreigner *f)
{
	ntm_table_del(&fs->by_name, &f->by_name);
	ntm_table_del(&fs->by_vip, &f->by_vip4);
	ntm_table_del(&fs->by_vip, &f->by_vip6);
}

static void link_names(struct ntm_dc_foreigners *fs, struct foreigner *f)
{
	uint8_t ip[16];

	ntm_ip_from_v4(ip, f->vip4);
	ntm_table_add(&fs->by_name, &f->by_name, ntm_table_hash(f->fqdn, strlen(f->fqdn)));
	ntm_table_add(&fs->by_vip, &f->by_vip4, ntm_table_hash(ip, 16));
	ntm_table_add(&fs->by_vip, &f->by_vip6, ntm_table_hash(f->vip6, 16));
}

/* The first `count` of the list, in one walk over all paths. */
static void forget(struct ntm_dc *dc, size_t count)
{
	struct ntm_dc_foreigners *fs = dc->peers->foreigners;
	struct ntm_dc_path *p, *next;
	struct foreigner *f;
	size_t marked = 0;

	TAILQ_FOREACH(f, &fs->all, link)
	{
		if (marked++ == count)
			break;
		f->leaving = true;
	}
	for (p = TAILQ_FIRST(&dc->paths.all); p; p = next) {
		struct ntm_dc_node *end = ntm_dc_path_foreign_end(p);

		next = TAILQ_NEXT(p, link);
		if (end && foreigner(end)->leaving) {
			ntm_dc_relay_release(dc, p);
			ntm_dc_path_remove(&dc->paths, p);
		}
	}
	while ((f = TAILQ_FIRST(&fs->all)) && f->leaving) {
		ntm_dc_outbox_forget(&dc->outbox, &f->node, NULL);
		TAILQ_REMOVE(&fs->all, f, link);
		fs->n--;
		ntm_table_del(&fs->by_key, &f->by_key);
		unlink_names(fs, f);
		free(f->node.candidates);
		free(f);
	}
}

void ntm_dc_foreigners_free(struct ntm_dc *dc)
{
	struct ntm_dc_foreigners *fs = dc->peers->foreigners;

	forget(dc, fs->n);
	ntm_table_free(&fs->by_key);
	ntm_table_free(&fs->by_name);
	ntm_table_free(&fs->by_vip);
	free(fs);
	dc->peers->foreigners = NULL;
}

struct ntm_dc_node *ntm_dc_foreign_by_key(const struct ntm_dc *dc, const uint8_t key[NTM_DH_LEN])
{
	struct ntm_table_link *l;

	if (!dc->peers)
		return NULL;
	l = ntm_table_first(&dc->peers->foreigners->by_key, ntm_table_hash(key, NTM_DH_LEN));
	for (; l; l = ntm_table_next(l)) {
		struct foreigner *f = ntm_container_of(l, struct foreigner, by_key);

		if (!memcmp(f->node.rec.public_key, key, NTM_DH_LEN))
			return &f->node;
	}
	return NULL;
}

struct ntm_dc_node *ntm_dc_foreign_by_name(const struct ntm_dc *dc, const char *fqdn)
{
	struct ntm_table_link *l;

	if (!dc->peers)
		return NULL;
	l = ntm_table_first(&dc->peers->foreigners->by_name, ntm_table_hash(fqdn, strlen(fqdn)));
	for (; l; l = ntm_table_next(l)) {
		struct foreigner *f = ntm_container_of(l, struct foreigner, by_name);

		if (!strcmp(f->fqdn, fqdn))
			return &f->node;
	}
	return NULL;
}

struct ntm_dc_node *ntm_dc_foreign_by_vip(const struct ntm_dc *dc, const uint8_t ip[16])
{
	bool v4 = ntm_ip_is_v4(ip);
	struct ntm_table_link *l;

	if (!dc->peers)
		return NULL;
	l = ntm_table_first(&dc->peers->foreigners->by_vip, ntm_table_hash(ip, 16));
	for (; l; l = ntm_table_next(l)) {
		struct foreigner *f = v4 ? ntm_container_of(l, struct foreigner, by_vip4)
					 : ntm_container_of(l, struct foreigner, by_vip6);

		if (v4 ? !memcmp(f->vip4, ip + 12, 4) : !memcmp(f->vip6, ip, 16))
			return &f->node;
	}
	return NULL;
}

static void lower(const char *name, char out[NTM_NAME_MAX + 1])
{
	for (size_t i = 0; i <= NTM_NAME_MAX; i++)
		out[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
}

static int check(const struct ntm_dc *dc, const struct ntm_dc_peer *peer, const struct ntm_sig *m)
{
	const uint32_t need = 1u << NTM_F_NAME | 1u << NTM_F_PUBLIC_KEY | 1u << NTM_F_VIP4 | 1u << NTM_F_VIP6;
	const struct ntm_dc_node *known;
	uint8_t ip[16];

	if ((m->have & need) != need)
		return -EBADMSG;
	ntm_ip_from_v4(ip, m->vip4);
	known = ntm_dc_foreign_by_key(dc, m->public_key);
	if (!ntm_dc_peer_owns_name(peer, m->name) || !ntm_dc_peer_owns_vip(peer, ip) ||
	    !ntm_dc_peer_owns_vip(peer, m->vip6) || ntm_ip_is_v4(m->vip6) || (known && known->peer != peer) ||
	    ntm_dc_node_by_key(&dc->nodes, m->public_key) || ntm_dc_identity_has(&dc->ids, m->public_key))
		return -EPERM;
	return 0;
}

/* Known by its key; or by its name, when its zone has given that another key. */
static struct ntm_dc_node *known_before(struct ntm_dc *dc, const struct ntm_dc_peer *peer, const struct ntm_sig *m)
{
	struct ntm_dc_foreigners *fs = dc->peers->foreigners;
	struct ntm_dc_node *node = ntm_dc_foreign_by_key(dc, m->public_key);
	char fqdn[NTM_NAME_MAX + 1];
	struct foreigner *f;

	if (node)
		return node;
	lower(m->name, fqdn);
	node = ntm_dc_foreign_by_name(dc, fqdn);
	if (!node || node->peer != peer)
		return NULL;
	f = foreigner(node);
	ntm_table_del(&fs->by_key, &f->by_key);
	memcpy(node->rec.public_key, m->public_key, NTM_DH_LEN);
	ntm_table_add(&fs->by_key, &f->by_key, ntm_table_hash(m->public_key, NTM_DH_LEN));
	return node;
}

int ntm_dc_foreign_learn(struct ntm_dc *dc, struct ntm_dc_peer *peer, const struct ntm_sig *m, struct ntm_dc_node **out)
{
	struct ntm_dc_foreigners *fs = dc->peers->foreigners;
	int err = check(dc, peer, m);
	struct ntm_dc_node *node;
	struct foreigner *f;

	if (err)
		return err;
	node = known_before(dc, peer, m);
	if (node) {
		f = foreigner(node);
		unlink_names(fs, f);
		TAILQ_REMOVE(&fs->all, f, link);
	} else {
		if (fs->n >= NTM_DC_FOREIGN_MAX)
			forget(dc, NTM_DC_FOREIGN_MAX / 16);
		f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		node = &f->node;
		node->rec.id = FOREIGN_ID | ++fs->last_id;
		node->peer = peer;
		memcpy(node->rec.public_key, m->public_key, NTM_DH_LEN);
		ntm_table_add(&fs->by_key, &f->by_key, ntm_table_hash(m->public_key, NTM_DH_LEN));
		fs->n++;
	}
	lower(m->name, f->fqdn);
	snprintf(node->rec.label, sizeof(node->rec.label), "%.*s", (int)strcspn(f->fqdn, "."), f->fqdn);
	memcpy(f->vip4, m->vip4, 4);
	memcpy(f->vip6, m->vip6, 16);
	link_names(fs, f);
	TAILQ_INSERT_TAIL(&fs->all, f, link);
	if (m->msg == NTM_M_PEER_DIRECTION_RESPONSE)
		f->relay = ntm_sig_has(m, NTM_F_RELAY) ? m->relay : (struct ntm_relay_info){0};
	if (ntm_sig_has(m, NTM_F_REFLEXIVE))
		node->rec.endpoint = m->reflexive;
	node->mtu = ntm_sig_has(m, NTM_F_MTU) ? m->mtu : 0;
	*out = node;
	return ntm_dc_node_set_candidates(node, m->candidates, m->n_candidates);
}

int ntm_dc_node_fqdn(const struct ntm_dc *dc, const struct ntm_dc_node *node, char *out, size_t cap)
{
	int len;

	if (!node->peer)
		return ntm_dc_fqdn(dc, node->rec.label, out, cap);
	len = snprintf(out, cap, "%s", foreigner(node)->fqdn);
	return len < 0 || (size_t)len >= cap ? -ENAMETOOLONG : 0;
}

void ntm_dc_node_vips(const struct ntm_dc *dc, const struct ntm_dc_node *node, uint8_t vip4[4], uint8_t vip6[16])
{
	if (!node->peer) {
		ntm_pool_addresses(&dc->conf->pool, node->rec.index, vip4, vip6);
		return;
	}
	memcpy(vip4, foreigner(node)->vip4, 4);
	memcpy(vip6, foreigner(node)->vip6, 16);
}

const struct ntm_relay_info *ntm_dc_foreign_relay(const struct ntm_dc_node *node)
{
	return node->peer && foreigner(node)->relay.name[0] ? &foreigner(node)->relay : NULL;
}

struct ntm_dc_node *ntm_dc_path_foreign_end(const struct ntm_dc_path *p)
{
	return p->ends[0]->peer ? p->ends[0] : p->ends[1]->peer ? p->ends[1] : NULL;
}
