/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS_MAX = 16 };

json_object *ctl_member(json_object *o, const char *key)
{
	json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

const char *ctl_text(json_object *o, const char *key)
{
	json_object *v = ctl_member(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

void ctl_print_json(json_object *o)
{
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
						   JSON_C_TO_STRING_NOSLASHESCAPE));
}

const char *ctl_format_bytes(uint64_t bytes, char out[CTL_CELL_LEN])
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes / 1000;
	unsigned u = 0;

	if (bytes < 1000) {
		snprintf(out, CTL_CELL_LEN, "%u B", (unsigned)bytes);
		return out;
	}
	for (; v >= 999.95 && u < 5; u++)
		v /= 1000;
	snprintf(out, CTL_CELL_LEN, "%.1f %s", v, units[u]);
	return out;
}

const char *ctl_format_age(double seconds, char out[CTL_CELL_LEN])
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (s < 10)
		snprintf(out, CTL_CELL_LEN, "%.1f s", seconds > 0 ? seconds : 0);
	else if (s < 120)
		snprintf(out, CTL_CELL_LEN, "%u s", (unsigned)s);
	else if (s < 7200)
		snprintf(out, CTL_CELL_LEN, "%u min", (unsigned)(s / 60));
	else if (s < 172800)
		snprintf(out, CTL_CELL_LEN, "%u h %u min", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
	else
		snprintf(out, CTL_CELL_LEN, "%llu days", (unsigned long long)(s / 86400));
	return out;
}

const char *ctl_cell(json_object *o, const char *key, enum ctl_kind kind, char out[CTL_CELL_LEN])
{
	json_object *v = ctl_member(o, key);

	snprintf(out, CTL_CELL_LEN, "-");
	if (!v)
		return out;
	switch (kind) {
	case CTL_TEXT:
	case CTL_INT:
		snprintf(out, CTL_CELL_LEN, "%s", json_object_get_string(v));
		break;
	case CTL_BYTES:
		ctl_format_bytes((uint64_t)json_object_get_int64(v), out);
		break;
	case CTL_MS:
		snprintf(out, CTL_CELL_LEN, "%.3f ms", json_object_get_double(v));
		break;
	case CTL_AGE:
		ctl_format_age(json_object_get_double(v), out);
		break;
	case CTL_BOOL:
		snprintf(out, CTL_CELL_LEN, "%s", json_object_get_boolean(v) ? "yes" : "no");
		break;
	}
	return out;
}

static void print_cell(const char *text, int width, bool right, bool last)
{
	if (right)
		printf("%*s", width, text);
	else
		printf("%-*s", last ? 0 : width, text);
	fputs(last ? "\n" : "  ", stdout);
}

void ctl_print_table(json_object *array, const struct ctl_column *columns, size_t n, const char *nothing)
{
	size_t rows = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
	int width[COLUMNS_MAX];
	char cell[CTL_CELL_LEN];

	if (!rows) {
		puts(nothing);
		return;
	}
	n = n < COLUMNS_MAX ? n : COLUMNS_MAX;
	for (size_t c = 0; c < n; c++) {
		width[c] = (int)strlen(columns[c].title);
		for (size_t r = 0; r < rows; r++) {
			json_object *o = json_object_array_get_idx(array, r);
			int len = (int)strlen(ctl_cell(o, columns[c].key, columns[c].kind, cell));

			width[c] = len > width[c] ? len : width[c];
		}
	}
	for (size_t c = 0; c < n; c++)
		print_cell(columns[c].title, width[c], columns[c].kind != CTL_TEXT && columns[c].kind != CTL_BOOL,
			   c + 1 == n);
	for (size_t r = 0; r < rows; r++) {
		json_object *o = json_object_array_get_idx(array, r);

		for (size_t c = 0; c < n; c++)
			print_cell(ctl_cell(o, columns[c].key, columns[c].kind, cell), width[c],
				   columns[c].kind != CTL_TEXT && columns[c].kind != CTL_BOOL, c + 1 == n);
	}
}
