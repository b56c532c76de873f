/* SPDX-License-Identifier: BSD-2-Clause */
#include "dp_fake.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../common/addr.h"
#include "../common/crypto.h"
#include "fifo.h"

#define FAKE_PATHS 1024

struct fake_event {
	uint32_t type;
	uint64_t path_id;
	struct ntm_addr addr;
	uint8_t epoch;
	uint8_t data[NTM_INNER_MAX];
	size_t len;
};

struct fake_state {
	struct ntm_dp_addresses addresses;
	bool has_addresses;
	struct ntm_dp_fake_path *paths[FAKE_PATHS];
	size_t n_paths;
	struct ntm_counter counters[NTM_R_COUNT];
};

struct fake {
	struct ntm_dp dp; /* first */
	struct fake_state *st;
	bool adopted;
	size_t max_paths;
	int fd;
	struct ntm_fifo events;
	struct ntm_dp_fake_call *calls;
	size_t n_calls, cap_calls;
	int fail[NTM_FAKE_OP_COUNT];
};

static struct fake_state *kept;

static struct fake *fake(struct ntm_dp *dp)
{
	return (struct fake *)dp;
}

struct ntm_dp_fake_path *ntm_dp_fake_path(struct ntm_dp *dp, uint64_t path_id)
{
	struct fake_state *st = fake(dp)->st;
	for (size_t i = 0; i < st->n_paths; i++)
		if (st->paths[i]->path.path_id == path_id)
			return st->paths[i];
	return NULL;
}

size_t ntm_dp_fake_path_count(struct ntm_dp *dp)
{
	return fake(dp)->st->n_paths;
}

size_t ntm_dp_fake_calls(struct ntm_dp *dp, const struct ntm_dp_fake_call **calls)
{
	*calls = fake(dp)->calls;
	return fake(dp)->n_calls;
}

void ntm_dp_fake_forget_calls(struct ntm_dp *dp)
{
	fake(dp)->n_calls = 0;
}

size_t ntm_dp_fake_count(struct ntm_dp *dp, enum ntm_dp_fake_op op, uint64_t path_id)
{
	size_t n = 0;
	for (size_t i = 0; i < fake(dp)->n_calls; i++) {
		const struct ntm_dp_fake_call *c = &fake(dp)->calls[i];
		n += c->op == op && (!path_id || c->path_id == path_id);
	}
	return n;
}

void ntm_dp_fake_fail_next(struct ntm_dp *dp, enum ntm_dp_fake_op op, int err)
{
	fake(dp)->fail[op] = err;
}

/* Takes the failure that the test ordered. */
static int ordered(struct ntm_dp *dp, enum ntm_dp_fake_op op)
{
	int err = fake(dp)->fail[op];
	fake(dp)->fail[op] = 0;
	return err;
}

static int record(struct ntm_dp *dp, struct ntm_dp_fake_call c)
{
	struct fake *f = fake(dp);
	if (f->n_calls == f->cap_calls) {
		size_t cap = f->cap_calls ? 2 * f->cap_calls : 64;
		struct ntm_dp_fake_call *calls = realloc(f->calls, cap * sizeof(*calls));
		if (!calls)
			return -ENOMEM;
		f->calls = calls;
		f->cap_calls = cap;
	}
	f->calls[f->n_calls++] = c;
	return c.result;
}

static bool op_adopted(struct ntm_dp *dp)
{
	return fake(dp)->adopted;
}

static void op_foreach(struct ntm_dp *dp, void (*fn)(void *arg, const struct ntm_dp_path *p), void *arg)
{
	struct fake_state *st = fake(dp)->st;
	for (size_t i = 0; i < st->n_paths; i++)
		fn(arg, &st->paths[i]->path);
}

static int op_set_addresses(struct ntm_dp *dp, const struct ntm_dp_addresses *a)
{
	int err = ordered(dp, NTM_FAKE_SET_ADDRESSES);
	if (!err) {
		fake(dp)->st->addresses = *a;
		fake(dp)->st->has_addresses = true;
	}
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_SET_ADDRESSES, .result = err});
}

static int op_get_addresses(struct ntm_dp *dp, struct ntm_dp_addresses *a)
{
	if (!fake(dp)->st->has_addresses)
		return -ENOENT;
	*a = fake(dp)->st->addresses;
	return 0;
}

static int op_set_uplinks(struct ntm_dp *dp, struct ntm_dp_uplink *u, size_t n, char *why, size_t cap)
{
	int err = ordered(dp, NTM_FAKE_SET_UPLINKS);
	for (size_t i = 0; i < n; i++)
		u[i].hook = err ? NTM_RX_GENERIC : NTM_RX_NATIVE;
	if (err)
		snprintf(why, cap, "the test ordered error %d", -err);
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_SET_UPLINKS, .result = err, .len = n});
}

static int op_set_general(struct ntm_dp *dp, const struct ntm_dp_general *g)
{
	int err = ordered(dp, NTM_FAKE_SET_GENERAL);
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_SET_GENERAL, .result = err, .len = g->n});
}

static int add_path(struct ntm_dp *dp, const struct ntm_dp_path *p)
{
	struct fake *f = fake(dp);
	int err = ordered(dp, NTM_FAKE_ADD_PATH);
	if (err)
		return err;
	if (!p->path_id)
		return -EINVAL;
	if (ntm_dp_fake_path(dp, p->path_id))
		return -EEXIST;
	if (f->st->n_paths == f->max_paths)
		return -ENOSPC;
	struct ntm_dp_fake_path *fp = calloc(1, sizeof(*fp));
	if (!fp)
		return -ENOMEM;
	fp->path = *p;
	fp->next_epoch = 16;
	f->st->paths[f->st->n_paths++] = fp;
	return 0;
}

static int op_add_path(struct ntm_dp *dp, const struct ntm_dp_path *p)
{
	return record(
	    dp, (struct ntm_dp_fake_call){
		    .op = NTM_FAKE_ADD_PATH, .path_id = p->path_id, .ep = p->endpoint, .result = add_path(dp, p)});
}

static int set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	int err = ordered(dp, NTM_FAKE_SET_KEYS);
	if (err || !p)
		return err ? err : -ENOENT;
	if (k->epoch > 15)
		return -EINVAL;
	int e = k->epoch & 1;
	bool other = p->has_keys[!e];
	bool now = send || !other || (p->has_keys[e] && (p->stats.tx_epoch & 1) == e);
	p->keys[e] = *k;
	p->has_keys[e] = true;
	if (now) {
		p->stats.tx_epoch = k->epoch;
		p->stats.tx_counter = 0;
	}
	p->next_epoch = now ? 16 : k->epoch;
	return 0;
}

static int op_set_keys(struct ntm_dp *dp, uint64_t path_id, const struct ntm_dp_keys *k, bool send)
{
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_SET_KEYS,
						    .path_id = path_id,
						    .epoch = k->epoch,
						    .send = send,
						    .result = set_keys(dp, path_id, k, send)});
}

static int op_activate(struct ntm_dp *dp, uint64_t path_id)
{
	struct fake_state *st = fake(dp)->st;
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	int err = ordered(dp, NTM_FAKE_ACTIVATE);
	if (!err && !p)
		err = -ENOENT;
	for (size_t i = 0; !err && i < st->n_paths; i++)
		if (!memcmp(st->paths[i]->path.peer_vip4, p->path.peer_vip4, 4))
			st->paths[i]->active = false; /* the virtual addresses point to one path */
	if (!err)
		p->active = true;
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_ACTIVATE, .path_id = path_id, .result = err});
}

static int op_set_endpoint(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep, uint32_t hold_ms)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	int err = ordered(dp, NTM_FAKE_SET_ENDPOINT);
	if (!err && !p)
		err = -ENOENT;
	if (!err)
		p->path.endpoint = *ep;
	return record(
	    dp, (struct ntm_dp_fake_call){
		    .op = NTM_FAKE_SET_ENDPOINT, .path_id = path_id, .ep = *ep, .hold_ms = hold_ms, .result = err});
}

static int op_set_mtu(struct ntm_dp *dp, uint64_t path_id, uint16_t inner_mtu, bool small_outer)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	int err = ordered(dp, NTM_FAKE_SET_MTU);
	if (!err && !p)
		err = -ENOENT;
	if (!err) {
		p->path.inner_mtu = inner_mtu;
		p->path.small_outer = small_outer;
	}
	return record(
	    dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_SET_MTU, .path_id = path_id, .mtu = inner_mtu, .result = err});
}

static int op_del_path(struct ntm_dp *dp, uint64_t path_id)
{
	struct fake_state *st = fake(dp)->st;
	int err = ordered(dp, NTM_FAKE_DEL_PATH);
	size_t i = 0;
	while (i < st->n_paths && st->paths[i]->path.path_id != path_id)
		i++;
	if (!err && i == st->n_paths)
		err = -ENOENT;
	if (!err) {
		free(st->paths[i]);
		st->paths[i] = st->paths[--st->n_paths];
	}
	return record(dp, (struct ntm_dp_fake_call){.op = NTM_FAKE_DEL_PATH, .path_id = path_id, .result = err});
}

static int op_stats(struct ntm_dp *dp, uint64_t path_id, struct ntm_dp_stats *s)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	if (!p)
		return -ENOENT;
	*s = p->stats;
	s->endpoint = p->path.endpoint;
	s->inner_mtu = p->path.inner_mtu;
	return 0;
}

static int op_endpoint(struct ntm_dp *dp, uint64_t path_id, struct ntm_addr *ep)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	if (!p)
		return -ENOENT;
	*ep = p->path.endpoint;
	return 0;
}

static int op_counters(struct ntm_dp *dp, struct ntm_counter *out)
{
	memcpy(out, fake(dp)->st->counters, sizeof(fake(dp)->st->counters));
	return 0;
}

static struct ntm_path_agent *op_agent_record(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	return p ? &p->agent : NULL;
}

static int seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		size_t *out_len)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	int err = ordered(dp, NTM_FAKE_SEAL);
	if (err || !p)
		return err ? err : -ENOENT;
	if (!p->has_keys[p->stats.tx_epoch & 1])
		return -ENOKEY;
	if (len > NTM_INNER_MAX || cap < sizeof(struct ntm_hdr) + len + NTM_TAG_LEN)
		return -EMSGSIZE;
	uint64_t ctr = p->stats.tx_counter++;
	struct ntm_hdr h = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
			    .suite_epoch = (uint8_t)(NTM_SUITE_KERNEL << 4 | p->stats.tx_epoch),
			    .ctr_hi = htobe16((uint16_t)(ctr >> 32)),
			    .ctr_lo = htobe32((uint32_t)ctr),
			    .id = htobe64(path_id)};
	memcpy(out, &h, sizeof(h));
	if (len)
		memcpy(out + sizeof(h), inner, len);
	memset(out + sizeof(h) + len, 0, NTM_TAG_LEN);
	*out_len = sizeof(h) + len + NTM_TAG_LEN;
	p->stats.tx_packets += len > 0;
	return 0;
}

static int op_seal(struct ntm_dp *dp, uint64_t path_id, const uint8_t *inner, size_t len, uint8_t *out, size_t cap,
		   size_t *out_len)
{
	int err = seal(dp, path_id, inner, len, out, cap, out_len);
	return record(dp,
		      (struct ntm_dp_fake_call){.op = NTM_FAKE_SEAL, .path_id = path_id, .len = len, .result = err});
}

static int op_open(struct ntm_dp *dp, const uint8_t *datagram, size_t len, const struct ntm_addr *from)
{
	struct ntm_dp_fake_call c = {.op = NTM_FAKE_OPEN, .len = len, .ep = *from};
	struct ntm_hdr h;
	c.result = ordered(dp, NTM_FAKE_OPEN);
	if (!c.result && len < sizeof(h) + NTM_TAG_LEN)
		c.result = -EBADMSG;
	if (!c.result) {
		memcpy(&h, datagram, sizeof(h));
		c.path_id = be64toh(h.id);
		struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, c.path_id);
		if (p)
			p->stats.rx_packets++;
		else
			c.result = -ENOENT;
	}
	return record(dp, c);
}

static int op_fd(struct ntm_dp *dp)
{
	return fake(dp)->fd;
}

static void deliver(struct ntm_dp *dp, const struct fake_event *ev)
{
	const struct ntm_dp_events *fn = dp->events;
	if (ev->type == NTM_EV_NO_PATH && fn->no_path)
		fn->no_path(dp->arg, ev->addr.ip, ev->data, ev->len);
	else if (ev->type == NTM_EV_TOO_BIG && fn->too_big)
		fn->too_big(dp->arg, ev->path_id, ev->data, ev->len);
	else if (ev->type == NTM_EV_ROAMED && fn->roamed)
		fn->roamed(dp->arg, ev->path_id, &ev->addr);
	else if (ev->type == NTM_EV_EPOCH && fn->epoch_confirmed)
		fn->epoch_confirmed(dp->arg, ev->path_id, ev->epoch);
	else if (ev->type == NTM_EV_EXPIRED && fn->expired)
		fn->expired(dp->arg, ev->path_id);
}

static void op_dispatch(struct ntm_dp *dp)
{
	struct fake *f = fake(dp);
	uint64_t n;
	if (read(f->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	for (size_t left = f->events.n; left > 0; left--) {
		struct fake_event ev = *(struct fake_event *)ntm_fifo_peek(&f->events);
		ntm_fifo_pop(&f->events);
		deliver(dp, &ev);
	}
}

static void free_state(struct fake_state *st)
{
	if (!st)
		return;
	for (size_t i = 0; i < st->n_paths; i++)
		free(st->paths[i]);
	free(st);
}

void ntm_dp_fake_forget_kept(void)
{
	free_state(kept);
	kept = NULL;
}

static void op_close(struct ntm_dp *dp, bool keep)
{
	struct fake *f = fake(dp);
	if (keep) {
		ntm_dp_fake_forget_kept();
		kept = f->st;
	} else {
		free_state(f->st);
	}
	close(f->fd);
	ntm_fifo_free(&f->events);
	free(f->calls);
	free(f);
}

static void push(struct ntm_dp *dp, struct fake_event *ev, const void *packet, size_t len)
{
	struct fake *f = fake(dp);
	uint64_t one = 1;
	if (len > sizeof(ev->data))
		len = sizeof(ev->data);
	if (len)
		memcpy(ev->data, packet, len);
	ev->len = len;
	if (ntm_fifo_push(&f->events, ev) || write(f->fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		abort(); /* a test without memory proves nothing */
}

void ntm_dp_fake_no_path(struct ntm_dp *dp, const uint8_t dst[16], const void *packet, size_t len)
{
	struct fake_event ev = {.type = NTM_EV_NO_PATH};
	memcpy(ev.addr.ip, dst, 16);
	push(dp, &ev, packet, len);
}

void ntm_dp_fake_too_big(struct ntm_dp *dp, uint64_t path_id, const void *packet, size_t len)
{
	struct fake_event ev = {.type = NTM_EV_TOO_BIG, .path_id = path_id};
	push(dp, &ev, packet, len);
}

void ntm_dp_fake_roamed(struct ntm_dp *dp, uint64_t path_id, const struct ntm_addr *ep)
{
	struct fake_event ev = {.type = NTM_EV_ROAMED, .path_id = path_id, .addr = *ep};
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	if (p) {
		p->path.endpoint = *ep;
		p->stats.roams++;
	}
	push(dp, &ev, NULL, 0);
}

void ntm_dp_fake_confirm_epoch(struct ntm_dp *dp, uint64_t path_id)
{
	struct ntm_dp_fake_path *p = ntm_dp_fake_path(dp, path_id);
	if (!p || p->next_epoch == 16)
		return;
	struct fake_event ev = {.type = NTM_EV_EPOCH, .path_id = path_id, .epoch = p->next_epoch};
	p->stats.tx_epoch = p->next_epoch;
	p->stats.tx_counter = 0;
	p->next_epoch = 16;
	push(dp, &ev, NULL, 0);
}

void ntm_dp_fake_expired(struct ntm_dp *dp, uint64_t path_id)
{
	struct fake_event ev = {.type = NTM_EV_EXPIRED, .path_id = path_id};
	push(dp, &ev, NULL, 0);
}

static const struct ntm_dp_ops fake_ops = {
    .adopted = op_adopted,
    .foreach = op_foreach,
    .set_addresses = op_set_addresses,
    .get_addresses = op_get_addresses,
    .set_uplinks = op_set_uplinks,
    .set_general = op_set_general,
    .add_path = op_add_path,
    .set_keys = op_set_keys,
    .activate = op_activate,
    .set_endpoint = op_set_endpoint,
    .set_mtu = op_set_mtu,
    .del_path = op_del_path,
    .stats = op_stats,
    .endpoint = op_endpoint,
    .counters = op_counters,
    .agent_record = op_agent_record,
    .seal = op_seal,
    .open = op_open,
    .fd = op_fd,
    .dispatch = op_dispatch,
    .close = op_close,
};

int ntm_dp_fake_open(struct ntm_dp **out, const struct ntm_dp_config *c, const struct ntm_dp_events *ev, void *arg,
		     char *why, size_t cap)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct fake_state *st = kept ? kept : calloc(1, sizeof(*st));
	if (!f || !st) {
		snprintf(why, cap, "out of memory");
		free(f);
		if (st != kept)
			free(st);
		return -ENOMEM;
	}
	*f = (struct fake){.dp = {&fake_ops, ev, arg}, .st = st, .adopted = kept};
	f->max_paths = c->max_paths && c->max_paths < FAKE_PATHS ? c->max_paths : FAKE_PATHS;
	f->events.item_size = sizeof(struct fake_event);
	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	kept = NULL;
	if (f->fd < 0) {
		int err = -errno;
		snprintf(why, cap, "eventfd: %s", strerror(errno));
		free_state(st);
		free(f);
		return err;
	}
	*out = &f->dp;
	return 0;
}
