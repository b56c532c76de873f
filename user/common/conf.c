/* SPDX-License-Identifier: BSD-2-Clause */
#include "conf.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A section as it stands in the file; for a named one `element` is what its keys fill. */
struct section {
	struct section *next;
	char *text; /* between the brackets */
	const char *kind;
	void *element;
	unsigned line;
	bool *seen; /* by index of the key table */
};

struct loader {
	const struct ntm_conf_key *keys;
	size_t n_keys;
	ntm_conf_element element;
	void *conf;
	FILE *file;
	char *text; /* getline's buffer */
	size_t text_cap;
	unsigned line;
	struct section *sections, **tail, *cur;
	int err; /* first error; nothing is parsed after it */
	unsigned err_line;
	char why[256];
};

static __attribute__((format(printf, 3, 4))) void fail(struct loader *l, int err, const char *fmt, ...)
{
	va_list ap;

	if (l->err)
		return;
	l->err = err;
	l->err_line = l->line;
	va_start(ap, fmt);
	vsnprintf(l->why, sizeof(l->why), fmt, ap);
	va_end(ap);
}

/* "relay *" in the table stands for "relay NAME". */
static bool is_named(const char *pattern, size_t *kind_len)
{
	*kind_len = strcspn(pattern, " ");
	return pattern[*kind_len] != 0;
}

static bool section_matches(const struct ntm_conf_key *k, const char *text)
{
	size_t kind_len;

	if (!is_named(k->section, &kind_len))
		return !strcmp(k->section, text);
	return !strncmp(k->section, text, kind_len) && text[kind_len] == ' ' && text[kind_len + 1];
}

static struct section *new_section(struct loader *l, const char *text)
{
	struct section *s = calloc(1, sizeof(*s));

	if (s) {
		s->text = strdup(text);
		s->seen = calloc(l->n_keys, sizeof(*s->seen));
		s->line = l->line;
	}
	if (!s || !s->text || !s->seen) {
		if (s) {
			free(s->text);
			free(s->seen);
		}
		free(s);
		fail(l, -ENOMEM, "out of memory");
		return NULL;
	}
	*l->tail = s;
	l->tail = &s->next;
	return s;
}

static void begin_named(struct loader *l, struct section *s, const char *pattern, size_t kind_len)
{
	char why[128] = "refused", kind[32];

	snprintf(kind, sizeof(kind), "%.*s", (int)kind_len, pattern);
	s->element = l->element ? l->element(l->conf, kind, s->text + kind_len + 1, why, sizeof(why)) : NULL;
	if (!s->element)
		fail(l, -EINVAL, "section [%s]: %s", s->text, why);
}

/* text: between the brackets, blanks already normalised to "KIND" or "KIND NAME". */
static void begin_section(struct loader *l, const char *text)
{
	const struct ntm_conf_key *k = NULL;
	size_t kind_len;

	for (size_t i = 0; i < l->n_keys && !k; i++)
		if (section_matches(&l->keys[i], text))
			k = &l->keys[i];
	l->cur = NULL;
	if (!k) {
		fail(l, -EINVAL, "unknown section [%s]", text);
		return;
	}
	for (struct section *s = l->sections; s && !l->cur; s = s->next)
		if (!strcmp(s->text, text))
			l->cur = s;
	if (l->cur && is_named(k->section, &kind_len)) {
		fail(l, -EINVAL, "section [%s] is there already, in line %u", text, l->cur->line);
		return;
	}
	if (l->cur)
		return;
	l->cur = new_section(l, text);
	if (l->cur && is_named(k->section, &kind_len))
		begin_named(l, l->cur, k->section, kind_len);
}

/* The blanks around and inside a section's brackets don't matter. text is changed. */
static void section_line(struct loader *l, char *text)
{
	char *end = strchr(text, ']'), *out = text, *save = NULL;
	const char *rest = end ? end + 1 + strspn(end + 1, " \t\r\n") : NULL;

	if (!end || (*rest && *rest != ';' && *rest != '#')) {
		fail(l, -EINVAL, "a section is one line, [NAME]");
		return;
	}
	*end = 0;
	for (char *word = strtok_r(text + 1, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		size_t len = strlen(word);

		if (out != text)
			*out++ = ' ';
		memmove(out, word, len);
		out += len;
	}
	*out = 0;
	begin_section(l, text);
}

/*
 * libinih's line source. Sections are taken here, as libinih cuts their names at 49 characters and says nothing of
 * those without keys; a blank line is handed on in their place, which keeps its line count. Leading blanks go, as it
 * would take an indented line for the continuation of the one before.
 */
static char *next_line(char *out, int cap, void *stream)
{
	struct loader *l = stream;
	ssize_t len;
	char *p;

	if (l->err)
		return NULL;
	errno = 0;
	len = getline(&l->text, &l->text_cap, l->file);
	if (len < 0) {
		if (ferror(l->file) || errno)
			fail(l, errno ? -errno : -EIO, "cannot read it: %s", strerror(errno ? errno : EIO));
		return NULL;
	}
	l->line++;
	if (strlen(l->text) != (size_t)len) {
		fail(l, -EINVAL, "a NUL byte: not a text file");
		return NULL;
	}
	p = l->text;
	if (l->line == 1 && !strncmp(p, "\xef\xbb\xbf", 3))
		p += 3;
	p += strspn(p, " \t\r");
	if (*p == '[') {
		section_line(l, p);
		p = l->text;
		strcpy(p, "\n");
	} else if (strlen(p) >= (size_t)cap) {
		if (*p != '#' && *p != ';') {
			fail(l, -EINVAL, "longer than %d characters", cap - 2);
			return NULL;
		}
		strcpy(p, "\n");
	}
	return l->err ? NULL : strcpy(out, p);
}

static int on_key(void *user, const char *ini_section, const char *name, const char *value)
{
	char why[128] = "bad value";
	struct loader *l = user;
	size_t i, kind_len;
	char *base;
	int err;

	(void)ini_section;
	if (l->err)
		return 1;
	if (!l->cur) {
		fail(l, -EINVAL, "%s stands before the first [section]", name);
		return 0;
	}
	for (i = 0; i < l->n_keys; i++)
		if (section_matches(&l->keys[i], l->cur->text) && !strcmp(l->keys[i].key, name))
			break;
	if (i == l->n_keys) {
		fail(l, -EINVAL, "unknown key %s in [%s]", name, l->cur->text);
		return 0;
	}
	if (l->cur->seen[i]) {
		fail(l, -EINVAL, "%s is given twice in [%s]", name, l->cur->text);
		return 0;
	}
	base = is_named(l->keys[i].section, &kind_len) ? l->cur->element : l->conf;
	err = l->keys[i].parse(value, base + l->keys[i].offset, why, sizeof(why));
	if (err) {
		fail(l, err, "%s: %s", name, why);
		return 0;
	}
	l->cur->seen[i] = true;
	return 1;
}

static const struct section *find_section(const struct loader *l, const char *text)
{
	for (const struct section *s = l->sections; s; s = s->next)
		if (!strcmp(s->text, text))
			return s;
	return NULL;
}

static void check_required(struct loader *l)
{
	for (size_t i = 0; i < l->n_keys && !l->err; i++) {
		const struct ntm_conf_key *k = &l->keys[i];
		size_t kind_len;

		if (!k->required)
			continue;
		if (!is_named(k->section, &kind_len)) {
			const struct section *s = find_section(l, k->section);

			l->line = s ? s->line : 0;
			if (!s || !s->seen[i])
				fail(l, -EINVAL, "%s is missing in [%s]", k->key, k->section);
			continue;
		}
		for (const struct section *s = l->sections; s; s = s->next) {
			l->line = s->line;
			if (section_matches(k, s->text) && !s->seen[i])
				fail(l, -EINVAL, "%s is missing in [%s]", k->key, s->text);
		}
	}
}

/* Directory of the file being loaded, with its slash; empty: the working directory. */
static _Thread_local char *conf_dir;

static void loader_free(struct loader *l)
{
	while (l->sections) {
		struct section *s = l->sections;

		l->sections = s->next;
		free(s->text);
		free(s->seen);
		free(s);
	}
	free(l->text);
	free(conf_dir);
	conf_dir = NULL;
	if (l->file)
		fclose(l->file);
}

int ntm_conf_load(const char *file, const struct ntm_conf_key *keys, size_t n_keys, ntm_conf_element element,
		  void *conf, char *err, size_t err_cap)
{
	struct loader l = {.keys = keys, .n_keys = n_keys, .element = element, .conf = conf};
	const char *slash = strrchr(file, '/');
	int rc;

	l.tail = &l.sections;
	conf_dir = strndup(file, slash ? (size_t)(slash - file) + 1 : 0);
	l.file = fopen(file, "re");
	if (!l.file)
		fail(&l, -errno, "cannot open it: %s", strerror(errno));
	else if (!conf_dir)
		fail(&l, -ENOMEM, "out of memory");
	if (!l.err) {
		rc = ini_parse_stream(next_line, &l, on_key, &l);
		if (rc < 0)
			fail(&l, -ENOMEM, "out of memory");
		if (rc > 0 && (!l.err || (unsigned)rc < l.err_line)) {
			l.err = 0;
			l.line = (unsigned)rc;
			fail(&l, -EINVAL, "neither [section] nor key = value");
		}
	}
	if (!l.err)
		check_required(&l);
	if (l.err && l.err_line)
		snprintf(err, err_cap, "%s:%u: %s", file, l.err_line, l.why);
	else if (l.err)
		snprintf(err, err_cap, "%s: %s", file, l.why);
	rc = l.err;
	loader_free(&l);
	return rc;
}

const char *ntm_conf_directory(void)
{
	return conf_dir ? conf_dir : "";
}
