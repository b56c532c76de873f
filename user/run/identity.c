/* SPDX-License-Identifier: BSD-2-Clause */
/* The identity of a run: what node.conf says, for libntm. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../common/crypto.h"
#include "../common/keystore.h"
#include "../lib/lib.h"
#include "run.h"

static char *endpoints(const struct ntm_addr_list *l)
{
	char *out = NULL, text[NTM_ADDR_STRLEN];
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s%s", i ? ", " : "", ntm_addr_format(&l->addrs[i], text));
	return fclose(f) ? NULL : out;
}

static char *names(const struct ntm_string_list *l)
{
	char *out = NULL;
	size_t len = 0;
	FILE *f = l->n ? open_memstream(&out, &len) : NULL;

	if (!f)
		return NULL;
	for (size_t i = 0; i < l->n; i++)
		fprintf(f, "%s%s", i ? ", " : "", l->items[i]);
	return fclose(f) ? NULL : out;
}

static char *dc_keys(const struct ntm_key_list *l)
{
	char *out = NULL, text[NTM_KEY_TEXT_LEN + 1];
	size_t len = 0;
	FILE *f = open_memstream(&out, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < l->n; i++) {
		ntm_key_to_text(l->keys[i], text);
		fprintf(f, "%s%s", i ? ", " : "", text);
	}
	return fclose(f) ? NULL : out;
}

int ntm_run_register(const struct ntm_node_config *c, struct ntm **host)
{
	char key[NTM_KEY_TEXT_LEN + 1], why[256] = "";
	uint8_t priv[NTM_DH_LEN], pub[NTM_DH_LEN];
	char *dc = endpoints(&c->dc_endpoints), *keys = dc_keys(&c->dc_keys), *uplinks = names(&c->uplinks);
	struct ntm_config nc = {.name = c->name,
				.private_key = key,
				.dc_endpoints = dc,
				.dc_public_key = keys,
				.token = c->dc_token,
				.uplinks = uplinks,
				/* The daemon's port may be in use, and must not matter. */
				.port = c->port == NTM_PORT ? 0 : c->port};
	int err = ntm_key_load(c->private_key_file, priv, pub, why, sizeof(why));

	if (err) {
		ntm_set_reason("%s", why);
		errno = -err;
		err = -1;
	} else {
		ntm_key_to_text(priv, key);
		err = ntm_register(&nc, host);
	}
	ntm_wipe(key, sizeof(key));
	ntm_wipe(priv, sizeof(priv));
	free(dc);
	free(keys);
	free(uplinks);
	return err;
}
