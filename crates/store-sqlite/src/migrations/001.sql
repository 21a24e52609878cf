-- Rows are small and stand in the order of their commits: every table is found by its rowid, which
-- is the record's own id where it has one. Partial indexes keep what start-up and the scheduler
-- scan as small as what there is to do.

CREATE TABLE installation (id TEXT NOT NULL);

-- next_id is a mark above every id that a committed batch can hold.
CREATE TABLE nodes (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    next_id INTEGER NOT NULL
);
INSERT INTO nodes (id, epoch, next_id) VALUES (1, 0, 1);

CREATE TABLE resources (
    id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL,
    retired INTEGER NOT NULL
);
CREATE UNIQUE INDEX resources_version ON resources (id, version);

CREATE TABLE definitions (
    id INTEGER PRIMARY KEY,
    hash TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE UNIQUE INDEX definitions_hash ON definitions (hash);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    last INTEGER NOT NULL,
    open INTEGER NOT NULL,
    origin TEXT NOT NULL,
    label TEXT NOT NULL
);
CREATE INDEX runs_open ON runs (id) WHERE open > 0;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    bus INTEGER NOT NULL,
    cause_kind INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    at INTEGER NOT NULL,
    envelope BLOB NOT NULL
);
CREATE INDEX events_bus ON events (bus, id);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    version INTEGER NOT NULL,
    event INTEGER NOT NULL,
    key TEXT,
    lane INTEGER,
    created INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    first_tried INTEGER,
    due INTEGER,
    failure TEXT
);
CREATE INDEX deliveries_ready ON deliveries (subscription, id) WHERE due IS NULL;
CREATE INDEX deliveries_waiting ON deliveries (subscription, id) WHERE due IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (due, id) WHERE due IS NOT NULL;
CREATE INDEX deliveries_lane ON deliveries (subscription, lane, id) WHERE lane IS NOT NULL;

CREATE TABLE ledger (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    version INTEGER NOT NULL,
    event INTEGER NOT NULL,
    key TEXT,
    outcome INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    created INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    note TEXT
);

-- A dead letter carries its delivery (d_*).
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    run INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    error_code TEXT,
    attributes TEXT NOT NULL,
    d_id INTEGER,
    d_run INTEGER,
    d_subscription INTEGER,
    d_version INTEGER,
    d_event INTEGER,
    d_key TEXT,
    d_lane INTEGER,
    d_created INTEGER,
    d_revision INTEGER,
    d_attempts INTEGER,
    d_first_tried INTEGER,
    d_due INTEGER,
    d_failure TEXT,
    body BLOB NOT NULL
);
CREATE INDEX messages_queue ON messages (queue, id);

-- Business keys are found by a 64-bit digest: an index of them stays small and a table in the
-- order of first use is rewritten in that order by the next sync.
CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    key TEXT NOT NULL,
    hash TEXT,
    version TEXT,
    remote_id TEXT
);
CREATE INDEX keys_digest ON keys (digest);

CREATE TABLE claims (
    id INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires INTEGER NOT NULL
);
CREATE INDEX claims_digest ON claims (digest);
CREATE INDEX claims_expires ON claims (expires);

CREATE TABLE executions (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    workflow INTEGER NOT NULL,
    definition INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    cause_kind INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    hops INTEGER NOT NULL,
    map_run INTEGER,
    item INTEGER,
    status INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    wake INTEGER,
    started INTEGER NOT NULL,
    ended INTEGER,
    recoveries INTEGER NOT NULL,
    semantics INTEGER NOT NULL,
    error TEXT,
    error_cause TEXT,
    output BLOB
);
CREATE INDEX executions_active ON executions (id) WHERE status = 1 AND idle = 0;
CREATE INDEX executions_due ON executions (wake, id) WHERE wake IS NOT NULL;
CREATE INDEX executions_item ON executions (map_run, item) WHERE map_run IS NOT NULL;
CREATE INDEX executions_item_unsuccessful ON executions (map_run, id)
    WHERE status > 2 AND map_run IS NOT NULL;
CREATE UNIQUE INDEX executions_standard_name ON executions (workflow, name)
    WHERE kind = 1 AND map_run IS NULL;
CREATE INDEX executions_express_name ON executions (workflow, name)
    WHERE kind = 2 AND map_run IS NULL;
CREATE INDEX executions_top ON executions (id) WHERE map_run IS NULL;
CREATE INDEX executions_workflow ON executions (workflow, id) WHERE map_run IS NULL;
CREATE INDEX executions_run ON executions (run, id) WHERE map_run IS NULL;
CREATE INDEX executions_running ON executions (workflow, id) WHERE status = 1 AND map_run IS NULL;
CREATE INDEX executions_unsuccessful ON executions (workflow, id)
    WHERE status > 2 AND map_run IS NULL;

CREATE TABLE journal (
    execution INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    entries BLOB NOT NULL
);
CREATE UNIQUE INDEX journal_execution ON journal (execution, first);

CREATE TABLE snapshots (
    execution INTEGER PRIMARY KEY,
    inputs INTEGER NOT NULL,
    value BLOB NOT NULL
);

CREATE TABLE map_runs (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    execution INTEGER NOT NULL,
    visit INTEGER NOT NULL,
    status INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    error TEXT,
    error_cause TEXT,
    spec BLOB NOT NULL
);
CREATE INDEX map_runs_run ON map_runs (run, id);
CREATE INDEX map_runs_running ON map_runs (id) WHERE status = 1;

-- Apart from map_runs, whose spec may be large: the counts change with every child.
CREATE TABLE map_counts (
    map_run INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    timed_out INTEGER NOT NULL,
    aborted INTEGER NOT NULL
);

CREATE TABLE map_pages (
    map_run INTEGER NOT NULL,
    page INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    count INTEGER NOT NULL,
    next_token TEXT,
    items BLOB NOT NULL
);
CREATE UNIQUE INDEX map_pages_page ON map_pages (map_run, page);

CREATE TABLE run_totals (
    run INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    matched INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    PRIMARY KEY (run, subscription)
) WITHOUT ROWID;

CREATE TABLE subscription_totals (
    subscription INTEGER PRIMARY KEY,
    matched INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    unchanged INTEGER NOT NULL,
    stale INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    pending INTEGER NOT NULL
);

CREATE TABLE workflow_totals (
    workflow INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    timed_out INTEGER NOT NULL,
    aborted INTEGER NOT NULL
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
