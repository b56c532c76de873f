/* SPDX-License-Identifier: BSD-2-Clause */
#include "dckeys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../common/keystore.h"
#include "../common/log.h"

static const char *const states[] = {
    [NTM_DC_KEY_CURRENT] = "current",
    [NTM_DC_KEY_NEXT] = "next",
    [NTM_DC_KEY_PREVIOUS] = "previous",
};

static void from_configuration(struct ntm_dckeys *k)
{
	k->n = k->configured.n;
	for (size_t i = 0; i < k->n; i++) {
		k->items[i].state = i ? NTM_DC_KEY_NEXT : NTM_DC_KEY_CURRENT;
		memcpy(k->items[i].key, k->configured.keys[i], NTM_DH_LEN);
	}
}

static bool sane(const struct ntm_dc_key *items, size_t n)
{
	unsigned current = 0;

	for (size_t i = 0; i < n; i++) {
		if (items[i].state < NTM_DC_KEY_CURRENT || items[i].state > NTM_DC_KEY_PREVIOUS)
			return false;
		current += items[i].state == NTM_DC_KEY_CURRENT;
	}
	return current == 1;
}

/* "configured KEY" and then "current|next|previous KEY", a line each. */
static bool read_line(char *line, struct ntm_key_list *configured, struct ntm_dc_key *items, size_t *n)
{
	char *text = strchr(line, ' ');
	uint8_t key[NTM_DH_LEN];

	if (!text)
		return false;
	*text++ = 0;
	if (ntm_key_from_text(text, key))
		return false;
	if (!strcmp(line, "configured")) {
		if (configured->n == NTM_CONF_KEYS_MAX)
			return false;
		memcpy(configured->keys[configured->n++], key, NTM_DH_LEN);
		return true;
	}
	for (int s = NTM_DC_KEY_CURRENT; s <= NTM_DC_KEY_PREVIOUS; s++) {
		if (strcmp(line, states[s]) != 0 || *n == NTM_DC_KEYS_MAX)
			continue;
		items[*n].state = (uint8_t)s;
		memcpy(items[(*n)++].key, key, NTM_DH_LEN);
		return true;
	}
	return false;
}

static void recall(struct ntm_dckeys *k)
{
	struct ntm_dc_key items[NTM_DC_KEYS_MAX] = {0};
	struct ntm_key_list configured = {0};
	FILE *f = fopen(k->file, "re");
	char line[128];
	bool ok = true;
	size_t n = 0;

	if (!f) {
		if (errno != ENOENT)
			ntm_warn("%s: %s", k->file, strerror(errno));
		return;
	}
	while (ok && fgets(line, sizeof(line), f))
		ok = read_line(line, &configured, items, &n);
	fclose(f);
	if (!ok || !sane(items, n)) {
		ntm_warn("%s is damaged and ignored", k->file);
		return;
	}
	/* another DC, or keys that the operator has put in anew */
	if (memcmp(&configured, &k->configured, sizeof(configured)) != 0)
		return;
	memcpy(k->items, items, sizeof(items));
	k->n = n;
}

int ntm_dckeys_init(struct ntm_dckeys *k, const struct ntm_key_list *configured, const char *private_key_file)
{
	*k = (struct ntm_dckeys){.configured = *configured};
	from_configuration(k);
	if (!private_key_file)
		return 0;
	if (asprintf(&k->file, "%s.dc-keys", private_key_file) < 0) {
		k->file = NULL;
		return -ENOMEM;
	}
	recall(k);
	return 0;
}

void ntm_dckeys_free(struct ntm_dckeys *k)
{
	free(k->file);
	k->file = NULL;
}

size_t ntm_dckeys_find(const struct ntm_dckeys *k, const uint8_t key[NTM_DH_LEN])
{
	size_t i = 0;

	while (i < k->n && memcmp(k->items[i].key, key, NTM_DH_LEN) != 0)
		i++;
	return i;
}

static int print(const struct ntm_dckeys *k, int fd)
{
	char text[NTM_KEY_TEXT_LEN + 1];

	for (size_t i = 0; i < k->configured.n; i++) {
		ntm_key_to_text(k->configured.keys[i], text);
		if (dprintf(fd, "configured %s\n", text) < 0)
			return -errno;
	}
	for (size_t i = 0; i < k->n; i++) {
		ntm_key_to_text(k->items[i].key, text);
		if (dprintf(fd, "%s %s\n", states[k->items[i].state], text) < 0)
			return -errno;
	}
	return fsync(fd) ? -errno : 0;
}

static void remember(const struct ntm_dckeys *k)
{
	char *tmp;
	int fd, err;

	if (!k->file || asprintf(&tmp, "%s.new", k->file) < 0)
		return;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	err = fd < 0 ? -errno : print(k, fd);
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (!err && rename(tmp, k->file))
		err = -errno;
	if (err)
		ntm_warn("%s: %s: the DC's keys are not remembered beyond this process", k->file, strerror(-err));
	free(tmp);
}

bool ntm_dckeys_learn(struct ntm_dckeys *k, const struct ntm_sig *m, const uint8_t by[NTM_DH_LEN])
{
	static const uint8_t order[] = {NTM_DC_KEY_CURRENT, NTM_DC_KEY_NEXT, NTM_DC_KEY_PREVIOUS};
	struct ntm_dckeys now = {.n = 0};

	if (!ntm_sig_has(m, NTM_F_DC_KEY) || !sane(m->dc_keys, m->n_dc_keys))
		return false;
	for (size_t o = 0; o < sizeof(order); o++) {
		for (unsigned i = 0; i < m->n_dc_keys; i++) {
			if (m->dc_keys[i].state == order[o])
				now.items[now.n++] = m->dc_keys[i];
		}
	}
	if (ntm_dckeys_find(&now, by) == now.n) {
		ntm_warn_limited("dc: it does not name the key of this session among its own; ignored");
		return false;
	}
	if (now.n == k->n && !memcmp(now.items, k->items, now.n * sizeof(now.items[0])))
		return false;
	memcpy(k->items, now.items, sizeof(now.items));
	k->n = now.n;
	remember(k);
	return true;
}
