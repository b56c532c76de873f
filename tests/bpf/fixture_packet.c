/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/evp.h>

#include "fixture.h"

static const uint8_t vip4[2][4] = {{100, 96, 0, 1}, {100, 111, 255, 2}};
static const uint8_t vip6[2][16] = {
    {0xfd, 0x4e, 0x54, 0x4d, [15] = 1},
    {0xfd, 0x4e, 0x54, 0x4d, 0, 0, 0xff, [15] = 2},
};
static const uint8_t real[2][2][16] = {
    {{[10] = 0xff, 0xff, 192, 0, 2, 1}, {0x20, 0x01, 0x0d, 0xb8, [15] = 1}},
    {{[10] = 0xff, 0xff, 198, 51, 100, 2}, {0x20, 0x01, 0x0d, 0xb8, 0, 2, [15] = 2}},
};

const uint8_t *fx_vip4(enum fx_side side)
{
	return vip4[side];
}

const uint8_t *fx_vip6(enum fx_side side)
{
	return vip6[side];
}

const uint8_t *fx_real(enum fx_side side, bool v6)
{
	return real[side][v6];
}

uint16_t fx_sum(const void *p, size_t len, uint32_t start)
{
	const uint8_t *b = p;
	uint64_t sum = start;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

void fx_fix_ipv4(uint8_t *ip)
{
	uint16_t sum;

	memset(ip + 10, 0, 2);
	sum = htons(~fx_sum(ip, (ip[0] & 15) * 4, 0));
	memcpy(ip + 10, &sum, 2);
}

int fx_check_udp6(const struct fx_frame *p)
{
	const uint8_t *ip = p->data + 14, *udp = ip + 40;
	uint16_t len = udp[4] << 8 | udp[5];

	if (udp[6] == 0 && udp[7] == 0)
		return -1;
	return fx_sum(udp, len, fx_sum(ip + 8, 32, 17 + len)) == 0xffff ? 0 : -1;
}

int fx_aead(bool seal, const uint8_t key[NTM_KEY_LEN], const struct ntm_hdr *hdr, uint8_t *text, size_t len,
	    uint8_t tag[NTM_TAG_LEN])
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t nonce[NTM_NONCE_LEN] = {0};
	int n, ok;

	memcpy(nonce + 6, &hdr->ctr_hi, 6);
	ok = EVP_CipherInit_ex(c, EVP_chacha20_poly1305(), NULL, key, nonce, seal) &&
	     (seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, NTM_TAG_LEN, tag)) &&
	     EVP_CipherUpdate(c, NULL, &n, (const uint8_t *)hdr, sizeof(*hdr)) &&
	     (!len || EVP_CipherUpdate(c, text, &n, text, len)) && EVP_CipherFinal_ex(c, text + len, &n) &&
	     (!seal || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, NTM_TAG_LEN, tag));
	EVP_CIPHER_CTX_free(c);
	return ok ? 0 : -1;
}

size_t fx_put_inner(const struct fx *f, struct fx_frame *p, const struct fx_inner *in)
{
	enum fx_side from = in->reply ? !f->side : f->side;
	size_t off = p->len, hdr = in->v6 ? 40 : 20;
	uint8_t *ip = p->data + off;

	memset(ip, 0, hdr);
	if (in->v6) {
		ip[0] = 0x60 | in->tos >> 4;
		ip[1] = in->tos << 4 | 5; /* a flow label that must survive */
		ip[4] = in->payload >> 8;
		ip[5] = in->payload;
		ip[6] = 17;
		ip[7] = 63;
		memcpy(ip + 8, vip6[from], 16);
		memcpy(ip + 24, vip6[!from], 16);
	} else {
		ip[0] = 0x45;
		ip[1] = in->tos;
		ip[2] = (in->payload + hdr) >> 8;
		ip[3] = in->payload + hdr;
		ip[4] = 0x12;
		ip[6] = 0x40;
		ip[8] = 63;
		ip[9] = 17;
		memcpy(ip + 12, vip4[from], 4);
		memcpy(ip + 16, vip4[!from], 4);
		fx_fix_ipv4(ip);
	}
	for (int i = 0; i < in->payload; i++)
		ip[hdr + i] = i * 31 + 7;
	p->len += hdr + in->payload;
	return off;
}

static void put_eth(struct fx_frame *p, uint16_t proto, int vlans)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};

	memcpy(p->data, macs, 12);
	p->len = 12;
	for (int i = vlans; i > 0; i--) {
		const uint8_t tag[4] = {i == 2 ? 0x88 : 0x81, i == 2 ? 0xa8 : 0, 0, i};

		memcpy(p->data + p->len, tag, 4);
		p->len += 4;
	}
	p->data[p->len++] = proto >> 8;
	p->data[p->len++] = proto;
}

void fx_clear_frame(const struct fx *f, struct fx_frame *p, const struct fx_inner *in)
{
	put_eth(p, in->v6 ? 0x86dd : 0x0800, 0);
	fx_put_inner(f, p, in);
}

void fx_udp_frame(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const void *payload, size_t len)
{
	uint16_t sport = htons(o->sport ?: NTM_PORT), dport = f->settings->port, udp_len = htons(8 + len);
	uint8_t src[16], *ip;

	put_eth(p, o->v6 ? 0x86dd : 0x0800, o->vlans);
	ip = p->data + p->len;
	memcpy(src, real[!f->side][o->v6], 16);
	if (o->last_octet)
		src[15] = o->last_octet;
	memset(ip, 0, 40);
	if (o->v6) {
		ip[0] = 0x60 | o->tos >> 4;
		ip[1] = o->tos << 4;
		memcpy(ip + 4, &udp_len, 2);
		ip[6] = 17;
		ip[7] = 60;
		memcpy(ip + 8, src, 16);
		memcpy(ip + 24, real[f->side][1], 16);
		p->len += 40;
	} else {
		ip[0] = 0x45;
		ip[1] = o->tos;
		ip[2] = (28 + len) >> 8;
		ip[3] = 28 + len;
		ip[8] = 60;
		ip[9] = 17;
		memcpy(ip + 12, src + 12, 4);
		memcpy(ip + 16, real[f->side][0] + 12, 4);
		fx_fix_ipv4(ip);
		p->len += 20;
	}
	memcpy(p->data + p->len, &sport, 2);
	memcpy(p->data + p->len + 2, &dport, 2);
	memcpy(p->data + p->len + 4, &udp_len, 2);
	memset(p->data + p->len + 6, 0, 2);
	p->len += 8;
	memcpy(p->data + p->len, payload, len);
	p->len += len;
}

void fx_sealed_frame(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const void *inner, size_t len)
{
	uint8_t key[NTM_KEY_LEN], epoch = o->epoch ?: FX_EPOCH, d[FX_FRAME_MAX];
	struct ntm_hdr h = {
	    .ver_type = NTM_WIRE_VERSION << 4 | NTM_T_DATA,
	    .suite_epoch = NTM_SUITE_KERNEL << 4 | epoch,
	    .ctr_hi = htons(o->counter >> 32),
	    .ctr_lo = htonl(o->counter),
	    .id = htobe64(FX_PATH_ID),
	};

	memcpy(d, &h, sizeof(h));
	if (len)
		memcpy(d + sizeof(h), inner, len);
	fx_key(!f->side, epoch, key);
	cr_assert_eq(fx_aead(true, key, &h, d + sizeof(h), len, d + sizeof(h) + len), 0);
	fx_udp_frame(f, p, o, d, sizeof(h) + len + NTM_TAG_LEN);
}

void fx_sealed_inner(const struct fx *f, struct fx_frame *p, const struct fx_outer *o, const struct fx_inner *in)
{
	struct fx_frame tmp = {.len = 0};
	struct fx_inner reply = *in;

	reply.reply = true;
	fx_put_inner(f, &tmp, &reply);
	fx_sealed_frame(f, p, o, tmp.data, tmp.len);
}
