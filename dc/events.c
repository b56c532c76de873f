/* SPDX-License-Identifier: BSD-2-Clause */
#include "events.h"

#include <stdio.h>
#include <stdlib.h>

#include "../user/common/log.h"
#include "clock.h"
#include "dc.h"

enum { LAST_DEFAULT = 20 };

static void put(json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, *text ? json_object_new_string(text) : NULL);
}

static json_object *to_json(const struct ntm_dc_event_record *r)
{
	json_object *o = json_object_new_object();
	time_t s = (time_t)(r->time_ms / 1000);
	char text[48];
	struct tm tm;
	size_t len;

	gmtime_r(&s, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(r->time_ms % 1000));
	json_object_object_add(o, "seq", json_object_new_int64((int64_t)r->seq));
	put(o, "time", text);
	put(o, "event", r->event);
	put(o, "actor", r->actor);
	put(o, "object", r->object);
	put(o, "detail", r->detail);
	return o;
}

void ntm_dc_event(struct ntm_dc *dc, const char *event, const char *actor, const char *object, const char *detail)
{
	struct ntm_dc_events *e = &dc->events;
	struct ntm_dc_event_record *r;
	struct timespec now = ntm_dc_wall();

	if (!e->records)
		e->records = calloc(NTM_DC_EVENTS_KEPT, sizeof(*e->records));
	if (!e->records) {
		ntm_warn_limited("events are not kept: out of memory");
		return;
	}
	r = &e->records[e->count % NTM_DC_EVENTS_KEPT];
	r->seq = ++e->count;
	r->time_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	snprintf(r->event, sizeof(r->event), "%s", event);
	snprintf(r->actor, sizeof(r->actor), "%s", actor ? actor : "");
	snprintf(r->object, sizeof(r->object), "%s", object ? object : "");
	snprintf(r->detail, sizeof(r->detail), "%s", detail ? detail : "");
	for (unsigned i = 0; i < e->n_followers; i++)
		ntm_ctl_event(e->followers[i], to_json(r));
}

void ntm_dc_events_command(struct ntm_dc *dc, struct ntm_ctl_client *c, json_object *request)
{
	struct ntm_dc_events *e = &dc->events;
	uint64_t last = LAST_DEFAULT, kept = e->count < NTM_DC_EVENTS_KEPT ? e->count : NTM_DC_EVENTS_KEPT;
	json_object *v;
	bool follow = json_object_object_get_ex(request, "follow", &v) && json_object_get_boolean(v);

	if (json_object_object_get_ex(request, "last", &v) && v) {
		int64_t wanted = json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : -1;

		if (wanted < 0) {
			ntm_ctl_error(c, "bad_argument", "last is a number");
			return;
		}
		last = (uint64_t)wanted;
	}
	if (follow && e->n_followers == NTM_DC_FOLLOWERS_MAX) {
		ntm_ctl_error(c, "busy", "%d others follow the events already", NTM_DC_FOLLOWERS_MAX);
		return;
	}
	for (uint64_t i = e->count - (last < kept ? last : kept); i < e->count; i++)
		ntm_ctl_event(c, to_json(&e->records[i % NTM_DC_EVENTS_KEPT]));
	if (follow)
		e->followers[e->n_followers++] = c;
	else
		ntm_ctl_result(c, NULL);
}

void ntm_dc_events_closed(struct ntm_dc *dc, const struct ntm_ctl_client *c)
{
	struct ntm_dc_events *e = &dc->events;
	unsigned kept = 0;

	for (unsigned i = 0; i < e->n_followers; i++) {
		if (e->followers[i] != c)
			e->followers[kept++] = e->followers[i];
	}
	e->n_followers = kept;
}

void ntm_dc_events_free(struct ntm_dc_events *e)
{
	free(e->records);
	e->records = NULL;
}
