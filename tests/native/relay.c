/* SPDX-License-Identifier: BSD-2-Clause */
#include "shim.h"
#define LICENSE native_license_relay
#include "../../bpf/relay.bpf.c"

const struct native_decl native_relay_maps[] = {
    NATIVE_MAP(ntm_relay_settings), NATIVE_MAP(ntm_relay_paths),
    NATIVE_MAP(ntm_relay_accounts), NATIVE_MAP(ntm_relay_hops),
    NATIVE_MAP(ntm_relay_uplinks),  NATIVE_MAP(ntm_relay_locals),
    NATIVE_MAP(ntm_relay_counters), NATIVE_MAP(ntm_relay_buckets),
    NATIVE_MAP(ntm_relay_former),   {0},
};
