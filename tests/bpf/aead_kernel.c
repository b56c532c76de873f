/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf/lib/aead.h in the kernel, for skb and xdp contexts, against OpenSSL. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ntm/limits.h>
#include <openssl/rand.h>

#include "aead_ref.h"
#include "aead_test.skel.h"

enum { HDR_OFF_MIN = 14, HDR_OFF_MAX = 78, ROUNDS = 10000, BUF = HDR_OFF_MAX + 16 + NTM_INNER_MAX + 16 };

struct params { /* struct aead_params of aead_test.bpf.c */
	uint8_t key[NTM_KEY_LEN];
	uint32_t hdr_off, len, open;
	int32_t result;
};

static struct aead_test *skel;
static volatile struct params *params;
static const char *const hook_name[] = {"tc", "xdp"};
static int hook_fd[2];
static uint8_t key[NTM_KEY_LEN], packet[BUF], plain[BUF], sealed[BUF], out[BUF];

static void load(void)
{
	if (geteuid())
		cr_skip_test("needs root");
	skel = aead_test__open_and_load();
	cr_assert(skel, "the verifier refused a program");
	params = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		      bpf_map__fd(skel->maps.params), 0);
	cr_assert_neq((void *)params, MAP_FAILED);
	hook_fd[0] = bpf_program__fd(skel->progs.aead_tc);
	hook_fd[1] = bpf_program__fd(skel->progs.aead_xdp);
}

static void unload(void)
{
	munmap((void *)params, (size_t)sysconf(_SC_PAGESIZE));
	aead_test__destroy(skel);
}

/* Runs the program on in, leaves the packet in out. */
static int run(int hook, const uint8_t *in, uint32_t size, uint32_t hdr_off, uint32_t len, int open)
{
	LIBBPF_OPTS(bpf_test_run_opts, t, .data_in = in, .data_size_in = size, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);

	for (size_t i = 0; i < sizeof(key); i++)
		params->key[i] = key[i];
	params->hdr_off = hdr_off;
	params->len = len;
	params->open = open;
	params->result = 1;
	cr_assert_eq(bpf_prog_test_run_opts(hook_fd[hook], &t), 0);
	cr_assert_eq(t.data_size_out, size);
	return params->result;
}

static void both_directions(int hook, uint32_t len)
{
	uint32_t off = HDR_OFF_MIN + (uint32_t)rand() % (HDR_OFF_MAX - HDR_OFF_MIN + 1), size = off + 32 + len;

	RAND_bytes(key, sizeof(key));
	RAND_bytes(plain, (int)size);
	memcpy(sealed, plain, size);
	cr_assert_eq(aead_ref_seal(key, sealed + off, len), 0);

	cr_assert_eq(run(hook, plain, size, off, len, 0), 0, "%s seal, %u bytes", hook_name[hook], len);
	cr_assert_arr_eq(out, sealed, size, "%s seal, %u bytes", hook_name[hook], len);
	memcpy(packet, out, size);
	cr_assert_eq(aead_ref_open(key, packet + off, len), 0);
	cr_assert_arr_eq(packet, plain, size - 16);

	cr_assert_eq(run(hook, sealed, size, off, len, 1), 0, "%s open, %u bytes", hook_name[hook], len);
	cr_assert_arr_eq(out, plain, size - 16, "%s open, %u bytes", hook_name[hook], len);
}

TestSuite(aead_kernel, .init = load, .fini = unload);

Test(aead_kernel, every_length_to_260_and_the_largest)
{
	for (int hook = 0; hook < 2; hook++) {
		for (uint32_t len = 0; len <= 260; len++)
			both_directions(hook, len);
		for (uint32_t len = NTM_INNER_MAX - 70; len <= NTM_INNER_MAX; len++)
			both_directions(hook, len);
	}
}

Test(aead_kernel, random_lengths_and_keys)
{
	srand(8439);
	for (int i = 0; i < ROUNDS; i++)
		for (int hook = 0; hook < 2; hook++)
			both_directions(hook, (uint32_t)rand() % (NTM_INNER_MAX + 1));
}

Test(aead_kernel, any_changed_bit_is_refused_and_nothing_decrypted)
{
	static const uint32_t lens[] = {0, 1, 15, 16, 63, 64, 100, 1400};

	for (int hook = 0; hook < 2; hook++)
		for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
			uint32_t len = lens[i], off = 42, size = off + 32 + len;

			RAND_bytes(key, sizeof(key));
			RAND_bytes(sealed, (int)size);
			cr_assert_eq(aead_ref_seal(key, sealed + off, len), 0);
			for (uint32_t at = off; at < size; at += at < off + 48 || at + 48 > size ? 1 : 37) {
				memcpy(packet, sealed, size);
				packet[at] ^= 1 << rand() % 8;
				cr_assert_eq(run(hook, packet, size, off, len, 1), -EBADMSG, "%s, byte %u of %u",
					     hook_name[hook], at - off, size - off);
				cr_assert_arr_eq(out, packet, size);
			}
			key[rand() % 32] ^= 0x10;
			cr_assert_eq(run(hook, sealed, size, off, len, 1), -EBADMSG);
		}
}

Test(aead_kernel, lengths_beyond_the_packet_are_refused)
{
	uint32_t off = 42, len = 100, size = off + 32 + len;

	RAND_bytes(packet, (int)size);
	for (int hook = 0; hook < 2; hook++)
		for (int open = 0; open < 2; open++) {
			static const uint32_t bad[] = {101,     1000,      NTM_INNER_MAX, NTM_INNER_MAX + 1,
						       0x10000, UINT32_MAX};

			for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
				cr_assert_eq(run(hook, packet, size, off, bad[i], open), -EINVAL, "%u", bad[i]);
				cr_assert_arr_eq(out, packet, size);
			}
			cr_assert_eq(run(hook, packet, size, off + 1, len, open), -EINVAL);
			cr_assert_eq(run(hook, packet, size, 256, 0, open), -EINVAL);
			cr_assert_eq(run(hook, packet, size, UINT32_MAX - 15, 0, open), -EINVAL);
			cr_assert_arr_eq(out, packet, size);
		}
}
