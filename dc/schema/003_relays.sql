-- SPDX-License-Identifier: BSD-2-Clause
-- Relays are nodes that the configuration lets in, not a token; what it no longer names is revoked.
ALTER TABLE nodes ADD COLUMN relay INTEGER NOT NULL DEFAULT 0;
CREATE INDEX nodes_relay ON nodes (label) WHERE relay = 1;
