/* SPDX-License-Identifier: BSD-2-Clause */
#include "policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ntm/limits.h>

#include "../user/common/conf.h"

enum { LINE_CAP = 65536, WHY_CAP = 160 };

struct group;

/* Who is meant: any of these. */
struct set {
	bool all;
	char **labels; /* sorted once the file is read */
	size_t n_labels;
	char **prefixes;
	size_t n_prefixes;
	const struct group **groups;
	size_t n_groups;
};

struct group {
	char name[NTM_LABEL_MAX + 1];
	struct set members;
};

struct rule {
	bool allow, both;
	unsigned line;
	struct set from, to;
};

struct ntm_dc_policy {
	bool allow; /* where no rule fits */
	bool default_given;
	struct group **groups;
	size_t n_groups;
	struct rule **rules;
	size_t n_rules;
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool contains(const struct set *s, const char *label)
{
	if (s->all)
		return true;
	if (s->n_labels && bsearch(&label, s->labels, s->n_labels, sizeof(*s->labels), compare))
		return true;
	for (size_t i = 0; i < s->n_prefixes; i++) {
		if (*label && !strncmp(label, s->prefixes[i], strlen(s->prefixes[i])))
			return true;
	}
	for (size_t i = 0; i < s->n_groups; i++) {
		if (contains(&s->groups[i]->members, label))
			return true;
	}
	return false;
}

bool ntm_dc_policy_allows(const struct ntm_dc_policy *p, const char *from, const char *to, unsigned *line)
{
	for (size_t i = 0; p && i < p->n_rules; i++) {
		const struct rule *r = p->rules[i];

		if ((contains(&r->from, from) && contains(&r->to, to)) ||
		    (r->both && contains(&r->from, to) && contains(&r->to, from))) {
			if (line)
				*line = r->line;
			return r->allow;
		}
	}
	if (line)
		*line = 0;
	return !p || p->allow;
}

size_t ntm_dc_policy_rules(const struct ntm_dc_policy *p)
{
	return p ? p->n_rules : 0;
}

static void free_texts(char **texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(texts[i]);
	free(texts);
}

static void free_set(struct set *s)
{
	free_texts(s->labels, s->n_labels);
	free_texts(s->prefixes, s->n_prefixes);
	free(s->groups);
}

static void free_rule(struct rule *r)
{
	if (!r)
		return;
	free_set(&r->from);
	free_set(&r->to);
	free(r);
}

static void free_group(struct group *g)
{
	if (!g)
		return;
	free_set(&g->members);
	free(g);
}

void ntm_dc_policy_free(struct ntm_dc_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_rules; i++)
		free_rule(p->rules[i]);
	for (size_t i = 0; i < p->n_groups; i++)
		free_group(p->groups[i]);
	free(p->rules);
	free(p->groups);
	free(p);
}

/* Adds a pointer to an array of pointers, which grows by doubling. */
static int push(void *array, size_t *n, void *item)
{
	void ***items = array, **more;

	if (!(*n & (*n - 1))) {
		more = realloc(*items, (*n ? 2 * *n : 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		*items = more;
	}
	(*items)[(*n)++] = item;
	return 0;
}

static int push_text(char ***texts, size_t *n, const char *text, char *why)
{
	char *copy = strdup(text);

	if (copy && !push(texts, n, copy))
		return 0;
	free(copy);
	snprintf(why, WHY_CAP, "out of memory");
	return -ENOMEM;
}

static struct group *find_group(const struct ntm_dc_policy *p, const char *name)
{
	for (size_t i = 0; i < p->n_groups; i++) {
		if (!strcmp(p->groups[i]->name, name))
			return p->groups[i];
	}
	return NULL;
}

static char *trim(char *s)
{
	size_t len;

	s += strspn(s, " \t\r\n");
	for (len = strlen(s); len && strchr(" \t\r\n", s[len - 1]); len--)
		s[len - 1] = 0;
	return s;
}

/* What is before the '*' of a pattern: letters, digits and hyphens, lower-cased. */
static int parse_prefix(const char *v, char out[NTM_LABEL_MAX + 1], char *why)
{
	size_t len = strlen(v) - 1;
	char text[NTM_LABEL_MAX + 2], ignored[WHY_CAP];

	if (len >= NTM_LABEL_MAX) {
		snprintf(why, WHY_CAP, "%s: longer than a label", v);
		return -EINVAL;
	}
	memcpy(text, v, len);
	strcpy(text + len, "0"); /* a label may not end with the hyphen that a prefix may */
	if (ntm_conf_label(text, out, ignored, sizeof(ignored))) {
		snprintf(why, WHY_CAP, "%s: not a pattern: letters, digits, hyphens, and one * at the end", v);
		return -EINVAL;
	}
	out[len] = 0;
	return 0;
}

static int parse_item(const struct ntm_dc_policy *p, const char *v, const struct group *self, struct set *s, char *why)
{
	char label[NTM_LABEL_MAX + 1], ignored[WHY_CAP];
	struct group *g;
	size_t len = strlen(v);
	int err;

	if (!strcmp(v, "*")) {
		s->all = true;
		return 0;
	}
	if (*v == '@') {
		g = find_group(p, v + 1);
		if (!g || g == self) {
			snprintf(why, WHY_CAP, "%.80s: no such group above this line", v);
			return -EINVAL;
		}
		if (push(&s->groups, &s->n_groups, g)) {
			snprintf(why, WHY_CAP, "out of memory");
			return -ENOMEM;
		}
		return 0;
	}
	if (len && v[len - 1] == '*') {
		err = parse_prefix(v, label, why);
		return err ? err : push_text(&s->prefixes, &s->n_prefixes, label, why);
	}
	if (ntm_conf_label(v, label, ignored, sizeof(ignored))) {
		snprintf(why, WHY_CAP, "%.80s: not a node's name, pattern or @group", *v ? v : "(nothing)");
		return -EINVAL;
	}
	return push_text(&s->labels, &s->n_labels, label, why);
}

static int parse_set(const struct ntm_dc_policy *p, char *v, const struct group *self, struct set *s, char *why)
{
	int err = 0;

	for (char *item; !err && (item = strsep(&v, ","));)
		err = parse_item(p, trim(item), self, s, why);
	if (s->n_labels)
		qsort(s->labels, s->n_labels, sizeof(char *), compare);
	return err;
}

static int parse_default(struct ntm_dc_policy *p, const char *v, char *why)
{
	if (p->default_given) {
		snprintf(why, WHY_CAP, "the default was given above");
		return -EINVAL;
	}
	if (strcmp(v, "allow") != 0 && strcmp(v, "deny") != 0) {
		snprintf(why, WHY_CAP, "the default is allow or deny");
		return -EINVAL;
	}
	p->allow = *v == 'a';
	p->default_given = true;
	return 0;
}

static int parse_group(struct ntm_dc_policy *p, char *v, char *why)
{
	char *equals = strchr(v, '='), name[NTM_LABEL_MAX + 1], ignored[WHY_CAP];
	bool more = equals && equals > v && equals[-1] == '+';
	struct group *g;

	if (!equals) {
		snprintf(why, WHY_CAP, "a group is `group NAME = MEMBER, ...`");
		return -EINVAL;
	}
	equals[more ? -1 : 0] = 0;
	if (ntm_conf_label(trim(v), name, ignored, sizeof(ignored))) {
		snprintf(why, WHY_CAP, "%.80s: not a group's name: letters, digits and hyphens", trim(v));
		return -EINVAL;
	}
	g = find_group(p, name);
	if (!g != !more) {
		snprintf(why, WHY_CAP, g ? "group %.63s was given above: add to it by +=" : "no group %.63s above",
			 name);
		return -EINVAL;
	}
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g || push(&p->groups, &p->n_groups, g)) {
			free(g);
			snprintf(why, WHY_CAP, "out of memory");
			return -ENOMEM;
		}
		strcpy(g->name, name);
	} else if (!p->groups || g != p->groups[p->n_groups - 1]) {
		/* what comes in between may have it as a member: no circle can be made this way */
		snprintf(why, WHY_CAP, "group %.63s: add to it before the next group begins", name);
		return -EINVAL;
	}
	return parse_set(p, equals + 1, g, &g->members, why);
}

static int parse_rule(struct ntm_dc_policy *p, bool allow, char *v, unsigned line, char *why)
{
	char *arrow = strstr(v, "->");
	struct rule *r = calloc(1, sizeof(*r));
	int err = -EINVAL;

	if (!r || push(&p->rules, &p->n_rules, r)) {
		free(r);
		snprintf(why, WHY_CAP, "out of memory");
		return -ENOMEM;
	}
	r->allow = allow;
	r->line = line;
	if (!arrow || strstr(arrow + 2, "->")) {
		snprintf(why, WHY_CAP, "a rule is `allow FROM, ... -> TO, ...`, or with <->");
		return err;
	}
	r->both = arrow > v && arrow[-1] == '<';
	arrow[r->both ? -1 : 0] = 0;
	err = parse_set(p, v, NULL, &r->from, why);
	return err ? err : parse_set(p, arrow + 2, NULL, &r->to, why);
}

static int parse_line(struct ntm_dc_policy *p, char *text, unsigned line, char *why)
{
	char *word, *rest;

	text[strcspn(text, "#")] = 0;
	text = trim(text);
	if (!*text)
		return 0;
	rest = text + strcspn(text, " \t");
	word = text;
	if (*rest)
		*rest++ = 0;
	rest = trim(rest);
	if (!strcmp(word, "default"))
		return parse_default(p, rest, why);
	if (!strcmp(word, "group"))
		return parse_group(p, rest, why);
	if (!strcmp(word, "allow") || !strcmp(word, "deny"))
		return parse_rule(p, *word == 'a', rest, line, why);
	snprintf(why, WHY_CAP, "%.80s: not one of default, group, allow, deny", word);
	return -EINVAL;
}

static int parse_file(struct ntm_dc_policy *p, FILE *f, const char *file, char *err, size_t cap)
{
	static char buf[LINE_CAP];
	char why[WHY_CAP] = "";
	unsigned line = 0;
	int rc = 0;

	while (!rc && fgets(buf, sizeof(buf), f)) {
		size_t len = strlen(buf);

		line++;
		if (len == sizeof(buf) - 1 && buf[len - 1] != '\n') {
			snprintf(why, sizeof(why), "longer than %d bytes: use += for more members", LINE_CAP - 2);
			rc = -EINVAL;
		} else {
			rc = parse_line(p, buf, line, why);
		}
	}
	if (rc) {
		snprintf(err, cap, "%s:%u: %s", file, line, why);
	} else if (ferror(f)) {
		rc = -EIO;
		snprintf(err, cap, "%s: cannot be read", file);
	}
	return rc;
}

static int load(FILE *f, const char *name, struct ntm_dc_policy **out, char *err, size_t cap)
{
	struct ntm_dc_policy *p = calloc(1, sizeof(*p));
	int rc = -ENOMEM;

	if (!p) {
		snprintf(err, cap, "%s: out of memory", name);
		return rc;
	}
	p->allow = true;
	rc = parse_file(p, f, name, err, cap);
	if (rc) {
		ntm_dc_policy_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

int ntm_dc_policy_load(const char *file, struct ntm_dc_policy **out, char *err, size_t cap)
{
	FILE *f = fopen(file, "re");
	int rc = -errno;

	if (!f) {
		snprintf(err, cap, "%s: %s", file, strerror(-rc));
		return rc;
	}
	rc = load(f, file, out, err, cap);
	fclose(f);
	return rc;
}

int ntm_dc_policy_parse(const char *text, const char *name, struct ntm_dc_policy **out, char *err, size_t cap)
{
	FILE *f = fmemopen((void *)text, strlen(text), "r");
	int rc;

	if (!f) {
		snprintf(err, cap, "%s: out of memory", name);
		return -ENOMEM;
	}
	rc = load(f, name, out, err, cap);
	fclose(f);
	return rc;
}
