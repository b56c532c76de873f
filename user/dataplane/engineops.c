/* SPDX-License-Identifier: BSD-2-Clause */
#include "engineops.h"

int ntm_dp_engine_keys(struct ntm_engine *e, uint32_t slot, const struct ntm_dp_keys *k)
{
	struct ntm_engine_keys ek = {.epoch = k->epoch,
				     .tx = k->tx,
				     .rx = k->rx,
				     .bulk_suite = k->bulk_suite,
				     .bulk_tx = k->bulk_tx,
				     .bulk_rx = k->bulk_rx};
	return e ? ntm_engine_set_keys(e, slot, &ek) : 0;
}

void ntm_dp_engine_stats(struct ntm_engine *e, uint32_t slot, struct ntm_dp_stats *out)
{
	struct ntm_engine_stats s;
	if (!e)
		return;
	ntm_engine_stats(e, slot, &s);
	out->bulk = s.bulk;
	out->bulk_suite = s.suite;
	out->bulk_tx_packets = s.tx_packets;
	out->bulk_tx_bytes = s.tx_bytes;
	out->bulk_rx_packets = s.rx_packets;
	out->bulk_rx_bytes = s.rx_bytes;
	ntm_engine_look(e, slot);
}
