/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "crypto.h"

enum { WINDOW_WORDS = 4 };

static const char PROLOGUE[] = "NTMobile 1 session";

/* The whole header is in the prologue, so nobody can alter a bit of it. */
static size_t make_prologue(uint8_t out[64], const struct ntm_hdr *h)
{
	memcpy(out, PROLOGUE, sizeof(PROLOGUE) - 1);
	memcpy(out + sizeof(PROLOGUE) - 1, h, sizeof(*h));
	return sizeof(PROLOGUE) - 1 + sizeof(*h);
}

static void put_hdr(struct ntm_hdr *h, unsigned type, uint64_t counter, uint64_t id)
{
	*h = (struct ntm_hdr){
	    .ver_type = (uint8_t)(NTM_WIRE_VERSION << 4 | type),
	    .ctr_hi = htobe16((uint16_t)(counter >> 32)),
	    .ctr_lo = htobe32((uint32_t)counter),
	    .id = htobe64(id),
	};
}

int ntm_session_begin(struct ntm_session_init_state *st, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		      const uint8_t peer_pub[NTM_DH_LEN], struct ntm_cookie_client *cc, uint64_t now_ms)
{
	struct ntm_session_init_payload payload = {0};
	uint8_t prologue[64];
	size_t n;
	int ret;

	memset(st, 0, sizeof(*st));
	do {
		ret = ntm_random(&st->local_id, sizeof(st->local_id));
	} while (!ret && !st->local_id);
	put_hdr(&st->msg.hdr, NTM_T_SESSION_INIT, 0, st->local_id);
	n = make_prologue(prologue, &st->msg.hdr);
	if (!ret)
		ret = ntm_noise_init(&st->noise, true, priv, pub, peer_pub, NULL, prologue, n);
	if (!ret)
		ret = ntm_noise_write(&st->noise, &payload, sizeof(payload), st->msg.e,
				      sizeof(st->msg) - offsetof(struct ntm_session_init, e), &n);
	if (!ret)
		ret = ntm_cookie_sign(cc, &st->msg, sizeof(st->msg), now_ms);
	if (ret)
		ntm_wipe(st, sizeof(*st));
	return ret;
}

int ntm_session_finish(struct ntm_session_init_state *st, const void *msg, size_t len, uint64_t now_ms,
		       struct ntm_session *out)
{
	struct ntm_session_resp resp;
	struct ntm_session_resp_payload payload;
	struct ntm_session s = {0};
	struct ntm_noise noise;
	struct ntm_hdr want;
	size_t n;
	int ret;

	if (len != sizeof(resp) || !st->local_id)
		return -EBADMSG;
	memcpy(&resp, msg, sizeof(resp));
	put_hdr(&want, NTM_T_SESSION_RESP, 0, st->local_id);
	if (memcmp(&want, &resp.hdr, sizeof(want)) != 0)
		return -EBADMSG;
	noise = st->noise; /* a forged answer must not spoil the true one */
	ret = ntm_noise_read(&noise, resp.e, sizeof(resp) - offsetof(struct ntm_session_resp, e), (uint8_t *)&payload,
			     sizeof(payload), &n);
	if (!ret && !payload.session_id)
		ret = -EBADMSG;
	if (!ret) {
		memcpy(s.peer_key, st->noise.rs, NTM_DH_LEN);
		ret = ntm_noise_split(&noise, s.tx_key, s.rx_key);
	}
	if (!ret) {
		s.local_id = st->local_id;
		s.remote_id = be64toh(payload.session_id);
		s.created_ms = now_ms;
		s.lifetime_s = be32toh(payload.lifetime_s);
		s.confirmed = true;
		*out = s;
		ntm_wipe(st, sizeof(*st));
	}
	ntm_wipe(&s, sizeof(s));
	ntm_noise_clear(&noise);
	return ret;
}

int ntm_session_accept(const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN], const void *msg, size_t len,
		       uint64_t local_id, uint32_t lifetime_s, uint64_t now_ms, struct ntm_session *out,
		       struct ntm_session_resp *answer)
{
	return ntm_session_accept_with(NULL, priv, pub, msg, len, local_id, lifetime_s, now_ms, out, answer);
}

int ntm_session_accept_with(struct ntm_noise_static *own, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
			    const void *msg, size_t len, uint64_t local_id, uint32_t lifetime_s, uint64_t now_ms,
			    struct ntm_session *out, struct ntm_session_resp *answer)
{
	struct ntm_session_init init;
	struct ntm_session_init_payload in;
	struct ntm_session_resp_payload payload = {.session_id = htobe64(local_id), .lifetime_s = htobe32(lifetime_s)};
	struct ntm_session_resp resp;
	struct ntm_session s = {0};
	struct ntm_noise noise;
	uint8_t prologue[64];
	struct ntm_hdr want;
	size_t n;
	int ret;

	if (len != sizeof(init))
		return -EBADMSG;
	memcpy(&init, msg, sizeof(init));
	put_hdr(&want, NTM_T_SESSION_INIT, 0, be64toh(init.hdr.id));
	if (!init.hdr.id || memcmp(&want, &init.hdr, sizeof(want)) != 0)
		return -EBADMSG;
	n = make_prologue(prologue, &init.hdr);
	ret = ntm_noise_init(&noise, false, priv, pub, NULL, NULL, prologue, n);
	ntm_noise_set_static(&noise, own);
	if (!ret)
		ret = ntm_noise_read(&noise, init.e, sizeof(init.e) + sizeof(init.s) + sizeof(init.payload),
				     (uint8_t *)&in, sizeof(in), &n);
	if (!ret) {
		memcpy(s.peer_key, noise.rs, NTM_DH_LEN);
		put_hdr(&resp.hdr, NTM_T_SESSION_RESP, 0, be64toh(init.hdr.id));
		ret = ntm_noise_write(&noise, &payload, sizeof(payload), resp.e,
				      sizeof(resp) - offsetof(struct ntm_session_resp, e), &n);
	}
	if (!ret)
		ret = ntm_noise_split(&noise, s.tx_key, s.rx_key);
	if (!ret) {
		s.local_id = local_id;
		s.remote_id = be64toh(init.hdr.id);
		s.created_ms = now_ms;
		s.lifetime_s = lifetime_s;
		*out = s;
		*answer = resp;
	}
	ntm_wipe(&s, sizeof(s));
	ntm_noise_clear(&noise);
	return ret;
}

int ntm_session_seal(struct ntm_session *s, const void *in, size_t len, uint8_t *out, size_t cap, size_t *out_len)
{
	uint8_t nonce[NTM_NONCE_LEN];
	struct ntm_hdr h;
	int ret;

	if (cap < sizeof(h) + NTM_TAG_LEN || len > cap - sizeof(h) - NTM_TAG_LEN)
		return -ENOSPC;
	if (s->tx_counter >= NTM_COUNTER_LIMIT)
		return -EOVERFLOW;
	put_hdr(&h, NTM_T_SIGNAL, s->tx_counter, s->remote_id);
	ntm_nonce(nonce, s->tx_counter++);
	ret = ntm_seal(s->tx_key, nonce, &h, sizeof(h), in, len, out + sizeof(h));
	if (ret)
		return ret;
	memcpy(out, &h, sizeof(h));
	*out_len = sizeof(h) + len + NTM_TAG_LEN;
	return 0;
}

/* Bit b of the window, from the lowest of word 0 on: counter rx_head - 1 - b was accepted. */
static int window_check(const struct ntm_session *s, uint64_t c)
{
	uint64_t back = s->rx_head - 1 - c;

	if (c >= s->rx_head)
		return 0;
	if (back >= 64 * WINDOW_WORDS)
		return -ESTALE;
	return s->rx_window[back / 64] >> back % 64 & 1 ? -EALREADY : 0;
}

static void window_shift(uint64_t w[WINDOW_WORDS], uint64_t by)
{
	size_t words = by < 64 * WINDOW_WORDS ? by / 64 : WINDOW_WORDS, bits = by % 64;

	for (size_t i = WINDOW_WORDS; i-- > 0;) {
		uint64_t v = i >= words ? w[i - words] << bits : 0;

		if (bits && i > words)
			v |= w[i - words - 1] >> (64 - bits);
		w[i] = v;
	}
}

static void window_update(struct ntm_session *s, uint64_t c)
{
	uint64_t back;

	if (c >= s->rx_head) {
		window_shift(s->rx_window, c + 1 - s->rx_head);
		s->rx_head = c + 1;
	}
	back = s->rx_head - 1 - c;
	s->rx_window[back / 64] |= 1ULL << back % 64;
}

int ntm_session_open(struct ntm_session *s, const void *in, size_t in_len, uint8_t *out, size_t cap, size_t *out_len)
{
	const uint8_t *p = in;
	uint8_t nonce[NTM_NONCE_LEN];
	struct ntm_hdr h, want;
	uint64_t c;
	size_t len;
	int ret;

	if (in_len < sizeof(h) + NTM_TAG_LEN)
		return -EBADMSG;
	memcpy(&h, p, sizeof(h));
	c = (uint64_t)be16toh(h.ctr_hi) << 32 | be32toh(h.ctr_lo);
	put_hdr(&want, NTM_T_SIGNAL, c, s->local_id);
	if (memcmp(&want, &h, sizeof(h)) != 0 || c >= NTM_COUNTER_LIMIT)
		return -EBADMSG;
	len = in_len - sizeof(h) - NTM_TAG_LEN;
	if (cap < len)
		return -ENOSPC;
	ret = window_check(s, c);
	if (ret)
		return ret;
	ntm_nonce(nonce, c);
	ret = ntm_open(s->rx_key, nonce, &h, sizeof(h), p + sizeof(h), in_len - sizeof(h), out);
	if (ret)
		return ret;
	window_update(s, c);
	s->confirmed = true;
	*out_len = len;
	return 0;
}

void ntm_session_clear(struct ntm_session *s)
{
	ntm_wipe(s, sizeof(*s));
}
