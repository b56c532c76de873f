/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens at the DC, for the operator to watch: nodes, paths, relays, other zones, and all that the audit log
 * gets. The last ones are kept in memory; who follows gets each new one.
 */
#ifndef NTM_DC_EVENTS_H
#define NTM_DC_EVENTS_H

#include <stdint.h>

#include <json-c/json.h>

#include <ntm/limits.h>

struct ntm_ctl_client;
struct ntm_dc;

enum { NTM_DC_EVENTS_KEPT = 256, NTM_DC_FOLLOWERS_MAX = 16 };

struct ntm_dc_event_record {
	uint64_t seq;    /* from 1 */
	int64_t time_ms; /* since 1970 */
	char event[24], actor[NTM_LABEL_MAX + 1], object[NTM_NAME_MAX + 1], detail[128];
};

struct ntm_dc_events {
	uint64_t count;                      /* ever */
	struct ntm_dc_event_record *records; /* a ring, made with the first event */
	struct ntm_ctl_client *followers[NTM_DC_FOLLOWERS_MAX];
	unsigned n_followers;
};

/* actor, object and detail may be NULL. What does not fit is cut. */
void ntm_dc_event(struct ntm_dc *dc, const char *event, const char *actor, const char *object, const char *detail);
/* Command `events`: the last ones, "last" of them (20), as events; with "follow" the new ones after them. */
void ntm_dc_events_command(struct ntm_dc *dc, struct ntm_ctl_client *c, json_object *request);
void ntm_dc_events_closed(struct ntm_dc *dc, const struct ntm_ctl_client *c);
void ntm_dc_events_free(struct ntm_dc_events *e);

#endif
