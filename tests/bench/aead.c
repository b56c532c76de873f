/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What sealing a packet costs: in BPF (tc, XDP; BPF_PROG_TEST_RUN), the same source native without vectors, OpenSSL.
 * Lines "name\tvalue\tunit". Medians of alternated runs: other load hits all sides alike. What a run of the same
 * programs costs that neither seal nor open is measured with them and taken off.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <openssl/evp.h>

#include "../../bpf/lib/aead.h"
#include "aead_test.skel.h"

enum { RUNS = 31, REPEAT = 2000, HDR_OFF = 42, BUF = HDR_OFF + 16 + NTM_INNER_MAX + 16 };
enum side { TC, XDP, NATIVE, OPENSSL, TC_IDLE, XDP_IDLE, SIDES };

struct params { /* struct aead_params of aead_test.bpf.c */
	uint8_t key[NTM_KEY_LEN];
	uint32_t hdr_off, len, open;
	int32_t result;
	uint32_t idle;
};

static const char *const side_name[SIDES] = {"bpf_tc", "bpf_xdp", "native", "openssl", "idle_tc", "idle_xdp"};
static uint8_t *packet, key[NTM_KEY_LEN];
static struct aead_test *skel;
static EVP_CIPHER_CTX *evp;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int seal_bpf(enum side side, uint32_t len, double *ns)
{
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = packet, .data_size_in = HDR_OFF + 32 + len, .repeat = REPEAT);
	struct params p = {.hdr_off = HDR_OFF, .len = len, .idle = side == TC_IDLE || side == XDP_IDLE};
	bool tc = side == TC || side == TC_IDLE;
	int fd = bpf_map__fd(skel->maps.params), err;
	__u32 zero = 0;

	err = bpf_map_update_elem(fd, &zero, &p, BPF_ANY);
	if (!err)
		err = bpf_prog_test_run_opts(bpf_program__fd(tc ? skel->progs.aead_tc : skel->progs.aead_xdp), &t);
	if (!err)
		err = bpf_map_lookup_elem(fd, &zero, &p);
	*ns = t.duration;
	return err ? err : p.result;
}

static int seal_native(uint32_t len, double *ns)
{
	struct ntm_aead_buf b = {packet, packet + HDR_OFF + 32 + len};
	double start = now_ns();

	for (int i = 0; i < REPEAT; i++) {
		int err = ntm_aead_seal_buf(&b, HDR_OFF, len, key);

		if (err)
			return err;
	}
	*ns = (now_ns() - start) / REPEAT;
	return 0;
}

static int seal_openssl(uint32_t len, double *ns)
{
	uint8_t *hdr = packet + HDR_OFF, *text = hdr + 16, nonce[12] = {};
	double start = now_ns();
	int n;

	for (int i = 0; i < REPEAT; i++)
		if (!EVP_EncryptInit_ex(evp, NULL, NULL, NULL, nonce) || !EVP_EncryptUpdate(evp, NULL, &n, hdr, 16) ||
		    !EVP_EncryptUpdate(evp, text, &n, text, (int)len) || !EVP_EncryptFinal_ex(evp, text + len, &n) ||
		    !EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, 16, text + len))
			return -EIO;
	*ns = (now_ns() - start) / REPEAT;
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int measure(uint32_t len)
{
	double ns[SIDES][RUNS], median[SIDES];

	for (int run = 0; run < RUNS; run++)
		for (enum side side = TC; side < SIDES; side++) {
			int err = side == NATIVE    ? seal_native(len, &ns[side][run])
				  : side == OPENSSL ? seal_openssl(len, &ns[side][run])
						    : seal_bpf(side, len, &ns[side][run]);
			if (err) {
				fprintf(stderr, "aead: %s, %u bytes: %s\n", side_name[side], len, strerror(abs(err)));
				return err;
			}
		}
	for (enum side side = TC; side < SIDES; side++) {
		qsort(ns[side], RUNS, sizeof(double), by_value);
		median[side] = ns[side][RUNS / 2];
	}
	median[TC] -= median[TC_IDLE];
	median[XDP] -= median[XDP_IDLE];
	for (enum side side = TC; side < SIDES; side++)
		printf("aead_%s_%u\t%.0f\tns\n", side_name[side], len, median[side]);
	printf("aead_bpf_tc_to_native_%u\t%.2f\tratio\n", len, median[TC] / median[NATIVE]);
	printf("aead_bpf_tc_to_openssl_%u\t%.2f\tratio\n", len, median[TC] / median[OPENSSL]);
	return 0;
}

/*
 * Stores to the packet must not share their address modulo 4 KiB with what the AEAD keeps on the stack: the processor
 * then takes loads for dependent on them, and the native figure would more than double by chance.
 */
static uint8_t *place_packet(void)
{
	static uint8_t room[3 * 4096] __attribute__((aligned(4096)));
	uint8_t here;

	return room + ((uintptr_t)&here + 256) % 4096;
}

int main(void)
{
	static const uint32_t lens[] = {64, 512, 1400};
	int err = 0;

	packet = place_packet();
	skel = aead_test__open_and_load();
	if (!skel) {
		perror("aead: loading the BPF programs");
		return 1;
	}
	evp = EVP_CIPHER_CTX_new();
	if (!evp || !EVP_EncryptInit_ex(evp, EVP_chacha20_poly1305(), NULL, key, NULL))
		err = -EIO;
	for (size_t i = 0; !err && i < sizeof(lens) / sizeof(lens[0]); i++)
		err = measure(lens[i]);
	EVP_CIPHER_CTX_free(evp);
	aead_test__destroy(skel);
	return err ? 1 : 0;
}
