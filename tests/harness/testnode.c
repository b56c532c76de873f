/* SPDX-License-Identifier: BSD-2-Clause */
#include "testnode.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ntm/wire.h>

#include "../../user/common/crypto.h"

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int testnode_move(struct testnode *t)
{
	struct sockaddr_storage sa;
	socklen_t len = ntm_addr_to_sockaddr(&t->dc, ntm_ip_is_v4(t->dc.ip) ? AF_INET : AF_INET6, &sa);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, len)) {
		int err = -errno;

		close(fd);
		return err;
	}
	if (t->fd >= 0)
		close(t->fd);
	t->fd = fd;
	return 0;
}

int testnode_open(struct testnode *t, uv_loop_t *loop, const struct ntm_addr *dc, const uint8_t dc_pub[NTM_DH_LEN])
{
	int err;

	memset(t, 0, sizeof(*t));
	t->fd = -1;
	t->patience_ms = TESTNODE_WAIT_MS;
	t->loop = loop;
	t->dc = *dc;
	memcpy(t->dc_pub, dc_pub, NTM_DH_LEN);
	err = ntm_x25519_generate(t->priv, t->pub);
	if (!err)
		err = ntm_cookie_client_init(&t->cookies, dc_pub);
	return err ? err : testnode_move(t);
}

void testnode_close(struct testnode *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

int testnode_send_raw(struct testnode *t, const void *data, size_t len)
{
	return send(t->fd, data, len, 0) == (ssize_t)len ? 0 : -errno;
}

/* Waits for the socket, or the DC's loop, whichever has something to do. */
ssize_t testnode_recv_raw(struct testnode *t, void *data, size_t cap, int timeout_ms)
{
	uint64_t end = now_ms() + (uint64_t)timeout_ms, now;
	struct pollfd fds[2] = {{.fd = t->fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	ssize_t n;

	for (;;) {
		int wait, dc_wait;

		n = recv(t->fd, data, cap, 0);
		if (n >= 0 || (errno != EAGAIN && errno != ECONNREFUSED))
			return n >= 0 ? n : -errno;
		now = now_ms();
		if (now >= end)
			return -ETIMEDOUT;
		wait = (int)(end - now);
		if (t->loop) {
			uv_run(t->loop, UV_RUN_NOWAIT);
			fds[1].fd = uv_backend_fd(t->loop);
			dc_wait = uv_backend_timeout(t->loop);
			if (dc_wait >= 0 && dc_wait < wait)
				wait = dc_wait;
		}
		poll(fds, 2, wait);
	}
}

int testnode_connect(struct testnode *t)
{
	struct ntm_session_init_state st;
	uint8_t buf[NTM_SIGNAL_MAX];
	int err = ntm_session_begin(&st, t->priv, t->pub, t->dc_pub, &t->cookies, now_ms());

	if (!err)
		err = testnode_send_raw(t, &st.msg, sizeof(st.msg));
	while (!err) {
		ssize_t n = testnode_recv_raw(t, buf, sizeof(buf), t->patience_ms);

		if (n < 0)
			return (int)n;
		switch (ntm_hdr_type((struct ntm_hdr *)buf)) {
		case NTM_T_SESSION_RESP:
			return ntm_session_finish(&st, buf, (size_t)n, now_ms(), &t->session);
		case NTM_T_COOKIE_REPLY:
			if (n != sizeof(struct ntm_cookie_reply))
				return -EBADMSG;
			t->cookies_got++;
			err = ntm_cookie_consume(&t->cookies, (struct ntm_cookie_reply *)buf, now_ms());
			if (!err)
				err = ntm_cookie_sign(&t->cookies, &st.msg, sizeof(st.msg), now_ms());
			if (!err)
				err = testnode_send_raw(t, &st.msg, sizeof(st.msg));
			break;
		default:
			break;
		}
	}
	return err;
}

int testnode_accept(struct testnode *t, int timeout_ms)
{
	struct ntm_session_resp answer;
	struct ntm_cookie_jar jar;
	struct ntm_session s;
	uint8_t buf[NTM_SIGNAL_MAX];
	uint64_t id;
	ssize_t n;
	int err;

	do {
		n = testnode_recv_raw(t, buf, sizeof(buf), timeout_ms);
		if (n < 0)
			return (int)n;
	} while (n < (ssize_t)sizeof(struct ntm_hdr) || ntm_hdr_type((struct ntm_hdr *)buf) != NTM_T_SESSION_INIT);
	err = ntm_cookie_jar_init(&jar, t->pub, 100);
	if (!err && ntm_cookie_check(&jar, buf, (size_t)n, &t->dc, now_ms()) != NTM_MAC_OK)
		err = -EBADMSG;
	if (!err)
		err = ntm_random(&id, sizeof(id));
	if (!err)
		err = ntm_session_accept(t->priv, t->pub, buf, (size_t)n, id, 3600, now_ms(), &s, &answer);
	if (!err && memcmp(s.peer_key, t->dc_pub, NTM_DH_LEN))
		err = -EACCES;
	if (err)
		return err;
	t->session = s;
	return testnode_send_raw(t, &answer, sizeof(answer));
}

int testnode_send(struct testnode *t, const struct ntm_sig *m)
{
	uint8_t plain[NTM_SIGNAL_MAX], out[NTM_SIGNAL_MAX];
	size_t len, out_len;
	int err = ntm_sig_encode(m, plain, sizeof(plain), &len);

	if (!err)
		err = ntm_session_seal(&t->session, plain, len, out, sizeof(out), &out_len);
	return err ? err : testnode_send_raw(t, out, out_len);
}

int testnode_recv(struct testnode *t, struct ntm_sig *m, int timeout_ms)
{
	uint8_t buf[NTM_SIGNAL_MAX], plain[NTM_SIGNAL_MAX];
	size_t len;
	ssize_t n;
	int err;

	/* A DC that has started again may invite this node to a session meanwhile. */
	do {
		n = testnode_recv_raw(t, buf, sizeof(buf), timeout_ms);
		if (n < 0)
			return (int)n;
	} while (n >= (ssize_t)sizeof(struct ntm_hdr) && ntm_hdr_type((struct ntm_hdr *)buf) == NTM_T_SESSION_INIT);
	err = ntm_session_open(&t->session, buf, (size_t)n, plain, sizeof(plain), &len);
	return err ? err : ntm_sig_decode(m, plain, len);
}

void testnode_request(struct testnode *t, struct ntm_sig *m, enum ntm_msg msg)
{
	ntm_sig_init(m, msg, ++t->txid);
}

int testnode_ask(struct testnode *t, const struct ntm_sig *m, struct ntm_sig *answer)
{
	int err = testnode_send(t, m);

	while (!err) {
		err = testnode_recv(t, answer, t->patience_ms);
		if (!err && answer->txid == m->txid)
			return 0;
	}
	return err;
}

int testnode_register(struct testnode *t, const char *name, const char *token, struct ntm_sig *answer)
{
	struct ntm_sig m;

	testnode_request(t, &m, NTM_M_REGISTRATION_REQUEST);
	strncpy(m.name, name, sizeof(m.name) - 1);
	m.have = 1u << NTM_F_NAME | 1u << NTM_F_CANDIDATE | 1u << NTM_F_MTU;
	if (token) {
		strncpy(m.token, token, sizeof(m.token) - 1);
		m.have |= 1u << NTM_F_TOKEN;
	}
	m.mtu = 1500;
	m.n_candidates = 2;
	ntm_addr_parse("192.0.2.77:4680", 0, &m.candidates[0].addr);
	ntm_addr_parse("127.0.0.1:4680", 0, &m.candidates[1].addr); /* never usable: a DC leaves it out */
	m.candidates[0].kind = m.candidates[1].kind = NTM_CAND_HOST;
	return testnode_ask(t, &m, answer);
}

int testnode_direct(struct testnode *t, const char *name, struct ntm_sig *answer)
{
	struct ntm_sig m;

	testnode_request(t, &m, NTM_M_DIRECTION_REQUEST);
	strncpy(m.name, name, sizeof(m.name) - 1);
	m.have = 1u << NTM_F_NAME;
	return testnode_ask(t, &m, answer);
}
