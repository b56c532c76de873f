/* SPDX-License-Identifier: BSD-2-Clause */
#include "path_crypto.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "crypto.h"

static const char PROLOGUE[] = "NTMobile 1 tunnel";

static size_t make_prologue(uint8_t out[64], const struct ntm_hdr *h)
{
	memcpy(out, PROLOGUE, sizeof(PROLOGUE) - 1);
	memcpy(out + sizeof(PROLOGUE) - 1, h, sizeof(*h));
	return sizeof(PROLOGUE) - 1 + sizeof(*h);
}

static void put_hdr(struct ntm_hdr *h, unsigned type, uint8_t epoch, uint64_t path_id)
{
	*h = (struct ntm_hdr){
	    .ver_type = (uint8_t)(NTM_WIRE_VERSION << 4 | type),
	    .suite_epoch = epoch & 15,
	    .id = htobe64(path_id),
	};
}

uint8_t ntm_bulk_suite(uint16_t suites)
{
	/* AES is offered only where it is the faster one. */
	if (suites & 1u << NTM_SUITE_BULK_AES)
		return NTM_SUITE_BULK_AES;
	return suites & 1u << NTM_SUITE_BULK_CHACHA ? NTM_SUITE_BULK_CHACHA : 0;
}

/* suites: as the responder chose. */
static int spread(struct ntm_noise *ns, uint8_t epoch, uint16_t suites, struct ntm_tunnel_keys *keys)
{
	uint8_t tx[NTM_KEY_LEN], rx[NTM_KEY_LEN];
	struct ntm_tunnel_keys k = {.epoch = epoch & 15, .bulk_suite = ntm_bulk_suite(suites)};
	int ret = ntm_noise_split(ns, tx, rx);

	if (!ret)
		ret = ntm_suite_key(tx, NTM_SUITE_KERNEL, k.tx);
	if (!ret)
		ret = ntm_suite_key(rx, NTM_SUITE_KERNEL, k.rx);
	if (!ret)
		ret = ntm_suite_key(tx, NTM_SUITE_CONTROL, k.ctl_tx);
	if (!ret)
		ret = ntm_suite_key(rx, NTM_SUITE_CONTROL, k.ctl_rx);
	if (!ret && k.bulk_suite)
		ret = ntm_suite_key(tx, k.bulk_suite, k.bulk_tx);
	if (!ret && k.bulk_suite)
		ret = ntm_suite_key(rx, k.bulk_suite, k.bulk_rx);
	if (!ret)
		*keys = k;
	ntm_wipe(tx, sizeof(tx));
	ntm_wipe(rx, sizeof(rx));
	ntm_wipe(&k, sizeof(k));
	return ret;
}

int ntm_tunnel_begin(struct ntm_tunnel_init_state *st, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		     const uint8_t peer_pub[NTM_DH_LEN], const uint8_t psk[NTM_PSK_LEN], uint64_t path_id,
		     uint8_t epoch, const struct ntm_tunnel_req_payload *p, struct ntm_cookie_client *cc,
		     uint64_t now_ms)
{
	uint8_t prologue[64];
	size_t n;
	int ret;

	memset(st, 0, sizeof(*st));
	st->path_id = path_id;
	st->epoch = epoch & 15;
	put_hdr(&st->msg.hdr, NTM_T_TUNNEL_REQ, epoch, path_id);
	n = make_prologue(prologue, &st->msg.hdr);
	ret = ntm_noise_init(&st->noise, true, priv, pub, peer_pub, psk, prologue, n);
	if (!ret)
		ret = ntm_noise_write(&st->noise, p, sizeof(*p), st->msg.e,
				      sizeof(st->msg) - offsetof(struct ntm_tunnel_req, e), &n);
	if (!ret)
		ret = ntm_cookie_sign(cc, &st->msg, sizeof(st->msg), now_ms);
	if (ret)
		ntm_wipe(st, sizeof(*st));
	return ret;
}

int ntm_tunnel_finish(struct ntm_tunnel_init_state *st, const void *msg, size_t len, struct ntm_tunnel_keys *keys,
		      struct ntm_tunnel_resp_payload *p)
{
	struct ntm_tunnel_resp_payload payload;
	struct ntm_tunnel_resp resp;
	struct ntm_noise noise;
	struct ntm_hdr want;
	size_t n;
	int ret;

	/* Path ID 0: never begun, or finished already. */
	if (len != sizeof(resp) || !st->path_id)
		return -EBADMSG;
	memcpy(&resp, msg, sizeof(resp));
	put_hdr(&want, NTM_T_TUNNEL_RESP, st->epoch, st->path_id);
	if (memcmp(&want, &resp.hdr, sizeof(want)) != 0)
		return -EBADMSG;
	noise = st->noise; /* a forged answer must not spoil the true one */
	ret = ntm_noise_read(&noise, resp.e, sizeof(resp) - offsetof(struct ntm_tunnel_resp, e), (uint8_t *)&payload,
			     sizeof(payload), &n);
	if (!ret)
		ret = spread(&noise, st->epoch, be16toh(payload.suites), keys);
	if (!ret) {
		*p = payload;
		ntm_wipe(st, sizeof(*st));
	}
	ntm_noise_clear(&noise);
	return ret;
}

int ntm_tunnel_read(struct ntm_noise *ns, const uint8_t priv[NTM_DH_LEN], const uint8_t pub[NTM_DH_LEN],
		    const uint8_t peer_pub[NTM_DH_LEN], const uint8_t psk[NTM_PSK_LEN], const void *msg, size_t len,
		    struct ntm_tunnel_req_payload *req)
{
	struct ntm_tunnel_req_payload payload;
	struct ntm_tunnel_req m;
	uint8_t prologue[64];
	struct ntm_hdr want;
	size_t n;
	int ret;

	if (len != sizeof(m))
		return -EBADMSG;
	memcpy(&m, msg, sizeof(m));
	put_hdr(&want, NTM_T_TUNNEL_REQ, ntm_hdr_epoch(&m.hdr), be64toh(m.hdr.id));
	if (memcmp(&want, &m.hdr, sizeof(want)) != 0)
		return -EBADMSG;
	n = make_prologue(prologue, &m.hdr);
	ret = ntm_noise_init(ns, false, priv, pub, NULL, psk, prologue, n);
	if (!ret)
		ret = ntm_noise_read(ns, m.e, sizeof(m.e) + sizeof(m.s) + sizeof(m.payload), (uint8_t *)&payload,
				     sizeof(payload), &n);
	if (!ret && !ntm_equal(ns->rs, peer_pub, NTM_DH_LEN))
		ret = -EBADMSG;
	if (ret)
		ntm_noise_clear(ns);
	else
		*req = payload;
	return ret;
}

int ntm_tunnel_answer(struct ntm_noise *ns, uint64_t path_id, uint8_t epoch, const struct ntm_tunnel_resp_payload *p,
		      struct ntm_tunnel_resp *out, struct ntm_tunnel_keys *keys)
{
	struct ntm_tunnel_resp resp;
	size_t n;
	int ret;

	put_hdr(&resp.hdr, NTM_T_TUNNEL_RESP, epoch, path_id);
	ret = ntm_noise_write(ns, p, sizeof(*p), resp.e, sizeof(resp) - offsetof(struct ntm_tunnel_resp, e), &n);
	if (!ret)
		ret = spread(ns, epoch, be16toh(p->suites), keys);
	if (!ret)
		*out = resp;
	ntm_noise_clear(ns);
	return ret;
}
