/* SPDX-License-Identifier: BSD-2-Clause */
#include "metrics.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (8u << 20)          /* bytes of one answer */
#define EXACT_MAX 9007199254740992.0 /* 2^53: integers up to it are exact in a double, and written as such */

const double ntm_latency_bounds[NTM_LATENCY_BOUNDS] = {
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
};

void ntm_metrics_free(struct ntm_metrics *m)
{
	free(m->text);
	*m = (struct ntm_metrics){0};
}

static void append(struct ntm_metrics *m, const char *data, size_t len)
{
	size_t cap = m->cap ? m->cap : 8192;
	char *grown;

	if (m->err)
		return;
	while (cap < m->len + len)
		cap *= 2;
	if (cap > TEXT_MAX) {
		m->err = -EFBIG;
		return;
	}
	if (cap != m->cap) {
		grown = realloc(m->text, cap);
		if (!grown) {
			m->err = -ENOMEM;
			return;
		}
		m->text = grown;
		m->cap = cap;
	}
	memcpy(m->text + m->len, data, len);
	m->len += len;
}

static void append_text(struct ntm_metrics *m, const char *text)
{
	append(m, text, strlen(text));
}

/* A label's value: backslash, quote and line feed are escaped; what is not printable ASCII becomes '?', so that the
 * text is UTF-8 whatever a name has. */
static void append_value(struct ntm_metrics *m, const char *v)
{
	for (; *v; v++) {
		if (*v == '\\' || *v == '"')
			append(m, "\\", 1);
		if (*v == '\n')
			append(m, "\\n", 2);
		else
			append(m, *v >= ' ' && *v <= '~' ? v : "?", 1);
	}
}

static void append_number(struct ntm_metrics *m, double v)
{
	char text[40];

	if (isnan(v))
		snprintf(text, sizeof(text), "NaN");
	else if (isinf(v))
		snprintf(text, sizeof(text), v > 0 ? "+Inf" : "-Inf");
	else if (v >= -EXACT_MAX && v <= EXACT_MAX && v == (double)(int64_t)v)
		snprintf(text, sizeof(text), "%.0f", v);
	else
		snprintf(text, sizeof(text), "%.9g", v);
	append_text(m, text);
}

void ntm_metrics_family(struct ntm_metrics *m, const char *name, const char *type, const char *help)
{
	append_text(m, "# HELP ");
	append_text(m, name);
	append_text(m, " ");
	append_text(m, help);
	append_text(m, "\n# TYPE ");
	append_text(m, name);
	append_text(m, " ");
	append_text(m, type);
	append_text(m, "\n");
}

void ntm_metrics_sample(struct ntm_metrics *m, const char *name, double value, ...)
{
	const char *label, *text;
	unsigned n = 0;
	va_list ap;

	append_text(m, name);
	va_start(ap, value);
	for (; (label = va_arg(ap, const char *)) && (text = va_arg(ap, const char *)); n++) {
		append_text(m, n ? "," : "{");
		append_text(m, label);
		append_text(m, "=\"");
		append_value(m, text);
		append_text(m, "\"");
	}
	va_end(ap);
	append_text(m, n ? "} " : " ");
	append_number(m, value);
	append_text(m, "\n");
}

void ntm_metrics_one(struct ntm_metrics *m, const char *name, const char *type, const char *help, double value)
{
	ntm_metrics_family(m, name, type, help);
	ntm_metrics_sample(m, name, value, NULL);
}

void ntm_histogram_observe(struct ntm_histogram *h, double value)
{
	unsigned i = 0;

	while (i < h->n && value > h->bounds[i])
		i++;
	h->counts[i]++;
	h->sum += value;
}

void ntm_metrics_histogram(struct ntm_metrics *m, const char *name, const char *help, const struct ntm_histogram *h)
{
	char series[96], bound[32];
	uint64_t below = 0;

	ntm_metrics_family(m, name, "histogram", help);
	snprintf(series, sizeof(series), "%s_bucket", name);
	for (unsigned i = 0; i <= h->n; i++) {
		below += h->counts[i];
		if (i < h->n)
			snprintf(bound, sizeof(bound), "%g", h->bounds[i]);
		else
			snprintf(bound, sizeof(bound), "+Inf");
		ntm_metrics_sample(m, series, (double)below, "le", bound, NULL);
	}
	snprintf(series, sizeof(series), "%s_sum", name);
	ntm_metrics_sample(m, series, h->sum, NULL);
	snprintf(series, sizeof(series), "%s_count", name);
	ntm_metrics_sample(m, series, (double)below, NULL);
}
