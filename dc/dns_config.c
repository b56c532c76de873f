/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"

enum { KEY_FILE_MAX = 2048, DNS_PORT = 53 };

static int one_of(const char *v, const char *const *words, int n, char *why, size_t cap, const char *all)
{
	for (int i = 0; i < n; i++) {
		if (!strcmp(v, words[i]))
			return i;
	}
	snprintf(why, cap, "not one of %s", all);
	return -EINVAL;
}

int ntm_dc_conf_dns_mode(const char *v, void *field, char *why, size_t cap)
{
	static const char *const words[] = {"embedded", "update"};
	int i = one_of(v, words, 2, why, cap, "embedded, update");

	if (i < 0)
		return i;
	*(enum ntm_dc_dns_mode *)field = (enum ntm_dc_dns_mode)i;
	return 0;
}

int ntm_dc_conf_dns_publish(const char *v, void *field, char *why, size_t cap)
{
	static const char *const words[] = {"virtual", "real", "none"};
	int i = one_of(v, words, 3, why, cap, "virtual, real, none");

	if (i < 0)
		return i;
	*(enum ntm_dns_publish *)field = (enum ntm_dns_publish)i;
	return 0;
}

static void free_words(struct ntm_string_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
	memset(l, 0, sizeof(*l));
}

int ntm_dc_conf_dns_prefixes(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_dc_prefixes *list = field;
	struct ntm_string_list words = {0};
	struct ntm_prefix *items;
	int err = ntm_conf_strings(v, &words, why, cap);

	if (err)
		return err;
	items = calloc(words.n + 1, sizeof(*items));
	if (!items) {
		snprintf(why, cap, "out of memory");
		err = -ENOMEM;
	}
	for (size_t i = 0; !err && i < words.n; i++)
		err = ntm_conf_prefix(words.items[i], &items[i], why, cap);
	if (err) {
		free(items);
	} else {
		free(list->items);
		*list = (struct ntm_dc_prefixes){items, words.n};
	}
	free_words(&words);
	return err;
}

int ntm_dc_conf_dns_server(const char *v, void *field, char *why, size_t cap)
{
	int err = ntm_addr_parse(v, DNS_PORT, field);

	if (err)
		snprintf(why, cap, "not an address: 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53");
	return err;
}

/* Names of keys and zones have characters that host names have not. */
static int check_name(const char *v, char *why, size_t cap)
{
	ldns_rdf *name = v[0] ? ldns_dname_new_frm_str(v) : NULL;

	if (!name) {
		snprintf(why, cap, "%s: not a domain name", v);
		return -EINVAL;
	}
	ldns_rdf_deep_free(name);
	return 0;
}

int ntm_dc_conf_dns_name(const char *v, void *field, char *why, size_t cap)
{
	int err = check_name(v, why, cap);

	return err ? err : ntm_conf_string(v, field, why, cap);
}

int ntm_dc_conf_dns_zones(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_string_list words = {0};
	int err = ntm_conf_strings(v, &words, why, cap);

	for (size_t i = 0; !err && i < words.n; i++)
		err = check_name(words.items[i], why, cap);
	if (err) {
		free_words(&words);
		return err;
	}
	free_words(field);
	*(struct ntm_string_list *)field = words;
	return 0;
}

int ntm_dc_dns_config_check(const struct ntm_dc_dns_config *c, const char *zone, bool listens, char *why, size_t cap)
{
	bool about_updates = c->server.port || c->key_name || c->key_file || c->reverse_zones.n;
	const size_t longest = sizeof("hostmaster.") - 1; /* of the names that the zone gets beside the nodes' */

	if (c->mode == NTM_DC_DNS_UPDATE && listens)
		snprintf(why, cap, "dns_listen is for dns = embedded");
	else if (c->mode == NTM_DC_DNS_UPDATE && (!c->server.port || !c->key_name || !c->key_file))
		snprintf(why, cap, "dns = update needs dns_server, dns_key_name and dns_key_file");
	else if (c->mode == NTM_DC_DNS_EMBEDDED && about_updates)
		snprintf(why, cap, "dns_server, dns_key_name, dns_key_file and dns_reverse_zones are for dns = update");
	else if ((c->mode == NTM_DC_DNS_UPDATE || listens) && strlen(zone) + longest > NTM_NAME_MAX)
		snprintf(why, cap, "a zone with so long a name cannot be served");
	else
		return 0;
	return -EINVAL;
}

void ntm_dc_dns_config_free(struct ntm_dc_dns_config *c)
{
	free(c->transfer.items);
	free(c->key_name);
	free(c->key_file);
	free_words(&c->reverse_zones);
	memset(c, 0, sizeof(*c));
}

/* The secret within text; it is cut out of it. NULL: none. */
static char *secret_in(char *text)
{
	static const char blanks[] = " \t\r\n";
	char *p = strstr(text, "secret"), *end;

	if (p) {
		p += strlen("secret");
		p += strspn(p, blanks);
		if (*p++ != '"')
			return NULL;
		end = strchr(p, '"');
	} else {
		p = text + strspn(text, blanks);
		end = p + strcspn(p, blanks);
		if (end[strspn(end, blanks)])
			return NULL;
	}
	if (!end || end == p)
		return NULL;
	*end = 0;
	return p;
}

int ntm_dc_dns_key_load(const char *file, char **out, char *why, size_t cap)
{
	char text[KEY_FILE_MAX + 1], *secret = NULL;
	int fd = open(file, O_RDONLY | O_CLOEXEC), err = fd < 0 ? -errno : 0;
	struct stat st = {0};
	ssize_t n = 0;

	if (!err && fstat(fd, &st))
		err = -errno;
	if (!err) {
		n = read(fd, text, sizeof(text));
		err = n < 0 ? -errno : 0;
	}
	if (fd >= 0)
		close(fd);
	if (err) {
		snprintf(why, cap, "%s: %s", file, strerror(-err));
		return err;
	}
	if (n < (ssize_t)sizeof(text)) {
		text[n] = 0;
		secret = secret_in(text);
	}
	if (secret && st.st_mode & 07)
		ntm_warn("%s can be read by everybody", file);
	if (secret)
		*out = strdup(secret);
	if (!secret || !*out) {
		snprintf(why, cap, "%s: %s", file, secret ? "out of memory" : "no key in it");
		err = secret ? -ENOMEM : -EINVAL;
	}
	ntm_wipe(text, sizeof(text));
	return err;
}
