/* SPDX-License-Identifier: BSD-2-Clause */
#include "ticket.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "identity.h"
#include "nodes.h"
#include "paths.h"

int ntm_dc_ticket_key(const uint8_t priv[NTM_DH_LEN], uint8_t key[NTM_KEY_LEN])
{
	static const char label[] = "ntm1 path ticket";
	const struct ntm_iov in[] = {{label, sizeof(label) - 1}, {priv, NTM_DH_LEN}};

	return ntm_hash(key, in, 2);
}

/* A hash behind its key is a MAC with BLAKE2, and half the work of OpenSSL's keyed one: each direction has it to do. */
static int find_mac(const uint8_t key[NTM_KEY_LEN], const struct ntm_path_ticket *t, uint8_t mac[sizeof(t->mac)])
{
	const struct ntm_iov in[] = {{key, NTM_KEY_LEN}, {t, offsetof(struct ntm_path_ticket, mac)}};
	uint8_t h[NTM_HASH_LEN];
	int err = ntm_hash(h, in, 2);

	if (!err)
		memcpy(mac, h, sizeof(t->mac));
	return err;
}

void ntm_dc_ticket_write(const struct ntm_dc_path *p, struct ntm_path_ticket *out)
{
	out->path_id = htobe64(p->id);
	out->created_s = htobe64((uint64_t)p->created_s);
	for (int i = 0; i < 2; i++) {
		out->nodes[i] = htobe64(p->ends[i]->rec.id);
		out->index[i] = htobe32(p->ends[i]->rec.index);
	}
	memcpy(out->mac, p->mac, sizeof(out->mac));
}

int ntm_dc_ticket_sign(const struct ntm_dc_identities *ids, struct ntm_dc_path *p)
{
	struct ntm_path_ticket t;

	ntm_dc_ticket_write(p, &t);
	return find_mac(ids->items[0].ticket_key, &t, p->mac);
}

int ntm_dc_ticket_open(const struct ntm_dc_identities *ids, const struct ntm_path_ticket *in, struct ntm_dc_ticket *out)
{
	uint8_t mac[sizeof(in->mac)];

	for (size_t i = 0; i < ids->n; i++) {
		if (find_mac(ids->items[i].ticket_key, in, mac))
			return -EIO;
		if (!ntm_equal(mac, in->mac, sizeof(mac)))
			continue;
		out->path_id = be64toh(in->path_id);
		out->created_s = (int64_t)be64toh(in->created_s);
		for (int n = 0; n < 2; n++) {
			out->nodes[n] = be64toh(in->nodes[n]);
			out->index[n] = be32toh(in->index[n]);
		}
		return 0;
	}
	return -EBADMSG;
}
