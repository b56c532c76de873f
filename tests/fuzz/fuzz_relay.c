/* SPDX-License-Identifier: BSD-2-Clause */
/* Binds and probes of strangers: no answer, no change; the path's own end is bound afterwards. */
#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../user/common/crypto.h"
#include "../../user/common/relay_crypto.h"
#include "../../user/relay/admission.h"

#define PATH 0x0102030405060708ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_sent;

static int count(void *arg, const struct ntm_addr *to, const uint8_t src[16], const void *data, size_t len,
		 enum ntm_send_mode mode)
{
	(void)arg;
	(void)to;
	(void)src;
	(void)data;
	(void)len;
	(void)mode;
	n_sent++;
	return 0;
}

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_relay: %s\n", what);
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ntm_relay_dp_config c = {.max_paths = 4};
	struct ntm_net net = {.send = count};
	struct ntm_timers timers = {0};
	struct ntm_relay_dp_path p;
	struct ntm_addr from = {.port = htobe16(9)};
	struct ntm_relay_bind m = {.hdr = {.ver_type = NTM_WIRE_VERSION << 4 | NTM_T_TUNNEL_REQ, .id = htobe64(PATH)},
				   .seq = htobe64(1)};
	uint8_t secret[32], key[32], to[16] = {0};
	struct ntm_relay_dp *dp;
	struct ntm_admission a;
	char why[64];

	from.ip[0] = 0x20;
	require(!ntm_crypto_init() && !ntm_random(secret, sizeof(secret)), "no keys");
	require(!ntm_relay_dp_fake_open(&dp, &c, why, sizeof(why)), "no data plane");
	require(!ntm_admission_init(&a, dp, &net, &timers), "no memory");
	ntm_admission_set_probe_secret(&a, secret);
	require(!dp->ops->add(dp, PATH, secret, 0), "no path");

	n_sent = 0;
	ntm_admission_input(&a, &from, to, data, size);
	require(!dp->ops->get(dp, PATH, &p) && !p.ends[0].addr.port && !p.ends[1].addr.port, "a stranger was bound");
	require(!p.ends[0].seq && !p.ends[1].seq, "a stranger's sequence was taken");
	require(!n_sent, "a stranger was answered");

	require(!ntm_relay_end_key(secret, NTM_ROLE_INITIATOR, key) && !ntm_bind_sign(key, &m, sizeof(m)), "sign");
	require(ntm_admission_input(&a, &from, to, (uint8_t *)&m, sizeof(m)) && n_sent == 1, "the true bind");
	ntm_admission_free(&a);
	dp->ops->close(dp, false);
	return 0;
}
