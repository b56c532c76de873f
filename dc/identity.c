/* SPDX-License-Identifier: BSD-2-Clause */
#include "identity.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../user/common/crypto.h"
#include "../user/common/keystore.h"
#include "config.h"
#include "ticket.h"

int ntm_dc_identities_init(struct ntm_dc_identities *ids, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
			   unsigned cookie_threshold)
{
	struct ntm_dc_identity *id = &ids->items[0];
	int err;

	memset(ids, 0, sizeof(*ids));
	id->state = NTM_DC_KEY_CURRENT;
	memcpy(id->priv, priv, NTM_DH_LEN);
	memcpy(id->pub, pub, NTM_DH_LEN);
	ids->n = 1;
	ids->generation = 1;
	id->number = ids->last_number = 1;
	err = ntm_dh_open(&id->dh, id->priv);
	if (!err)
		err = ntm_dc_ticket_key(priv, id->ticket_key);
	return err ? err : ntm_cookie_jar_init(&id->jar, pub, cookie_threshold);
}

/* All but the first so many. */
static void drop(struct ntm_dc_identities *ids, size_t keep)
{
	for (size_t i = keep; i < ids->n; i++) {
		ntm_dh_close(&ids->items[i].dh);
		ntm_wipe(&ids->items[i], sizeof(ids->items[i]));
	}
	if (ids->n > keep)
		ids->n = keep;
}

void ntm_dc_identities_free(struct ntm_dc_identities *ids)
{
	drop(ids, 0);
}

static int add(struct ntm_dc_identities *ids, enum ntm_dc_key_state state, const char *file, unsigned threshold,
	       char *why, size_t cap)
{
	struct ntm_dc_identity *id = &ids->items[ids->n];
	int err = ntm_key_load(file, id->priv, id->pub, why, cap);

	if (err)
		return err;
	if (ntm_dc_identity_has(ids, id->pub)) {
		snprintf(why, cap, "%s: the %s key is one that this DC has already", file,
			 ntm_dc_key_state_name(state));
		return -EINVAL;
	}
	id->state = (uint8_t)state;
	id->number = ++ids->last_number;
	err = ntm_dh_open(&id->dh, id->priv);
	ids->n++;
	if (!err)
		err = ntm_dc_ticket_key(id->priv, id->ticket_key);
	if (!err)
		err = ntm_cookie_jar_init(&id->jar, id->pub, threshold);
	if (err)
		snprintf(why, cap, "%s: %s", file, strerror(-err));
	return err;
}

static bool same(const struct ntm_dc_identities *a, const struct ntm_dc_identities *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		if (a->items[i].state != b->items[i].state || memcmp(a->items[i].pub, b->items[i].pub, NTM_DH_LEN) != 0)
			return false;
	}
	return true;
}

int ntm_dc_identities_load(struct ntm_dc_identities *ids, const struct ntm_dc_config *conf, char *why, size_t cap)
{
	struct ntm_dc_identities now = {.n = 1, .generation = ids->generation + 1, .last_number = ids->last_number};
	int err = 0;

	now.items[0] = ids->items[0];
	now.items[0].jar.threshold = conf->cookie_threshold;
	if (conf->next_key_file)
		err = add(&now, NTM_DC_KEY_NEXT, conf->next_key_file, conf->cookie_threshold, why, cap);
	if (!err && conf->previous_key_file)
		err = add(&now, NTM_DC_KEY_PREVIOUS, conf->previous_key_file, conf->cookie_threshold, why, cap);
	if (!err && same(ids, &now)) {
		for (size_t i = 0; i < ids->n; i++)
			ids->items[i].jar.threshold = conf->cookie_threshold;
	} else if (!err) {
		drop(ids, 1);
		*ids = now;
		now.n = 1; /* they are with ids now */
	}
	drop(&now, 1); /* the first is that of ids */
	ntm_wipe(&now, sizeof(now));
	return err;
}

struct ntm_dc_identity *ntm_dc_identity_of(struct ntm_dc_identities *ids, const void *msg, size_t len,
					   const struct ntm_addr *from, uint64_t now_ms, enum ntm_mac_verdict *verdict)
{
	for (size_t i = 0; i < ids->n; i++) {
		*verdict = ntm_cookie_check(&ids->items[i].jar, msg, len, from, now_ms);
		if (*verdict != NTM_MAC_BAD)
			return &ids->items[i];
	}
	return &ids->items[0];
}

bool ntm_dc_identity_has(const struct ntm_dc_identities *ids, const uint8_t pub[NTM_DH_LEN])
{
	for (size_t i = 0; i < ids->n; i++) {
		if (!memcmp(ids->items[i].pub, pub, NTM_DH_LEN))
			return true;
	}
	return false;
}

void ntm_dc_identities_tell(const struct ntm_dc_identities *ids, struct ntm_sig *m)
{
	for (size_t i = 0; i < ids->n; i++) {
		m->dc_keys[i].state = ids->items[i].state;
		memcpy(m->dc_keys[i].key, ids->items[i].pub, NTM_DH_LEN);
	}
	m->n_dc_keys = (unsigned)ids->n;
	m->have |= NTM_SIG_BIT(NTM_F_DC_KEY);
}

const char *ntm_dc_key_state_name(unsigned state)
{
	static const char *const names[] = {
	    [NTM_DC_KEY_CURRENT] = "current",
	    [NTM_DC_KEY_NEXT] = "next",
	    [NTM_DC_KEY_PREVIOUS] = "previous",
	};

	return state < sizeof(names) / sizeof(*names) && names[state] ? names[state] : "unknown";
}
