-- SPDX-License-Identifier: BSD-2-Clause
-- Times are seconds since 1970 UTC. A migration that was released is never edited: the next number changes it.

-- The pools that addresses below were given from (text, as configured), checked at start.
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE nodes (
	id          INTEGER PRIMARY KEY,
	label       TEXT NOT NULL,
	public_key  BLOB NOT NULL UNIQUE CHECK (length(public_key) = 32),
	address     INTEGER UNIQUE CHECK (address > 0), -- index into both pools; NULL: given to a later node
	created_s   INTEGER NOT NULL,
	revoked_s   INTEGER,
	online      INTEGER NOT NULL DEFAULT 0,         -- as last known: whom to invite after a restart
	endpoint    BLOB CHECK (length(endpoint) = 18), -- IPv6 or v4-mapped address, port; network order
	via         BLOB CHECK (length(via) = 18),      -- own address that it was seen on
	last_seen_s INTEGER
);
-- A name belongs to one key at a time; it is free again for a token bound to it once that key is revoked.
CREATE UNIQUE INDEX nodes_live_label ON nodes (label) WHERE revoked_s IS NULL;
CREATE INDEX nodes_label ON nodes (label);
CREATE INDEX nodes_online ON nodes (id) WHERE online = 1;
CREATE INDEX nodes_revoked ON nodes (revoked_s) WHERE revoked_s IS NOT NULL AND address IS NOT NULL;

CREATE TABLE tokens (
	hash      BLOB PRIMARY KEY CHECK (length(hash) = 32), -- BLAKE2s-256 of the token
	label     TEXT,                                       -- NULL: any name
	created_s INTEGER NOT NULL,
	expires_s INTEGER NOT NULL,
	used_s    INTEGER,
	node_id   INTEGER REFERENCES nodes (id)
) WITHOUT ROWID;
CREATE INDEX tokens_expiry ON tokens (expires_s);
