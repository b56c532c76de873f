/* SPDX-License-Identifier: BSD-2-Clause */
#include "dns_update.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../user/common/crypto.h"
#include "../user/common/log.h"
#include "dns_update_msg.h"
#include "table.h"

enum { ANSWER_MAX = 65535 };

struct waiting {
	struct ntm_dns_change c;
	struct ntm_table_link by_label;
	TAILQ_ENTRY(waiting) link;
	bool in_batch, again; /* again: changed after the message that has it was made */
};
TAILQ_HEAD(waiting_list, waiting);

/* Ours until it is closed; then it lives on, without u, until the loop has seen to it. */
struct conn {
	struct ntm_dns_update *u;
	uv_tcp_t tcp;
	uv_connect_t connect;
	bool connected;
	size_t got;
	uint8_t in[2 + ANSWER_MAX];
};

struct out {
	uv_write_t req;
	uint8_t data[];
};

struct ntm_dns_update {
	uv_loop_t *loop;
	const struct ntm_dns_zone *z;
	struct ntm_addr server;
	struct ntm_dns_signer signer;
	ldns_rdf **reverse; /* NULL: the server does not have it */
	size_t n_reverse;
	struct ntm_table by_label;
	struct waiting_list queue, batch;
	size_t phase; /* of the batch: 0 the zone of names, then the reverse zones */
	struct ntm_dns_message message;
	uv_timer_t timer;
	struct conn *conn;
	uint64_t retry_ms;
	enum { IDLE, GATHERING, ASKING, BACKING_OFF } state;
	struct ntm_dns_update_stats stats;
};

static void on_timer(uv_timer_t *timer);
static void next_message(struct ntm_dns_update *u);

static void conn_closed(uv_handle_t *h)
{
	free(h->data);
}

static void drop_conn(struct ntm_dns_update *u)
{
	struct conn *c = u->conn;

	if (!c)
		return;
	u->conn = NULL;
	c->u = NULL;
	uv_close((uv_handle_t *)&c->tcp, conn_closed);
}

static void wait_for(struct ntm_dns_update *u, int state, uint64_t ms)
{
	u->state = state;
	uv_timer_start(&u->timer, on_timer, ms, 0);
}

/* The batch is tried again later, as a whole: what is in it was not wrong, the server was. */
static void failed(struct ntm_dns_update *u, const char *why)
{
	char text[NTM_ADDR_STRLEN];

	drop_conn(u);
	ntm_dns_message_clear(&u->message);
	u->stats.failures++;
	u->retry_ms = u->retry_ms ? u->retry_ms * 2 : NTM_DNS_UPDATE_RETRY_MS;
	if (u->retry_ms > NTM_DNS_UPDATE_RETRY_MAX_MS)
		u->retry_ms = NTM_DNS_UPDATE_RETRY_MAX_MS;
	ntm_warn("dns: %s does not take the update: %s; again in %llu s", ntm_addr_format(&u->server, text), why,
		 (unsigned long long)u->retry_ms / 1000);
	wait_for(u, BACKING_OFF, u->retry_ms);
}

/* A label may be waiting twice, with the addresses of the node that had it before, too: both have PTR records. */
static struct waiting *find(const struct ntm_dns_update *u, const struct ntm_dns_change *c, uint64_t hash)
{
	struct ntm_table_link *l = ntm_table_first(&u->by_label, hash);

	for (; l; l = ntm_table_next(l)) {
		struct waiting *w = ntm_container_of(l, struct waiting, by_label);

		if (!strcmp(w->c.label, c->label) && !memcmp(w->c.vip4, c->vip4, 4) && !memcmp(w->c.vip6, c->vip6, 16))
			return w;
	}
	return NULL;
}

static void batch_done(struct ntm_dns_update *u)
{
	struct waiting *w;

	while ((w = TAILQ_FIRST(&u->batch))) {
		TAILQ_REMOVE(&u->batch, w, link);
		u->stats.names++;
		if (w->again) {
			w->again = w->in_batch = false;
			TAILQ_INSERT_TAIL(&u->queue, w, link);
			continue;
		}
		ntm_table_del(&u->by_label, &w->by_label);
		free(w);
	}
}

static void take_batch(struct ntm_dns_update *u)
{
	struct waiting *w;

	for (int n = 0; n < NTM_DNS_UPDATE_BATCH && (w = TAILQ_FIRST(&u->queue)); n++) {
		TAILQ_REMOVE(&u->queue, w, link);
		TAILQ_INSERT_TAIL(&u->batch, w, link);
		w->in_batch = true;
	}
	u->phase = 0;
}

static int add_change(struct ntm_dns_update *u, const struct ntm_dns_change *c, ldns_rr_list *rrs)
{
	if (!u->phase)
		return ntm_dns_change_forward(u->z, c, rrs);
	if (!u->reverse[u->phase - 1])
		return 0;
	return ntm_dns_change_reverse(u->z, c, u->reverse, u->n_reverse, u->phase - 1, rrs);
}

/* The message of this phase. 0, -ENODATA: nothing to say, or why not. */
static int make(struct ntm_dns_update *u)
{
	const ldns_rdf *zone = u->phase ? u->reverse[u->phase - 1] : u->z->origin;
	ldns_rr_list *rrs = ldns_rr_list_new();
	struct waiting *w = TAILQ_FIRST(&u->batch);
	int err = rrs ? 0 : -ENOMEM;

	for (; w && !err; w = TAILQ_NEXT(w, link)) {
		w->again = w->again && u->phase; /* what changes from here on is not in this one */
		err = add_change(u, &w->c, rrs);
	}
	if (!err && !ldns_rr_list_rr_count(rrs))
		err = -ENODATA;
	if (err) {
		ldns_rr_list_deep_free(rrs);
		return err;
	}
	return ntm_dns_message_make(&u->message, zone, rrs, &u->signer);
}

static void took_it(struct ntm_dns_update *u)
{
	ntm_dns_message_clear(&u->message);
	u->retry_ms = 0;
	u->stats.messages++;
	u->phase++;
	next_message(u);
}

static void answered(struct ntm_dns_update *u, const uint8_t *data, size_t len)
{
	char why[128];
	int rcode, err = ntm_dns_message_answered(&u->message, &u->signer, data, len, &rcode);
	const ldns_lookup_table *name = ldns_lookup_by_id(ldns_rcodes, rcode);

	if (!err) {
		took_it(u);
	} else if (err == -EADDRNOTAVAIL && u->phase) {
		char *zone = ldns_rdf2str(u->reverse[u->phase - 1]);

		ntm_warn("dns: the server has no zone %s: its PTR records are left out until the next start",
			 zone ? zone : "(?)");
		free(zone);
		ldns_rdf_deep_free(u->reverse[u->phase - 1]);
		u->reverse[u->phase - 1] = NULL;
		took_it(u);
	} else {
		snprintf(why, sizeof(why), "%s%s", name ? name->name : "no answer to it",
			 err == -EBADMSG ? ", not signed with our key" : "");
		failed(u, why);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = h->data;

	(void)suggested;
	*buf = uv_buf_init((char *)c->in + c->got, (unsigned)(sizeof(c->in) - c->got));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
	struct conn *c = s->data;
	struct ntm_dns_update *u = c->u;
	size_t len;

	(void)buf;
	if (!u || !n)
		return;
	if (n < 0 && u->state == ASKING) {
		failed(u, n == UV_EOF ? "it closed the connection" : uv_strerror((int)n));
		return;
	}
	if (n < 0 || u->state != ASKING) { /* idle connections end, and nothing comes unasked */
		drop_conn(u);
		return;
	}
	c->got += (size_t)n;
	len = c->got >= 2 ? (size_t)c->in[0] << 8 | c->in[1] : SIZE_MAX;
	if (len == SIZE_MAX || c->got < 2 + len)
		return;
	c->got = 0;
	answered(u, c->in + 2, len);
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = req->data;

	free((char *)req - offsetof(struct out, req));
	if (status && c->u)
		failed(c->u, uv_strerror(status));
}

static void send_message(struct ntm_dns_update *u)
{
	struct out *o = malloc(sizeof(*o) + 2 + u->message.len);
	uv_buf_t buf;
	int err;

	if (!o) {
		failed(u, "out of memory");
		return;
	}
	o->data[0] = (uint8_t)(u->message.len >> 8);
	o->data[1] = (uint8_t)u->message.len;
	memcpy(o->data + 2, u->message.wire, u->message.len);
	o->req.data = u->conn;
	buf = uv_buf_init((char *)o->data, (unsigned)u->message.len + 2);
	err = uv_write(&o->req, (uv_stream_t *)&u->conn->tcp, &buf, 1, on_written);
	if (err) {
		free(o);
		failed(u, uv_strerror(err));
	}
}

static void on_connected(uv_connect_t *req, int status)
{
	struct conn *c = req->data;

	if (!c->u)
		return;
	if (!status)
		status = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	if (status) {
		failed(c->u, uv_strerror(status));
		return;
	}
	c->connected = true;
	send_message(c->u);
}

static void open_conn(struct ntm_dns_update *u)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct sockaddr_storage sa;
	int err;

	if (!c) {
		failed(u, "out of memory");
		return;
	}
	uv_tcp_init(u->loop, &c->tcp);
	c->tcp.data = c->connect.data = c;
	c->u = u;
	u->conn = c;
	ntm_addr_to_sockaddr(&u->server, ntm_ip_is_v4(u->server.ip) ? AF_INET : AF_INET6, &sa);
	err = uv_tcp_connect(&c->connect, &c->tcp, (struct sockaddr *)&sa, on_connected);
	if (err)
		failed(u, uv_strerror(err));
}

static void ask(struct ntm_dns_update *u)
{
	wait_for(u, ASKING, NTM_DNS_UPDATE_TIMEOUT_MS);
	if (u->conn)
		send_message(u);
	else
		open_conn(u);
}

/* Goes on with the batch, and then with the next one. */
static void next_message(struct ntm_dns_update *u)
{
	for (;;) {
		int err;

		if (u->phase > u->n_reverse)
			batch_done(u);
		if (TAILQ_EMPTY(&u->batch))
			take_batch(u);
		if (TAILQ_EMPTY(&u->batch)) {
			u->state = IDLE;
			uv_timer_stop(&u->timer);
			return;
		}
		err = make(u);
		if (!err) {
			ask(u);
			return;
		}
		if (err != -ENODATA) {
			failed(u, strerror(-err));
			return;
		}
		u->phase++;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct ntm_dns_update *u = timer->data;

	if (u->state == ASKING) {
		failed(u, "no answer");
		return;
	}
	u->phase = 0;
	next_message(u);
}

int ntm_dns_update_changed(struct ntm_dns_update *u, const char *label, const uint8_t vip4[4], const uint8_t vip6[16])
{
	uint64_t hash = ntm_table_hash(label, strlen(label));
	struct ntm_dns_change c = {0};
	struct waiting *w;

	snprintf(c.label, sizeof(c.label), "%s", label);
	memcpy(c.vip4, vip4, 4);
	memcpy(c.vip6, vip6, 16);
	w = find(u, &c, hash);
	if (w) {
		w->again = w->in_batch;
		return 0;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->c = c;
	ntm_table_add(&u->by_label, &w->by_label, hash);
	TAILQ_INSERT_TAIL(&u->queue, w, link);
	if (u->state == IDLE)
		wait_for(u, GATHERING, NTM_DNS_UPDATE_DELAY_MS);
	return 0;
}

static void free_update(struct ntm_dns_update *u)
{
	struct waiting *w;

	TAILQ_CONCAT(&u->queue, &u->batch, link);
	while ((w = TAILQ_FIRST(&u->queue))) {
		TAILQ_REMOVE(&u->queue, w, link);
		free(w);
	}
	ntm_table_free(&u->by_label);
	for (size_t i = 0; u->reverse && i < u->n_reverse; i++)
		ldns_rdf_deep_free(u->reverse[i]);
	free(u->reverse);
	ntm_dns_message_clear(&u->message);
	if (u->signer.key)
		ntm_wipe(u->signer.key, strlen(u->signer.key));
	free(u->signer.key);
	free(u->signer.name);
	free(u);
}

static int copy_settings(struct ntm_dns_update *u, const struct ntm_dns_update_settings *s, char *why, size_t cap)
{
	u->server = s->server;
	u->signer.name = strdup(s->key_name);
	u->signer.key = strdup(s->key);
	u->reverse = calloc(s->n_reverse + 1, sizeof(*u->reverse));
	if (!u->signer.name || !u->signer.key || !u->reverse)
		return -ENOMEM;
	for (; u->n_reverse < s->n_reverse; u->n_reverse++) {
		u->reverse[u->n_reverse] = ldns_dname_new_frm_str(s->reverse[u->n_reverse]);
		if (!u->reverse[u->n_reverse]) {
			snprintf(why, cap, "%s is not a zone", s->reverse[u->n_reverse]);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_key(const struct ntm_dns_update *u, char *why, size_t cap)
{
	ldns_rdf *name = ldns_dname_new_frm_str(u->signer.name), *raw = NULL;
	bool good = name && ldns_str2rdf_b64(&raw, u->signer.key) == LDNS_STATUS_OK && ldns_rdf_size(raw);

	if (raw)
		ntm_wipe(ldns_rdf_data(raw), ldns_rdf_size(raw));
	ldns_rdf_deep_free(raw);
	ldns_rdf_deep_free(name);
	if (!good)
		snprintf(why, cap, "the key for updates, %s, is not usable: not a domain name, or not base64",
			 u->signer.name);
	return good ? 0 : -EINVAL;
}

int ntm_dns_update_start(struct ntm_dns_update **out, uv_loop_t *loop, const struct ntm_dns_zone *z,
			 const struct ntm_dns_update_settings *s, char *why, size_t cap)
{
	static const uint8_t none[16];
	struct ntm_dns_update *u = calloc(1, sizeof(*u));
	int err;

	snprintf(why, cap, "out of memory");
	if (!u)
		return -ENOMEM;
	u->loop = loop;
	u->z = z;
	TAILQ_INIT(&u->queue);
	TAILQ_INIT(&u->batch);
	err = ntm_table_init(&u->by_label, 0);
	if (!err)
		err = copy_settings(u, s, why, cap);
	if (!err)
		err = check_key(u, why, cap);
	if (err) {
		free_update(u);
		return err;
	}
	uv_timer_init(loop, &u->timer);
	u->timer.data = u;
	err = ntm_dns_update_changed(u, "", none, none);
	if (err) {
		ntm_dns_update_stop(u);
		return err;
	}
	*out = u;
	return 0;
}

static void timer_closed(uv_handle_t *h)
{
	free_update(h->data);
}

void ntm_dns_update_stop(struct ntm_dns_update *u)
{
	drop_conn(u);
	uv_close((uv_handle_t *)&u->timer, timer_closed);
}

struct ntm_dns_update_stats ntm_dns_update_stats(const struct ntm_dns_update *u)
{
	struct ntm_dns_update_stats s = u->stats;

	s.waiting = u->by_label.n;
	return s;
}
