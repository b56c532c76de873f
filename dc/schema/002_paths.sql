-- SPDX-License-Identifier: BSD-2-Clause
-- Paths that were directed, one a pair, so that a revocation reaches the other ends also after a restart.
CREATE TABLE paths (
	a         INTEGER NOT NULL REFERENCES nodes (id),
	b         INTEGER NOT NULL REFERENCES nodes (id),
	path_id   INTEGER NOT NULL,           -- 64 bits, signed here
	created_s INTEGER NOT NULL,
	released  INTEGER NOT NULL DEFAULT 0, -- an end was revoked: the other is told when it is there
	PRIMARY KEY (a, b),
	CHECK (a < b)
) WITHOUT ROWID;
CREATE INDEX paths_b ON paths (b);
CREATE INDEX paths_created ON paths (created_s);
CREATE INDEX paths_released_a ON paths (a) WHERE released = 1;
CREATE INDEX paths_released_b ON paths (b) WHERE released = 1;
