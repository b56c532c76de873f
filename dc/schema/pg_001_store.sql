-- SPDX-License-Identifier: BSD-2-Clause
-- PostgreSQL: what 001 to 003 are for SQLite, and which process saw a node last. Integers are BIGINT without exception: parameters and results travel in binary.
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE nodes (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	label       TEXT COLLATE "C" NOT NULL,
	public_key  BYTEA NOT NULL UNIQUE CHECK (length(public_key) = 32),
	address     BIGINT UNIQUE CHECK (address > 0), -- index into both pools; NULL: given to a later node
	created_s   BIGINT NOT NULL,
	revoked_s   BIGINT,
	online      BIGINT NOT NULL DEFAULT 0,
	endpoint    BYTEA CHECK (length(endpoint) = 18), -- IPv6 or v4-mapped address, port; network order
	via         BYTEA CHECK (length(via) = 18),
	last_seen_s BIGINT,
	relay       BIGINT NOT NULL DEFAULT 0,
	holder      BIGINT                               -- the process that it was online at last
);
CREATE UNIQUE INDEX nodes_live_label ON nodes (label) WHERE revoked_s IS NULL;
CREATE INDEX nodes_label ON nodes (label);
CREATE INDEX nodes_holder ON nodes (holder) WHERE online = 1;
CREATE INDEX nodes_revoked ON nodes (revoked_s) WHERE revoked_s IS NOT NULL AND address IS NOT NULL;
CREATE INDEX nodes_relay ON nodes (label) WHERE relay = 1;

CREATE TABLE tokens (
	hash      BYTEA PRIMARY KEY CHECK (length(hash) = 32), -- BLAKE2s-256 of the token
	label     TEXT,                                        -- NULL: any name
	created_s BIGINT NOT NULL,
	expires_s BIGINT NOT NULL,
	used_s    BIGINT,
	node_id   BIGINT REFERENCES nodes (id)
);
CREATE INDEX tokens_expiry ON tokens (expires_s);

CREATE TABLE paths (
	a         BIGINT NOT NULL REFERENCES nodes (id),
	b         BIGINT NOT NULL REFERENCES nodes (id),
	path_id   BIGINT NOT NULL,           -- 64 bits, signed here
	created_s BIGINT NOT NULL,
	released  BIGINT NOT NULL DEFAULT 0, -- an end was revoked: the other is told when it is there
	PRIMARY KEY (a, b),
	CHECK (a < b)
);
CREATE INDEX paths_b ON paths (b);
CREATE INDEX paths_created ON paths (created_s);
