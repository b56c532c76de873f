/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Metrics in the Prometheus text format (version 0.0.4), and the small HTTP server that gives them away: GET /metrics
 * and nothing else, one answer a connection, few connections at once. Numbers are read when somebody asks.
 */
#ifndef NTM_METRICS_H
#define NTM_METRICS_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "addr.h"
#include "conf.h"

/* --- text --- */

struct ntm_metrics {
	char *text;
	size_t len, cap;
	int err; /* sticky: 0, -ENOMEM or -EFBIG */
};
void ntm_metrics_free(struct ntm_metrics *m);

/* HELP and TYPE; type "counter", "gauge" or "histogram". Its samples follow, before the next family. */
void ntm_metrics_family(struct ntm_metrics *m, const char *name, const char *type, const char *help);
/* One sample. Then pairs of label name and value, ended by NULL; values may have any bytes. */
void ntm_metrics_sample(struct ntm_metrics *m, const char *name, double value, ...) __attribute__((sentinel));
/* A family of one sample without labels. */
void ntm_metrics_one(struct ntm_metrics *m, const char *name, const char *type, const char *help, double value);

enum { NTM_HISTOGRAM_MAX = 20 };
struct ntm_histogram {
	const double *bounds; /* upper ones, rising; +Inf is implied */
	unsigned n;           /* of them, at most NTM_HISTOGRAM_MAX */
	uint64_t counts[NTM_HISTOGRAM_MAX + 1];
	double sum;
};
extern const double ntm_latency_bounds[]; /* seconds, 50 µs to 10 s */
enum { NTM_LATENCY_BOUNDS = 17 };
#define NTM_LATENCY_HISTOGRAM                                         \
	{                                                             \
		.bounds = ntm_latency_bounds, .n = NTM_LATENCY_BOUNDS \
	}
void ntm_histogram_observe(struct ntm_histogram *h, double value);
void ntm_metrics_histogram(struct ntm_metrics *m, const char *name, const char *help, const struct ntm_histogram *h);

/* process_*, and ntm_build_info with the version, of this process. */
void ntm_metrics_process(struct ntm_metrics *m);

/* --- server (metrics_http.c) --- */

struct ntm_metrics_server;
typedef void (*ntm_metrics_collect)(struct ntm_metrics *m, void *arg);

/*
 * Listens. 0, or -errno with a sentence in why. Port 0: any, see ntm_metrics_port(). A unix socket takes the place of
 * one that nobody listens at, has mode 0660 and goes with the server.
 */
int ntm_metrics_start(struct ntm_metrics_server **out, uv_loop_t *loop, const struct ntm_listen *at,
		      ntm_metrics_collect collect, void *arg, char *why, size_t cap);
uint16_t ntm_metrics_port(const struct ntm_metrics_server *s); /* host order; 0: unknown */
/* Closes its handles; freed once the loop has run. NULL: nothing. */
void ntm_metrics_stop(struct ntm_metrics_server *s);

#endif
