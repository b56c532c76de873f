/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * INI configuration (libinih), driven by a table: an unknown section or key, a bad value, a key given twice or a
 * missing required one is an error with file and line. A program reports it and exits 2.
 */
#ifndef NTM_CONF_H
#define NTM_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

/* Parses value into *field. Returns 0, or -EINVAL with a short reason in why ("not a port number"). */
typedef int (*ntm_conf_parser)(const char *value, void *field, char *why, size_t cap);

struct ntm_conf_key {
	const char *section; /* exact; or "relay *": any name after the blank, see `element` */
	const char *key;
	ntm_conf_parser parse;
	size_t offset; /* of the field in the configuration struct, or in the element of a named section */
	bool required; /* for named sections: in each of them */
};

/* Called when a named section ("[relay rs1]") begins; returns the element that its keys fill, or NULL with a reason. */
typedef void *(*ntm_conf_element)(void *conf, const char *section_kind, const char *name, char *why, size_t cap);

/* 0 or -errno; on failure err holds "FILE:LINE: what is wrong" (LINE left out where there is none). */
int ntm_conf_load(const char *file, const struct ntm_conf_key *keys, size_t n_keys, ntm_conf_element element,
		  void *conf, char *err, size_t err_cap);

/* Parsers. Relative paths are relative to the configuration file's directory (kept in a thread-local during a load). */
const char *ntm_conf_directory(void); /* that directory with its slash, or "" */
int ntm_conf_string(const char *v, void *char_ptr_field, char *why, size_t cap); /* char *, malloc'd, replaces */
int ntm_conf_path(const char *v, void *char_ptr_field, char *why, size_t cap);
int ntm_conf_port(const char *v, void *uint16_host_order, char *why, size_t cap);
int ntm_conf_uint(const char *v, void *uint32, char *why, size_t cap);
int ntm_conf_bool(const char *v, void *bool_field, char *why, size_t cap); /* yes|no|true|false|1|0 */
int ntm_conf_label(const char *v, void *char64, char *why, size_t cap);    /* RFC 1035 label, lower-cased */
int ntm_conf_zone(const char *v, void *char254, char *why, size_t cap);    /* FQDN, lower-cased, no trailing dot */
int ntm_conf_key32(const char *v, void *uint8_32, char *why, size_t cap);  /* base64 X25519 key */
int ntm_conf_prefix(const char *v, void *ntm_prefix, char *why, size_t cap);
int ntm_conf_addr(const char *v, void *ntm_addr, char *why, size_t cap); /* ADDR:PORT */

struct ntm_addr_list {
	struct ntm_addr *addrs;
	size_t n;
};
int ntm_conf_addrs(const char *v, void *addr_list, char *why, size_t cap); /* comma-separated; malloc'd */
/* The same, in the same order: what a reload looks at. */
bool ntm_addr_list_equal(const struct ntm_addr_list *a, const struct ntm_addr_list *b);
/* ADDR:PORT, or unix:FILE */
struct ntm_listen {
	struct ntm_addr addr; /* port 0: not this */
	char *path;           /* malloc'd; NULL: not this */
};
int ntm_conf_listen(const char *v, void *ntm_listen, char *why, size_t cap);
static inline bool ntm_listen_given(const struct ntm_listen *l)
{
	return l->addr.port || l->path;
}
bool ntm_listen_equal(const struct ntm_listen *a, const struct ntm_listen *b);

struct ntm_string_list {
	char **items;
	size_t n;
};
int ntm_conf_strings(const char *v, void *string_list, char *why, size_t cap); /* comma-separated; malloc'd */
bool ntm_string_list_equal(const struct ntm_string_list *a, const struct ntm_string_list *b);
bool ntm_text_equal(const char *a, const char *b); /* NULL, not given, equals NULL */

/* Public keys, comma-separated: of one party, which is changing its key. */
enum { NTM_CONF_KEYS_MAX = 3 };
struct ntm_key_list {
	uint8_t keys[NTM_CONF_KEYS_MAX][32];
	size_t n;
};
int ntm_conf_keys(const char *v, void *key_list, char *why, size_t cap);
bool ntm_key_list_has(const struct ntm_key_list *l, const uint8_t key[32]);

#endif
