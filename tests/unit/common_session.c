/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions: the handshake, what forged, replayed and cut datagrams do, and the ends of the window. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/session.h"

struct pair {
	uint8_t ip[32], iP[32], rp[32], rP[32];
	struct ntm_cookie_client cc;
	struct ntm_session_init_state st;
	struct ntm_session a, b;
	struct ntm_session_resp answer;
};

static void begin(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	cr_assert_eq(ntm_crypto_init(), 0);
	cr_assert_eq(ntm_x25519_generate(p->ip, p->iP), 0);
	cr_assert_eq(ntm_x25519_generate(p->rp, p->rP), 0);
	cr_assert_eq(ntm_cookie_client_init(&p->cc, p->rP), 0);
	cr_assert_eq(ntm_session_begin(&p->st, p->ip, p->iP, p->rP, &p->cc, 5), 0);
}

static int accept_msg(struct pair *p, const void *msg, size_t len)
{
	return ntm_session_accept(p->rp, p->rP, msg, len, 0x1122334455667788, 600, 7, &p->b, &p->answer);
}

static void both(struct pair *p)
{
	begin(p);
	cr_assert_eq(accept_msg(p, &p->st.msg, sizeof(p->st.msg)), 0);
	cr_assert_eq(ntm_session_finish(&p->st, &p->answer, sizeof(p->answer), 9, &p->a), 0);
}

static size_t seal(struct ntm_session *s, const char *text, uint8_t out[128])
{
	size_t n = 0;

	cr_assert_eq(ntm_session_seal(s, text, strlen(text), out, 128, &n), 0);
	cr_assert_eq(n, 32 + strlen(text));
	return n;
}

static int opened(struct ntm_session *s, const uint8_t *in, size_t len)
{
	uint8_t out[128];
	size_t n;

	return ntm_session_open(s, in, len, out, sizeof(out), &n);
}

Test(session, both_ways)
{
	struct pair p;
	uint8_t m[128], out[128];
	size_t n, got;

	both(&p);
	cr_assert_arr_eq(p.b.peer_key, p.iP, 32);
	cr_assert_arr_eq(p.a.peer_key, p.rP, 32);
	cr_assert(p.a.remote_id == p.b.local_id && p.a.local_id == p.b.remote_id && p.a.lifetime_s == 600);
	cr_assert(p.a.confirmed && !p.b.confirmed && p.a.created_ms == 9 && p.b.created_ms == 7);
	cr_assert_arr_eq(p.a.tx_key, p.b.rx_key, 32);
	cr_assert_arr_eq(p.a.rx_key, p.b.tx_key, 32);
	cr_assert_arr_neq(p.a.tx_key, p.a.rx_key, 32);
	for (int i = 0; i < 3; i++) {
		n = seal(&p.a, "there", m);
		cr_assert_eq(ntm_session_open(&p.b, m, n, out, sizeof(out), &got), 0);
		cr_assert(got == 5 && !memcmp(out, "there", 5) && p.b.confirmed);
		n = seal(&p.b, "", m);
		cr_assert_eq(ntm_session_open(&p.a, m, n, out, sizeof(out), &got), 0);
		cr_assert_eq(got, 0);
	}
	cr_assert_eq(ntm_session_seal(&p.a, "x", 1, m, 32, &n), -ENOSPC);
	n = seal(&p.a, "four", m);
	cr_assert_eq(ntm_session_open(&p.b, m, n, out, 3, &got), -ENOSPC);
	cr_assert_eq(ntm_session_open(&p.b, m, n, out, 4, &got), 0);
}

Test(session, replays_and_order)
{
	static uint8_t m[400][128];
	struct pair p;
	size_t n = 0;

	both(&p);
	for (int i = 0; i < 400; i++)
		n = seal(&p.a, "m", m[i]);
	cr_assert_eq(opened(&p.b, m[255], n), 0);
	for (int i = 254; i >= 0; i--)
		cr_assert_eq(opened(&p.b, m[i], n), 0, "%d behind", 255 - i);
	for (int i = 0; i <= 255; i++)
		cr_assert_eq(opened(&p.b, m[i], n), -EALREADY);
	cr_assert_eq(opened(&p.b, m[399], n), 0);
	cr_assert_eq(opened(&p.b, m[399], n), -EALREADY);
	cr_assert_eq(opened(&p.b, m[399 - 256], n), -ESTALE);
	cr_assert_eq(opened(&p.b, m[399 - 255], n), -EALREADY, "the shift kept it");
	cr_assert_eq(opened(&p.b, m[256], n), 0);
}

/* Any order: what a list of all counters ever accepted would say */
Test(session, window_against_a_model)
{
	enum { N = 400000, TRIES = 40000 };
	static const int steps[] = {1, 1, 1, 1, 2, 2, 3, 5, 63, 64, 65, 129, 255, 256, 257, 400};
	static bool seen[N];
	struct pair p;
	uint8_t m[128];
	unsigned rnd = 1;
	size_t n;
	int head = 0;

	both(&p);
	for (int i = 0; i < TRIES && head < N - 400; i++) {
		rnd = rnd * 1103515245 + 12345;
		int r = (int)(rnd >> 16 & 0x7fff), c = r % 8 ? head - 1 - r % 300 : head - 1 + steps[r / 8 % 16], want;

		if (c < 0)
			c = 0;
		want = c + 256 < head ? -ESTALE : seen[c] ? -EALREADY : 0;
		p.a.tx_counter = (uint64_t)c;
		n = seal(&p.a, "m", m);
		cr_assert_eq(opened(&p.b, m, n), want, "counter %d, head %d", c, head);
		seen[c] |= !want;
		head = c >= head ? c + 1 : head;
	}
}

Test(session, altered_or_cut_datagrams)
{
	struct pair p;
	struct ntm_session before;
	uint8_t m[128];
	size_t n;

	both(&p);
	n = seal(&p.a, "abc", m);
	before = p.b;
	for (size_t i = 0; i < n * 8; i++) {
		m[i / 8] ^= 1 << i % 8;
		cr_assert_eq(opened(&p.b, m, n), -EBADMSG, "bit %zu", i);
		m[i / 8] ^= 1 << i % 8;
	}
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(opened(&p.b, m, i), -EBADMSG, "%zu bytes", i);
	cr_assert_eq(memcmp(&before, &p.b, sizeof(before)), 0, "nothing changed");
	p.b.local_id ^= 1;
	cr_assert_eq(opened(&p.b, m, n), -EBADMSG, "another session's id");
	p.b.local_id ^= 1;
	cr_assert_eq(opened(&p.b, m, n), 0);
}

Test(session, forged_answers)
{
	struct pair p;

	begin(&p);
	cr_assert_eq(accept_msg(&p, &p.st.msg, sizeof(p.st.msg)), 0);
	for (size_t i = 0; i < sizeof(p.answer) * 8; i++) {
		struct ntm_session_resp bad = p.answer;

		/* X25519 ignores the top bit of a coordinate, the transcript does not */
		((uint8_t *)&bad)[i / 8] ^= 1 << i % 8;
		cr_assert_neq(ntm_session_finish(&p.st, &bad, sizeof(bad), 9, &p.a), 0, "bit %zu", i);
	}
	for (size_t i = 0; i < sizeof(p.answer); i++)
		cr_assert_eq(ntm_session_finish(&p.st, &p.answer, i, 9, &p.a), -EBADMSG);
	cr_assert_eq(ntm_session_finish(&p.st, &p.answer, sizeof(p.answer), 9, &p.a), 0, "still usable");
	cr_assert_eq(ntm_session_finish(&p.st, &p.answer, sizeof(p.answer), 9, &p.a), -EBADMSG, "and only once");
}

Test(session, altered_requests)
{
	struct pair p;
	struct ntm_session none;

	begin(&p);
	none = p.b;
	for (size_t i = 0; i < (sizeof(p.st.msg) - sizeof(struct ntm_macs)) * 8; i++) {
		struct ntm_session_init bad = p.st.msg;

		((uint8_t *)&bad)[i / 8] ^= 1 << i % 8;
		cr_assert_neq(accept_msg(&p, &bad, sizeof(bad)), 0, "bit %zu", i);
	}
	for (size_t i = 0; i < sizeof(p.st.msg); i++)
		cr_assert_eq(accept_msg(&p, &p.st.msg, i), -EBADMSG);
	cr_assert_eq(memcmp(&none, &p.b, sizeof(none)), 0);
	cr_assert_eq(accept_msg(&p, &p.st.msg, sizeof(p.st.msg)), 0);
}

Test(session, counters_end)
{
	struct pair p;
	uint8_t m[128];
	size_t n;

	both(&p);
	p.a.tx_counter = NTM_COUNTER_LIMIT - 1;
	n = seal(&p.a, "last", m);
	cr_assert_eq(opened(&p.b, m, n), 0);
	cr_assert_eq(ntm_session_seal(&p.a, "x", 1, m, sizeof(m), &n), -EOVERFLOW);
	cr_assert_eq(p.a.tx_counter, NTM_COUNTER_LIMIT);
}

struct kept {
	uint8_t peer[32], ss[32];
	bool has;
	int found;
};

static bool find_kept(void *arg, const uint8_t rs[32], uint8_t out[32])
{
	struct kept *k = arg;

	if (!k->has || memcmp(rs, k->peer, 32) != 0)
		return false;
	memcpy(out, k->ss, 32);
	k->found++;
	return true;
}

static int accept_with(struct pair *p, struct ntm_noise_static *own)
{
	return ntm_session_accept_with(own, p->rp, p->rP, &p->st.msg, sizeof(p->st.msg), 5, 600, 7, &p->b, &p->answer);
}

Test(session, kept_static_exchange)
{
	struct kept k = {.has = false};
	struct ntm_noise_static own = {.find = find_kept, .arg = &k};
	struct pair p;
	uint8_t m[128];

	begin(&p);
	cr_assert_eq(ntm_dh_open(&own.dh, p.rp), 0);
	cr_assert_eq(accept_with(&p, &own), 0);
	cr_assert_eq(ntm_session_finish(&p.st, &p.answer, sizeof(p.answer), 9, &p.a), 0);
	cr_assert_eq(ntm_x25519(p.rp, p.iP, k.ss), 0);
	cr_assert_arr_eq(own.ss, k.ss, 32);

	/* the other end, which keeps nothing, can't tell */
	k.has = true;
	memcpy(k.peer, p.iP, 32);
	cr_assert_eq(ntm_session_begin(&p.st, p.ip, p.iP, p.rP, &p.cc, 5), 0);
	memset(own.ss, 0, sizeof(own.ss));
	cr_assert_eq(accept_with(&p, &own), 0);
	cr_assert_eq(k.found, 1);
	cr_assert_arr_eq(own.ss, k.ss, 32);
	cr_assert_eq(ntm_session_finish(&p.st, &p.answer, sizeof(p.answer), 9, &p.a), 0);
	cr_assert_eq(opened(&p.b, m, seal(&p.a, "there", m)), 0);

	/* a wrong one is no way in */
	k.ss[0] ^= 1;
	cr_assert_eq(ntm_session_begin(&p.st, p.ip, p.iP, p.rP, &p.cc, 5), 0);
	cr_assert_eq(accept_with(&p, &own), -EBADMSG);
	cr_assert_eq(k.found, 2);
	ntm_dh_close(&own.dh);
}
