/* SPDX-License-Identifier: BSD-2-Clause */
#include "wait.h"

#include <errno.h>

#include "engine.h"

bool vs_enter(int fd, struct vsock **out)
{
	int err = ntm_enter();

	if (err) {
		errno = -err;
		return false;
	}
	*out = vs_get(fd);
	/* One that nobody has accepted yet has no descriptor that anybody could know. */
	if (*out && !(*out)->listener)
		return true;
	(void)vs_fail(-EBADF);
	return false;
}

struct waiting {
	int fd;
	struct vsock *s;
	bool (*ready)(const struct vsock *s);
};

static bool look(void *arg)
{
	const struct waiting *w = arg;

	return vs_get(w->fd) != w->s || w->ready(w->s);
}

int vs_wait(struct vsock **s, bool (*ready)(const struct vsock *s), bool nonblock, int64_t timeout_ms)
{
	struct waiting w = {(*s)->id, *s, ready};
	int64_t deadline = timeout_ms ? ntm_engine_now() + timeout_ms : -1;
	int err;

	if (ready(*s))
		return 0;
	if (nonblock)
		return -EAGAIN;
	err = ntm_engine_wait(look, &w, deadline, NULL, 0);
	if (vs_get(w.fd) != w.s) {
		*s = NULL;
		return -EBADF;
	}
	return err;
}
