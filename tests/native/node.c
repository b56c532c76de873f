/* SPDX-License-Identifier: BSD-2-Clause */
#include "shim.h"
#define LICENSE native_license_decap
#include "../../bpf/node_decap.bpf.c"
#undef LICENSE
#define LICENSE native_license_encap
#include "../../bpf/node_encap.bpf.c"

const struct native_decl native_node_maps[] = {
    NATIVE_MAP(ntm_settings),
    NATIVE_MAP(ntm_uplinks),
    NATIVE_MAP(ntm_paths),
    NATIVE_MAP(ntm_path_ids),
    NATIVE_MAP(ntm_vips),
    NATIVE_MAP(ntm_locals),
    NATIVE_MAP(ntm_counters),
    NATIVE_MAP(ntm_upcall_tat),
    NATIVE_MAP(ntm_quiet),
    NATIVE_RING(ntm_events),
    {0},
};

int native_seal(struct native_ctx *ctx, uint32_t hdr_off, uint32_t len, const uint8_t *key)
{
	return ntm_aead_seal_xdp(ctx, hdr_off, len, key);
}
