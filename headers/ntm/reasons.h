/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a BPF program did with a packet what it did. One counter pair (packets, bytes) a reason;
 * NTM_REASONS(X) makes the enum, the names that `ntm status` prints and PROTOCOL.md's table agree.
 * X(symbol, name, meaning)
 */
#ifndef NTM_REASONS_H
#define NTM_REASONS_H

/* clang-format off */
#define NTM_REASONS(X) \
	X(TX_OK, "tx_ok", "inner packet sealed and sent") \
	X(TX_BULK, "tx_bulk", "inner packet sealed by the agent and sent on the bulk lane") \
	X(TX_COPY, "tx_copy", "sent by the uplink before, too (counted beside tx_ok)") \
	X(TX_COPY_BULK, "tx_copy_bulk", "the same on the bulk lane (counted beside tx_bulk)") \
	X(TX_NOT_IP, "tx_not_ip", "neither IPv4 nor IPv6, or multicast: not carried") \
	X(TX_BAD_INNER, "tx_bad_inner", "inner header malformed") \
	X(TX_BAD_SOURCE, "tx_bad_source", "inner source is not this node's virtual address") \
	X(TX_NOT_VIRTUAL, "tx_not_virtual", "destination is outside the virtual pools") \
	X(TX_NO_PATH, "tx_no_path", "no path yet: handed to the agent") \
	X(TX_NO_KEY, "tx_no_key", "path without a usable key") \
	X(TX_KEY_EXPIRED, "tx_key_expired", "key past its lifetime or its packet limit") \
	X(TX_TOO_BIG, "tx_too_big", "inner packet over the path MTU: handed to the agent or dropped") \
	X(TX_NO_UPLINK, "tx_no_uplink", "no uplink of the outer family") \
	X(TX_AGENT_BUSY, "tx_agent_busy", "the agent's queue is full, packet dropped") \
	X(TX_ERROR, "tx_error", "a kernel helper refused (memory, headroom)") \
	X(RX_OK, "rx_ok", "opened and delivered") \
	X(RX_BULK, "rx_bulk", "opened by the agent on the bulk lane and delivered") \
	X(RX_KEEPALIVE, "rx_keepalive", "authenticated and empty") \
	X(RX_TO_AGENT, "rx_to_agent", "signalling, control or another lane: passed to the agent") \
	X(RX_OTHER, "rx_other", "not NTMobile: passed to the kernel") \
	X(RX_FRAGMENT, "rx_fragment", "outer IP fragment: passed, the agent opens it reassembled") \
	X(RX_IP_OPTIONS, "rx_ip_options", "outer IP options or extension headers: passed to the agent") \
	X(RX_SHORT, "rx_short", "shorter than header and tag") \
	X(RX_LONG, "rx_long", "longer than an inner packet may be, or merged: passed, or split (counted beside rx_split)") \
	X(RX_SPLIT, "rx_split", "of a merged packet, or without its checksum: made plain, back to the uplink") \
	X(RX_BAD_LENGTH, "rx_bad_length", "lengths of IP, UDP and frame contradict each other") \
	X(RX_BAD_VERSION, "rx_bad_version", "other protocol version") \
	X(RX_BAD_TYPE, "rx_bad_type", "undefined message type or suite") \
	X(RX_UNKNOWN_PATH, "rx_unknown_path", "Path ID unknown") \
	X(RX_NO_KEY, "rx_no_key", "epoch unknown, expired or superseded") \
	X(RX_REPLAY, "rx_replay", "counter seen before") \
	X(RX_TOO_OLD, "rx_too_old", "counter behind the replay window") \
	X(RX_BAD_TAG, "rx_bad_tag", "authentication failed") \
	X(RX_BAD_INNER, "rx_bad_inner", "opened, but the inner header is malformed or its length wrong") \
	X(RX_BAD_SOURCE, "rx_bad_source", "inner source is not the peer's virtual address") \
	X(RX_BAD_DEST, "rx_bad_dest", "inner destination is not this node's virtual address") \
	X(RX_ECN, "rx_ecn", "congestion marked outside, not ECN-capable inside (RFC 6040)") \
	X(RX_CLEAR, "rx_clear", "virtual address in the clear on an uplink") \
	X(RX_ROAMED, "rx_roamed", "peer's endpoint moved (counted beside rx_ok)") \
	X(RX_ERROR, "rx_error", "a kernel helper refused")
/* clang-format on */

enum ntm_reason {
#define X(symbol, name, meaning) NTM_R_##symbol,
	NTM_REASONS(X)
#undef X
	    NTM_R_COUNT
};

#endif
