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

-- Dead letters by what they died of: the list of causes is read from this index alone.
CREATE INDEX messages_cause ON messages
    (queue, d_subscription, error_code, json_extract(attributes, '$.stepbus.cause'), sent)
    WHERE d_id IS NOT NULL;

-- Payloads of dead letters as operators wrote them.
CREATE TABLE edits (
    delivery INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    payload BLOB NOT NULL,
    original BLOB,
    PRIMARY KEY (delivery, revision)
) WITHOUT ROWID;

-- Operators' work that goes on over restarts: redrives at a rate.
CREATE TABLE operations (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    status INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    body TEXT NOT NULL
);
CREATE INDEX operations_running ON operations (id) WHERE status = 1;

-- Schedules: the next tick, and what became of the last.
CREATE TABLE schedules (
    schedule INTEGER PRIMARY KEY,
    times TEXT NOT NULL,
    anchor INTEGER NOT NULL,
    next INTEGER,
    due INTEGER,
    attempts INTEGER NOT NULL,
    failure TEXT,
    last INTEGER,
    last_run INTEGER,
    fired INTEGER NOT NULL,
    missed INTEGER NOT NULL
);

-- Runs that are to send what is unchanged.
ALTER TABLE runs ADD COLUMN force INTEGER NOT NULL DEFAULT 0;
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
-- Map runs: AWS's counters of items and of children, settings that change under way, redrives.
ALTER TABLE executions ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;
ALTER TABLE executions ADD COLUMN redriven INTEGER;
ALTER TABLE executions ADD COLUMN awaits_redrive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_runs ADD COLUMN max_concurrency INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_runs ADD COLUMN tolerated_failure_count INTEGER;
ALTER TABLE map_runs ADD COLUMN tolerated_failure_percentage REAL;
ALTER TABLE map_runs ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_runs ADD COLUMN redriven INTEGER;
ALTER TABLE map_runs ADD COLUMN only_marked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_runs ADD COLUMN definition INTEGER;
UPDATE map_runs SET
    max_concurrency = ifnull(json_extract(CAST(spec AS TEXT), '$.max_concurrency'), 0),
    tolerated_failure_count = json_extract(CAST(spec AS TEXT), '$.tolerated_failure_count'),
    tolerated_failure_percentage = json_extract(CAST(spec AS TEXT), '$.tolerated_failure_percentage')
    WHERE json_valid(CAST(spec AS TEXT));
ALTER TABLE map_counts ADD COLUMN running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN results_written INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN failures_not_redrivable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN pending_redrive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_total INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_succeeded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_timed_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_aborted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_results_written INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_failures_not_redrivable INTEGER NOT NULL DEFAULT 0;
ALTER TABLE map_counts ADD COLUMN x_pending_redrive INTEGER NOT NULL DEFAULT 0;
-- Items without a child are pending, not aborted.
UPDATE map_counts SET x_total = total, (running, succeeded, failed, timed_out, aborted,
        x_running, x_succeeded, x_failed, x_timed_out, x_aborted) =
    (SELECT ifnull(sum(status = 1), 0), ifnull(sum(status = 2), 0), ifnull(sum(status = 3), 0),
        ifnull(sum(status = 4), 0), ifnull(sum(status = 5), 0), ifnull(sum(status = 1), 0),
        ifnull(sum(status = 2), 0), ifnull(sum(status = 3), 0), ifnull(sum(status = 4), 0),
        ifnull(sum(status = 5), 0)
     FROM executions e WHERE e.map_run = map_counts.map_run AND e.map_run IS NOT NULL);

-- Replays of a bus's log. The copies of events stand in `events`, with the replay as their bus.
CREATE TABLE replays (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    bus INTEGER NOT NULL,
    run INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason TEXT,
    position INTEGER NOT NULL,
    replayed INTEGER NOT NULL,
    started INTEGER NOT NULL,
    last_replayed INTEGER,
    ended INTEGER
);
CREATE UNIQUE INDEX replays_name ON replays (name);


-- Open tasks whose result comes by their token: from whoever was given it, or from a worker of the
-- activity in whose waiting list they stand until they are taken.
CREATE TABLE task_tokens (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL,
    execution INTEGER NOT NULL,
    visit INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    activity INTEGER,
    taken INTEGER NOT NULL,
    input BLOB
);
CREATE UNIQUE INDEX task_tokens_token ON task_tokens (token);
CREATE UNIQUE INDEX task_tokens_task ON task_tokens (execution, visit, attempt);
CREATE INDEX task_tokens_waiting ON task_tokens (activity, id) WHERE activity IS NOT NULL AND taken = 0;

-- Executions that another one started and waits for. state: 0 awaited, 1 ended and the parent is to
-- be told, 2 no longer wanted and to be stopped.
CREATE TABLE sync_children (
    child INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    visit INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    json INTEGER NOT NULL,
    state INTEGER NOT NULL
);
CREATE INDEX sync_children_parent ON sync_children (parent, visit, attempt);
CREATE INDEX sync_children_unsettled ON sync_children (child) WHERE state > 0;
