-- SPDX-License-Identifier: BSD-2-Clause
-- The processes that have the store open, and what each of them is to hear of when another changed it.
CREATE TABLE processes (
	holder     BIGINT PRIMARY KEY,                           -- as in nodes
	public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
	addresses  BYTEA NOT NULL CHECK (length(addresses) % 18 = 0), -- where the others reach it, as nodes.endpoint
	joined_s   BIGINT NOT NULL
);

-- Appended under the writers' lock, so the order of seq is that of the commits. Old rows are cleared away.
CREATE TABLE changes (
	seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	made_ms BIGINT NOT NULL, -- by the server's clock
	holder  BIGINT NOT NULL, -- whose change it is
	kind    TEXT NOT NULL,   -- node, revoked, setting, process
	node_id BIGINT,
	name    TEXT             -- of a setting
);
CREATE INDEX changes_made ON changes (made_ms);
