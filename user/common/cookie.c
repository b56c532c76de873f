/* SPDX-License-Identifier: BSD-2-Clause */
#include "cookie.h"

#include <errno.h>
#include <string.h>

#include "crypto.h"

static int derive(uint8_t out[NTM_HASH_LEN], const char *label, const uint8_t static_pub[NTM_DH_LEN])
{
	struct ntm_iov v[] = {{label, strlen(label)}, {static_pub, NTM_DH_LEN}};

	return ntm_hash(out, v, 2);
}

int ntm_cookie_jar_init(struct ntm_cookie_jar *jar, const uint8_t static_pub[NTM_DH_LEN], unsigned threshold)
{
	int ret;

	memset(jar, 0, sizeof(*jar));
	jar->threshold = threshold;
	ret = derive(jar->mac1_key, "ntm1 mac1", static_pub);
	if (!ret)
		ret = derive(jar->cookie_key, "ntm1 cookie", static_pub);
	if (!ret)
		ret = ntm_random(jar->secret, sizeof(jar->secret));
	if (!ret)
		ret = ntm_random(jar->prev_secret, sizeof(jar->prev_secret));
	return ret;
}

static int rotate(struct ntm_cookie_jar *jar, uint64_t now_ms)
{
	uint8_t fresh[2][NTM_HASH_LEN];
	uint64_t age;
	int ret;

	if (!jar->secret_ms)
		jar->secret_ms = now_ms;
	age = now_ms - jar->secret_ms;
	if (age < NTM_COOKIE_SECRET_S * 1000ULL)
		return 0;
	ret = ntm_random(fresh, sizeof(fresh));
	if (!ret) {
		/* after two periods without a request the secret in use is older than the former one may be */
		memcpy(jar->prev_secret, age < 2 * NTM_COOKIE_SECRET_S * 1000ULL ? jar->secret : fresh[1],
		       NTM_HASH_LEN);
		memcpy(jar->secret, fresh[0], NTM_HASH_LEN);
		jar->secret_ms = now_ms;
	}
	ntm_wipe(fresh, sizeof(fresh));
	return ret;
}

static int cookie_of(uint8_t out[NTM_COOKIE_LEN], const uint8_t secret[NTM_HASH_LEN], const struct ntm_addr *from)
{
	struct ntm_iov v[] = {{from->ip, sizeof(from->ip)}, {&from->port, sizeof(from->port)}};

	return ntm_mac(out, secret, NTM_HASH_LEN, v, 2);
}

static bool mac_matches(const void *key, size_t key_len, const void *msg, size_t len, const uint8_t mac[NTM_MAC_LEN])
{
	struct ntm_iov v = {msg, len};
	uint8_t want[NTM_MAC_LEN];

	return ntm_mac(want, key, key_len, &v, 1) == 0 && ntm_equal(want, mac, NTM_MAC_LEN);
}

enum ntm_mac_verdict ntm_cookie_check(struct ntm_cookie_jar *jar, const void *msg, size_t len,
				      const struct ntm_addr *from, uint64_t now_ms)
{
	const uint8_t *mac1, *mac2;
	uint8_t cookie[NTM_COOKIE_LEN];
	size_t body;
	bool ok = false;

	if (len < sizeof(struct ntm_hdr) + sizeof(struct ntm_macs))
		return NTM_MAC_BAD;
	body = len - sizeof(struct ntm_macs);
	mac1 = (const uint8_t *)msg + body;
	mac2 = mac1 + NTM_MAC_LEN;
	if (!mac_matches(jar->mac1_key, sizeof(jar->mac1_key), msg, body, mac1))
		return NTM_MAC_BAD;

	if (now_ms - jar->window_ms >= 1000) {
		jar->window_ms = now_ms;
		jar->in_window = 0;
	}
	if (jar->in_window < jar->threshold) {
		jar->in_window++;
		return NTM_MAC_OK;
	}
	if (rotate(jar, now_ms) == 0 && cookie_of(cookie, jar->secret, from) == 0)
		ok = mac_matches(cookie, sizeof(cookie), msg, body + NTM_MAC_LEN, mac2);
	if (!ok && cookie_of(cookie, jar->prev_secret, from) == 0)
		ok = mac_matches(cookie, sizeof(cookie), msg, body + NTM_MAC_LEN, mac2);
	ntm_wipe(cookie, sizeof(cookie));
	return ok ? NTM_MAC_OK : NTM_MAC_COOKIE;
}

int ntm_cookie_reply(struct ntm_cookie_jar *jar, const void *msg, size_t len, const struct ntm_addr *from,
		     uint64_t now_ms, struct ntm_cookie_reply *out)
{
	struct ntm_cookie_reply r = {.hdr.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_COOKIE_REPLY};
	uint8_t cookie[NTM_COOKIE_LEN];
	int ret;

	if (len < sizeof(struct ntm_hdr) + sizeof(struct ntm_macs))
		return -EINVAL;
	memcpy(&r.hdr.id, (const uint8_t *)msg + offsetof(struct ntm_hdr, id), sizeof(r.hdr.id));
	ret = rotate(jar, now_ms);
	if (!ret)
		ret = cookie_of(cookie, jar->secret, from);
	if (!ret)
		ret = ntm_random(r.nonce, sizeof(r.nonce));
	if (!ret)
		ret = ntm_seal(jar->cookie_key, r.nonce, (const uint8_t *)msg + len - sizeof(struct ntm_macs),
			       NTM_MAC_LEN, cookie, sizeof(cookie), r.cookie);
	ntm_wipe(cookie, sizeof(cookie));
	if (!ret)
		*out = r;
	return ret;
}

int ntm_cookie_client_init(struct ntm_cookie_client *cc, const uint8_t peer_static_pub[NTM_DH_LEN])
{
	int ret;

	memset(cc, 0, sizeof(*cc));
	ret = derive(cc->mac1_key, "ntm1 mac1", peer_static_pub);
	return ret ? ret : derive(cc->cookie_key, "ntm1 cookie", peer_static_pub);
}

int ntm_cookie_sign(struct ntm_cookie_client *cc, void *msg, size_t len, uint64_t now_ms)
{
	struct ntm_iov v = {msg, 0};
	uint8_t *macs;
	int ret;

	if (len < sizeof(struct ntm_hdr) + sizeof(struct ntm_macs))
		return -EINVAL;
	macs = (uint8_t *)msg + len - sizeof(struct ntm_macs);
	v.len = len - sizeof(struct ntm_macs);
	ret = ntm_mac(macs, cc->mac1_key, sizeof(cc->mac1_key), &v, 1);
	if (ret)
		return ret;
	memcpy(cc->last_mac1, macs, NTM_MAC_LEN);
	memset(macs + NTM_MAC_LEN, 0, NTM_MAC_LEN);
	if (!cc->cookie_ms || now_ms - cc->cookie_ms >= NTM_COOKIE_SECRET_S * 1000ULL)
		return 0;
	v.len += NTM_MAC_LEN;
	return ntm_mac(macs + NTM_MAC_LEN, cc->cookie, sizeof(cc->cookie), &v, 1);
}

int ntm_cookie_consume(struct ntm_cookie_client *cc, const struct ntm_cookie_reply *r, uint64_t now_ms)
{
	static const uint8_t none[NTM_MAC_LEN];
	uint8_t cookie[NTM_COOKIE_LEN];
	int ret;

	if (ntm_equal(cc->last_mac1, none, sizeof(none))) /* nothing signed yet */
		return -EBADMSG;
	ret = ntm_open(cc->cookie_key, r->nonce, cc->last_mac1, sizeof(cc->last_mac1), r->cookie, sizeof(r->cookie),
		       cookie);
	if (ret)
		return ret;
	memcpy(cc->cookie, cookie, sizeof(cookie));
	cc->cookie_ms = now_ms ? now_ms : 1;
	ntm_wipe(cookie, sizeof(cookie));
	return 0;
}
