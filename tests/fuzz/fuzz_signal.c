/* SPDX-License-Identifier: BSD-2-Clause */
/* Signalling: what the decoder accepts means the same after it was encoded again; what it refuses leaves nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/signal_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_signal: %s\n", what);
	abort();
}

static void check_text(const char *text, size_t cap)
{
	size_t len = strnlen(text, cap);

	require(len < cap, "a string without its end");
	for (size_t i = 0; i < len; i++)
		require((unsigned char)text[i] >= 0x20 && text[i] != 0x7f, "a control character in a string");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ntm_sig once, twice, empty;
	uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees a read beyond it */
	static uint8_t out[1 << 17];
	size_t len;

	if (!exact)
		return 0;
	if (size)
		memcpy(exact, data, size);
	if (ntm_sig_decode(&once, exact, size)) {
		ntm_sig_init(&empty, (enum ntm_msg)once.msg, once.txid);
		require(!memcmp(&once, &empty, sizeof(once)), "something is left of a refused message");
	} else {
		check_text(once.name, sizeof(once.name));
		check_text(once.zone, sizeof(once.zone));
		check_text(once.token, sizeof(once.token));
		check_text(once.error_text, sizeof(once.error_text));
		require(once.n_candidates <= NTM_CANDIDATES_MAX, "too many candidates");
		require(!ntm_sig_encode(&once, out, sizeof(out), &len), "what was decoded cannot be encoded");
		require(len <= size, "the encoding grew");
		require(!ntm_sig_decode(&twice, out, len), "what was encoded cannot be decoded");
		require(!memcmp(&once, &twice, sizeof(once)), "the message changed");
	}
	free(exact);
	return 0;
}
