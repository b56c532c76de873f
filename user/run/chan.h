/* SPDX-License-Identifier: BSD-2-Clause */
/* The broker's side of the sockets of a run: a pair of AF_UNIX sockets here, a virtual socket there. */
#ifndef NTM_RUN_CHAN_H
#define NTM_RUN_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../lib/lib.h"
#include "message.h"
#include "proto.h"

enum { CHAN_BUF = 64 << 10, CHAN_ERRORS = 256 };

struct chan_buf {
	size_t at, len;
	uint8_t data[CHAN_BUF];
};

struct chan {
	struct chan *next, *next_ready;
	bool ready, ended; /* ended: to be freed when nobody looks at it any more */
	uint32_t id;
	char kind; /* enum ntm_run_kind */
	int family;
	int fd;   /* our end of the pair */
	int app;  /* the program's, while it must not be written to: see chan_plug(); -1 else */
	int v;    /* virtual descriptor, -1: none */
	int real; /* the kernel's socket that is served, too; -1: none */
	bool connecting, app_eof, v_eof;
	int held; /* accepted, for a program that lags behind; -1: none */
	struct ntm_run_accepted held_from;
	uv_poll_t *poll, *real_poll;
	struct chan_buf *in, *out; /* from and to the program */
	/* Who waits for the end of connect(); told once, then NULL. */
	void (*settled)(void *arg, struct chan *c, int err);
	void *arg;
};

struct chan *chan_first(void);
struct chan *chan_find(uint32_t id);
/* With a pair of sockets; v and real become the channel's, also on failure. The program's end is in *app. NULL and
 * errno. */
struct chan *chan_new(struct ntm *n, enum ntm_run_kind kind, int family, int v, int real, int *app);
void chan_start(struct chan *c); /* data moves from here on */
void chan_connecting(struct chan *c, void (*settled)(void *arg, struct chan *c, int err), void *arg);
/* Fills the program's end, so that it can't be written to until the connection is made; app becomes the channel's. */
void chan_plug(struct chan *c, int app);
void chan_free(struct chan *c);
void chan_run_ready(void); /* what virtual sockets have woken */
bool chan_any_ready(void);
int chan_error(uint32_t id); /* that ended a channel, once; 0: none known */

#endif
