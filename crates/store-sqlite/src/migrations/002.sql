-- Cursors: subscriptions that read the log from a position on, since they were overfull, paused,
-- over the fan-out or begin in the past. `behind`: matches counted and not read yet.
CREATE TABLE cursors (
    subscription INTEGER NOT NULL,
    opened INTEGER NOT NULL,
    bus INTEGER NOT NULL,
    version INTEGER NOT NULL,
    position INTEGER NOT NULL,
    until INTEGER,
    counted INTEGER NOT NULL,
    behind INTEGER NOT NULL,
    PRIMARY KEY (subscription, opened)
) WITHOUT ROWID;

-- Priorities: whose turn it is where runs wait for the same thing. 2 is `normal`.
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 2;

-- What an operator holds up: subscriptions, destinations, schedules.
CREATE TABLE pauses (
    resource INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- Dead letters of one key: what blocks it, and the search for it.
CREATE INDEX messages_key ON messages (d_key, d_subscription, d_id) WHERE d_key IS NOT NULL;
-- Map runs: the version of the items' source; pages whose children take several items each.
ALTER TABLE map_runs ADD COLUMN source_version TEXT;
ALTER TABLE map_pages ADD COLUMN item_count INTEGER NOT NULL DEFAULT 0;
UPDATE map_pages SET item_count = count;
ALTER TABLE executions ADD COLUMN items INTEGER NOT NULL DEFAULT 1;


-- Queues as a place to receive from: until when a message is hidden, how often it was received and
-- since when. What is visible is found in the order in which it became so.
ALTER TABLE messages ADD COLUMN visible INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN received INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN first_received INTEGER;
CREATE INDEX messages_visible ON messages (queue, visible, id);
