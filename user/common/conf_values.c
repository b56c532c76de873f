/* SPDX-License-Identifier: BSD-2-Clause */
/* The values of a configuration file. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <ntm/limits.h>

#include "conf.h"
#include "keystore.h"

static int refuse(char *why, size_t cap, const char *text)
{
	snprintf(why, cap, "%s", text);
	return -EINVAL;
}

static int out_of_memory(char *why, size_t cap)
{
	snprintf(why, cap, "out of memory");
	return -ENOMEM;
}

int ntm_conf_string(const char *v, void *char_ptr_field, char *why, size_t cap)
{
	char **field = char_ptr_field, *copy;

	if (!*v)
		return refuse(why, cap, "empty");
	copy = strdup(v);
	if (!copy)
		return out_of_memory(why, cap);
	free(*field);
	*field = copy;
	return 0;
}

int ntm_conf_path(const char *v, void *char_ptr_field, char *why, size_t cap)
{
	char **field = char_ptr_field, *joined;

	if (!*v)
		return refuse(why, cap, "empty");
	if (asprintf(&joined, "%s%s", *v == '/' ? "" : ntm_conf_directory(), v) < 0)
		return out_of_memory(why, cap);
	free(*field);
	*field = joined;
	return 0;
}

/* Decimal digits only, so no sign, no blank, no octal. */
static int parse_u32(const char *v, uint32_t max, uint32_t *out)
{
	uint64_t n = 0;

	if (!*v)
		return -EINVAL;
	for (; *v; v++) {
		if (*v < '0' || *v > '9')
			return -EINVAL;
		n = n * 10 + (uint64_t)(*v - '0');
		if (n > max)
			return -EINVAL;
	}
	*out = (uint32_t)n;
	return 0;
}

int ntm_conf_port(const char *v, void *uint16_host_order, char *why, size_t cap)
{
	uint32_t n;

	if (parse_u32(v, 65535, &n) || n == 0)
		return refuse(why, cap, "not a port number, 1 to 65535");
	*(uint16_t *)uint16_host_order = (uint16_t)n;
	return 0;
}

int ntm_conf_uint(const char *v, void *uint32, char *why, size_t cap)
{
	if (parse_u32(v, UINT32_MAX, uint32))
		return refuse(why, cap, "not a number, 0 to 4294967295");
	return 0;
}

int ntm_conf_bool(const char *v, void *bool_field, char *why, size_t cap)
{
	static const char *const words[] = {"no", "yes", "false", "true", "0", "1"};

	for (unsigned i = 0; i < 6; i++) {
		if (!strcasecmp(v, words[i])) {
			*(bool *)bool_field = i & 1;
			return 0;
		}
	}
	return refuse(why, cap, "neither yes nor no");
}

/* Letters, digits and hyphens, no hyphen at the ends (RFC 1035 2.3.1, first digit allowed by RFC 1123 2.1). */
static bool label_ok(const char *s, size_t len)
{
	if (len == 0 || len > NTM_LABEL_MAX || s[0] == '-' || s[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isascii(s[i]) || !(isalnum((unsigned char)s[i]) || s[i] == '-'))
			return false;
	return true;
}

static void copy_lower(char *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (char)tolower((unsigned char)s[i]);
	out[len] = 0;
}

int ntm_conf_label(const char *v, void *char64, char *why, size_t cap)
{
	size_t len = strlen(v);

	if (!label_ok(v, len))
		return refuse(why, cap, "not a name of 1 to 63 letters, digits and inner hyphens");
	copy_lower(char64, v, len);
	return 0;
}

int ntm_conf_zone(const char *v, void *char254, char *why, size_t cap)
{
	size_t len = strlen(v);

	if (len && v[len - 1] == '.')
		len--;
	if (len == 0 || len > NTM_NAME_MAX)
		return refuse(why, cap, "not a domain name of 1 to 253 characters");
	for (size_t start = 0; start <= len;) {
		const char *dot = memchr(v + start, '.', len - start);
		size_t end = dot ? (size_t)(dot - v) : len;

		if (!label_ok(v + start, end - start))
			return refuse(why, cap, "not a domain name");
		start = end + 1;
	}
	copy_lower(char254, v, len);
	return 0;
}

int ntm_conf_key32(const char *v, void *uint8_32, char *why, size_t cap)
{
	uint8_t key[NTM_DH_LEN];

	if (ntm_key_from_text(v, key))
		return refuse(why, cap, "not a key: 44 characters of base64, as `ntm pubkey` writes them");
	memcpy(uint8_32, key, sizeof(key));
	return 0;
}

int ntm_conf_prefix(const char *v, void *prefix, char *why, size_t cap)
{
	if (ntm_prefix_parse(v, prefix))
		return refuse(why, cap, "not a prefix, ADDRESS/LENGTH with zero host bits");
	return 0;
}

int ntm_conf_addr(const char *v, void *addr, char *why, size_t cap)
{
	if (ntm_addr_parse(v, 0, addr))
		return refuse(why, cap, "not an address with port, 192.0.2.1:4680 or [2001:db8::1]:4680");
	return 0;
}

static void strings_free(struct ntm_string_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->items[i]);
	free(l->items);
}

int ntm_conf_strings(const char *v, void *string_list, char *why, size_t cap)
{
	struct ntm_string_list list = {0}, *field = string_list;

	for (const char *p = v;; p++) {
		const char *end = p + strcspn(p, ","), *last = end;
		char **grown;

		p += strspn(p, " \t");
		while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		if (last <= p) {
			strings_free(&list);
			return refuse(why, cap, *v ? "an empty item between commas" : "empty");
		}
		grown = realloc(list.items, (list.n + 1) * sizeof(*grown));
		if (grown) {
			list.items = grown;
			grown[list.n] = strndup(p, (size_t)(last - p));
		}
		if (!grown || !grown[list.n]) {
			strings_free(&list);
			return out_of_memory(why, cap);
		}
		list.n++;
		p = end;
		if (!*p)
			break;
	}
	strings_free(field);
	*field = list;
	return 0;
}

int ntm_conf_addrs(const char *v, void *addr_list, char *why, size_t cap)
{
	struct ntm_addr_list *field = addr_list;
	struct ntm_string_list words = {0};
	int err = ntm_conf_strings(v, &words, why, cap);
	struct ntm_addr *addrs;

	if (err)
		return err;
	addrs = calloc(words.n, sizeof(*addrs));
	if (!addrs)
		err = out_of_memory(why, cap);
	for (size_t i = 0; i < words.n && !err; i++) {
		err = ntm_addr_parse(words.items[i], 0, &addrs[i]);
		if (err)
			snprintf(why, cap, "%s: not an address with port, 192.0.2.1:4680 or [2001:db8::1]:4680",
				 words.items[i]);
	}
	if (err) {
		free(addrs);
	} else {
		free(field->addrs);
		field->addrs = addrs;
		field->n = words.n;
	}
	strings_free(&words);
	return err;
}

bool ntm_key_list_has(const struct ntm_key_list *l, const uint8_t key[NTM_DH_LEN])
{
	for (size_t i = 0; i < l->n; i++) {
		if (!memcmp(l->keys[i], key, NTM_DH_LEN))
			return true;
	}
	return false;
}

int ntm_conf_keys(const char *v, void *key_list, char *why, size_t cap)
{
	struct ntm_string_list words = {0};
	struct ntm_key_list list = {0};
	int err = ntm_conf_strings(v, &words, why, cap);

	if (!err && words.n > NTM_CONF_KEYS_MAX)
		err = refuse(why, cap, "more than 3 keys");
	for (size_t i = 0; i < words.n && !err; i++) {
		uint8_t key[NTM_DH_LEN];

		err = ntm_conf_key32(words.items[i], key, why, cap);
		if (!err && ntm_key_list_has(&list, key))
			err = refuse(why, cap, "the same key twice");
		if (!err)
			memcpy(list.keys[list.n++], key, NTM_DH_LEN);
	}
	if (!err)
		memcpy(key_list, &list, sizeof(list));
	strings_free(&words);
	return err;
}

int ntm_conf_listen(const char *v, void *field, char *why, size_t cap)
{
	struct ntm_listen *l = field;
	struct ntm_addr addr;
	int err;

	if (!strncmp(v, "unix:", 5)) {
		if (!v[5])
			return refuse(why, cap, "unix: and no file");
		err = ntm_conf_path(v + 5, &l->path, why, cap);
		if (!err)
			l->addr = (struct ntm_addr){0};
		return err;
	}
	if (ntm_addr_parse(v, 0, &addr) || !addr.port)
		return refuse(why, cap, "not an address with port, 127.0.0.1:9464 or [::1]:9464, nor unix:FILE");
	free(l->path);
	*l = (struct ntm_listen){.addr = addr};
	return 0;
}

bool ntm_text_equal(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

bool ntm_addr_list_equal(const struct ntm_addr_list *a, const struct ntm_addr_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (!ntm_addr_equal(&a->addrs[i], &b->addrs[i]))
			return false;
	return true;
}

bool ntm_string_list_equal(const struct ntm_string_list *a, const struct ntm_string_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

bool ntm_listen_equal(const struct ntm_listen *a, const struct ntm_listen *b)
{
	return ntm_text_equal(a->path, b->path) && ntm_addr_equal(&a->addr, &b->addr);
}
