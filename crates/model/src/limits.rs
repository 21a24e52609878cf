//! Every bound of the system, by name. Sizes are in bytes unless the name says otherwise.

use serde::{Deserialize, Serialize};

/// Two profiles: [`Limits::DEFAULT`], generous, and [`Limits::AWS`], the services' own quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// One event with its envelope. AWS: 256 KiB a PutEvents entry.
    pub event_bytes: usize,
    /// Entries of one PutEvents call. AWS: 10.
    pub put_events_entries: usize,
    /// Input, output, result or variable scope of a state. AWS: 256 KiB.
    pub payload_bytes: usize,
    /// Values of one Assign together. AWS: 256 KiB.
    pub variable_bytes: usize,
    /// All variables of an execution together. AWS: 10 MiB.
    pub variables_bytes: usize,
    /// Whether States.ALL leaves States.DataLimitExceeded alone where a state's own data is too
    /// large, as AWS has it.
    pub data_limit_ends: bool,
    /// A workflow definition's text. AWS: 1 MiB.
    pub definition_bytes: usize,
    /// History events of one Standard execution. AWS: 25,000.
    pub history_events: u64,
    /// Steps the interpreter takes for one input before the execution fails with States.Runtime.
    pub steps_per_input: u64,
    /// Seconds after which an EXPRESS execution is timed out; none when only its TimeoutSeconds
    /// counts. AWS: 300.
    pub express_seconds: Option<u64>,
    /// Executions in memory; more wait in the store.
    pub executions_in_memory: usize,
    /// Seconds an execution must still wait to be put out of memory.
    pub park_after_seconds: u64,
    /// Inputs after which a snapshot is written.
    pub snapshot_every_inputs: u64,
    /// Bytes of a snapshot that must be worth an input: a larger one is written less often.
    pub snapshot_bytes_per_input: u64,
    /// Causes between an event and its root; a longer chain is a loop and is refused.
    pub hops: u16,
    /// Deliveries that one event makes at once; further subscriptions that it matches read it from
    /// the log.
    pub fan_out: usize,
    /// Live deliveries of one subscription; further matches stay in the log, where the subscription
    /// reads them by cursor.
    pub subscription_pending: usize,
    /// Events of one page that is read from the log.
    pub log_page_events: usize,
    /// Seconds between two passes that delete what is kept no longer.
    pub sweep_seconds: u64,
    /// Seconds for which an event that is published again counts as the same. SQS FIFO: 300.
    pub dedup_seconds: u64,
    /// A deduplication id. SQS: 128.
    pub dedup_id_bytes: usize,
    /// Bytes of events after which such a page ends.
    pub log_page_bytes: usize,
    /// Deliveries of one subscription held in memory; the rest wait in the store.
    pub delivery_window: usize,
    /// Bytes of events held in memory for one subscription's deliveries; more are read again.
    pub delivery_window_bytes: usize,
    /// Keys of one FIFO subscription remembered as waiting for a retry; the others are looked up.
    pub waiting_lanes: usize,
    /// Rows looked at in one read of what is ready to be delivered.
    pub ready_scan: usize,
    /// First backoff between two attempts of a delivery; doubles with each attempt.
    pub delivery_backoff_first_ms: u64,
    /// Longest backoff between two attempts of a delivery.
    pub delivery_backoff_cap_ms: u64,
    /// Payloads of one call of a subscription that batches.
    pub batch_items: usize,
    /// Body of such a call, when nothing smaller is set.
    pub batch_bytes: usize,
    /// Milliseconds that those of a call that failed wait for each other, to be sent together again.
    pub batch_reunion_ms: u64,
    /// Dead letters redriven, purged or made in one commit.
    pub dead_letter_batch: usize,
    /// Body and attributes of a message in a queue. SQS: 1 MiB.
    pub message_bytes: usize,
    /// Children of one map run in flight when MaxConcurrency is 0 or larger. AWS: 10,000.
    pub map_concurrency: usize,
    /// Items of one page of a map run.
    pub map_page_items: usize,
    /// Children of a map run whose ends share a commit.
    pub map_children_per_commit: usize,
    /// Days after its end for which an execution can be redriven. AWS: 14.
    pub redrive_days: u64,
    /// Redrives of one execution. AWS: 1,000.
    pub redrives: u32,
    /// Kinds of failure told apart in one map run; what is beyond counts as one.
    pub failure_groups: usize,
    /// Pages of a map run that are read ahead of its children.
    pub map_pages_ahead: usize,
    /// Bytes of one page of a map run, and of its outputs and errors that are read at once.
    pub map_page_bytes: usize,
    /// Items of one map run that come from an ItemReader. AWS: 100,000,000.
    pub map_items: u64,
    /// Tries of one page of items from an HTTP endpoint.
    pub item_page_attempts: u32,
    /// The header of a CSV file. AWS: 10 KiB.
    pub csv_header_bytes: usize,
    /// A manifest that lists the objects to read.
    pub manifest_bytes: usize,
    /// Bytes of an object read at once.
    pub object_chunk_bytes: usize,
    /// Bytes of a Parquet file's pieces that are kept while it is read.
    pub parquet_cache_bytes: u64,
    /// The footer of a Parquet file.
    pub parquet_footer_bytes: u64,
    /// A row group of a Parquet file when it is expanded.
    pub parquet_row_group_bytes: u64,
    /// Names of a folder's files kept while they are sorted; with more it is looked through again.
    pub listing_window: usize,
    /// Bytes of one part of an object that is written. S3 takes none below 5 MiB but the last.
    pub object_part_bytes: usize,
    /// Bytes of one file of results; then the next one begins. S3: 5 GiB.
    pub result_file_bytes: u64,
    /// Calls in flight on one connection that sets no `concurrency`.
    pub connection_concurrency: usize,
    /// Calls in flight on one destination that sets no `concurrency`.
    pub destination_concurrency: usize,
    /// Body of a request to a public endpoint.
    pub request_bytes: usize,
    /// Body of a response that a task or a delivery reads.
    pub response_bytes: usize,
    /// Attempts of one delivery. EventBridge: 185.
    pub delivery_attempts: u32,
    /// Least age in seconds that a subscription may set for giving up. EventBridge: 60.
    pub delivery_age_least_seconds: u64,
    /// Age in seconds after which a delivery that failed is dead-lettered. EventBridge: 86,400.
    pub delivery_age_seconds: u64,
    /// Times a task in flight at a crash is sent again before it fails as States.Runtime.
    pub task_recoveries: u32,
    /// Seconds an HTTP call may take when nothing shorter is set. AWS: 60 (HTTP Task).
    pub http_timeout_seconds: u64,
    /// Milliseconds to reach a host before a call counts as a connection failure.
    pub http_connect_timeout_ms: u64,
    /// Connections kept open to one host while nothing uses them; with fewer than calls at once,
    /// some are opened anew all the time.
    pub http_idle_connections: usize,
    /// Redirects followed for one GET.
    pub http_redirects: usize,
    /// Body bytes that a failure keeps of the last request, and of the last response.
    pub exchange_bytes: usize,
    /// Characters of a target's own error text in a failure's message.
    pub error_chars: usize,
    /// Seconds before its expiry at which a token is renewed.
    pub token_margin_seconds: u64,
    /// Shortest pause of a destination that throttles, as for `Retry-After: 0`.
    pub throttle_floor_ms: u64,
    /// First pause when a throttling answer names no time; doubles with each one in a row.
    pub throttle_first_ms: u64,
    /// Longest pause when throttling answers name no time.
    pub throttle_growth_cap_ms: u64,
    /// Longest pause that a Retry-After can ask for.
    pub throttle_cap_seconds: u64,
    /// Calls let through first when a pause ends; each that is answered lets one more through.
    pub resume_calls: usize,
    /// Connection failures and 5xx in a row that open a destination's circuit.
    pub breaker_failures: u32,
    /// First time for which a circuit stays open; doubles with each failed probe.
    pub breaker_first_ms: u64,
    /// Longest time for which a circuit stays open before the next probe.
    pub breaker_cap_ms: u64,
    /// Executions and deliveries of one run in hand at once up to which the run is worked on by the
    /// threads that also answer callers; one with more goes to threads of its own.
    pub front_work: usize,
    /// Timers held in memory; later ones wait in the store.
    pub timers_in_memory: usize,
    /// Open runs whose priority is not `normal` that memory remembers; the oldest go first.
    pub prioritized_runs: usize,
    /// Batches of one group commit.
    pub group_commit_batches: usize,
    /// Batches waiting for the writer.
    pub writer_queue: usize,
    /// Reads waiting for a connection of the store.
    pub reader_queue: usize,
    /// Free bytes of the data directory's disk below which nothing new is accepted; what was
    /// accepted may use them up.
    pub disk_reserve_bytes: u64,
    /// Live deliveries of all subscriptions together near which extraction slows down and stops.
    pub live_deliveries: usize,
    /// Free bytes of the data directory's disk near which extraction slows down and stops; what is
    /// below is for what was begun.
    pub extraction_reserve_bytes: u64,
    /// Percent of a bound of the whole from which extraction slows down.
    pub pressure_slow_percent: u64,
    /// Percent of a bound of the whole from which extraction stops.
    pub pressure_stop_percent: u64,
    /// Percent below these at which it goes on.
    pub pressure_release_percent: u64,
    /// Milliseconds between two looks at the bounds of the whole.
    pub pressure_check_ms: u64,
    /// Rows of one page of a listing.
    pub page_rows: usize,
    /// Seconds an endpoint remembers an Idempotency-Key.
    pub idempotency_seconds: u64,
    /// Containers inside one another in an event or an event pattern.
    pub json_depth: usize,
    /// Beginnings of a field's wildcards that one value may match at once. AWS: 10.
    pub pattern_complexity: usize,
    /// Combinations of fields that the `$or`s of one event pattern stand for. AWS: 1,000.
    pub pattern_combinations: usize,
}

impl Limits {
    pub const DEFAULT: Limits = Limits {
        event_bytes: 1024 * 1024,
        put_events_entries: 1_000,
        payload_bytes: 16 * 1024 * 1024,
        variable_bytes: 16 * 1024 * 1024,
        variables_bytes: 64 * 1024 * 1024,
        data_limit_ends: false,
        definition_bytes: 4 * 1024 * 1024,
        history_events: 1_000_000,
        steps_per_input: 1_000_000,
        express_seconds: None,
        executions_in_memory: 10_000,
        park_after_seconds: 5,
        snapshot_every_inputs: 200,
        snapshot_bytes_per_input: 4096,
        hops: 32,
        fan_out: 1_000,
        subscription_pending: 10_000,
        log_page_events: 500,
        sweep_seconds: 60,
        dedup_seconds: 300,
        dedup_id_bytes: 256,
        log_page_bytes: 4 * 1024 * 1024,
        delivery_window: 1_000,
        delivery_window_bytes: 8 * 1024 * 1024,
        waiting_lanes: 10_000,
        ready_scan: 4_000,
        delivery_backoff_first_ms: 500,
        delivery_backoff_cap_ms: 300_000,
        batch_items: 1_000,
        batch_bytes: 1024 * 1024,
        batch_reunion_ms: 1_000,
        dead_letter_batch: 100,
        message_bytes: 1024 * 1024,
        map_concurrency: 1_000,
        map_page_items: 1_000,
        map_page_bytes: 1024 * 1024,
        map_items: 100_000_000,
        item_page_attempts: 8,
        csv_header_bytes: 1024 * 1024,
        manifest_bytes: 64 * 1024 * 1024,
        object_chunk_bytes: 4 * 1024 * 1024,
        parquet_cache_bytes: 64 * 1024 * 1024,
        parquet_footer_bytes: 16 * 1024 * 1024,
        parquet_row_group_bytes: 1024 * 1024 * 1024,
        listing_window: 10_000,
        object_part_bytes: 8 * 1024 * 1024,
        result_file_bytes: 5 * 1024 * 1024 * 1024,
        map_pages_ahead: 2,
        failure_groups: 1_000,
        redrive_days: 14,
        redrives: 1_000,
        map_children_per_commit: 512,
        connection_concurrency: 64,
        destination_concurrency: 32,
        request_bytes: 1024 * 1024,
        response_bytes: 8 * 1024 * 1024,
        delivery_attempts: 185,
        delivery_age_least_seconds: 1,
        delivery_age_seconds: 86_400,
        task_recoveries: 5,
        http_timeout_seconds: 60,
        http_connect_timeout_ms: 5_000,
        http_idle_connections: 1_000,
        http_redirects: 5,
        exchange_bytes: 8 * 1024,
        error_chars: 400,
        token_margin_seconds: 60,
        throttle_floor_ms: 100,
        throttle_first_ms: 250,
        throttle_growth_cap_ms: 60_000,
        throttle_cap_seconds: 3_600,
        resume_calls: 2,
        breaker_failures: 10,
        breaker_first_ms: 500,
        breaker_cap_ms: 15_000,
        front_work: 16,
        timers_in_memory: 10_000,
        prioritized_runs: 10_000,
        group_commit_batches: 1_000,
        writer_queue: 4_096,
        reader_queue: 4_096,
        disk_reserve_bytes: 128 * 1024 * 1024,
        live_deliveries: 200_000,
        extraction_reserve_bytes: 256 * 1024 * 1024,
        pressure_slow_percent: 80,
        pressure_stop_percent: 95,
        pressure_release_percent: 5,
        pressure_check_ms: 250,
        page_rows: 1_000,
        idempotency_seconds: 86_400,
        json_depth: 512,
        pattern_complexity: 10,
        pattern_combinations: 1_000,
    };

    pub const AWS: Limits = Limits {
        event_bytes: 256 * 1024,
        put_events_entries: 10,
        payload_bytes: 256 * 1024,
        variable_bytes: 256 * 1024,
        variables_bytes: 10 * 1024 * 1024,
        data_limit_ends: true,
        definition_bytes: 1024 * 1024,
        history_events: 25_000,
        express_seconds: Some(300),
        delivery_age_least_seconds: 60,
        map_concurrency: 10_000,
        http_idle_connections: 10_000,
        csv_header_bytes: 10 * 1024,
        ..Limits::DEFAULT
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
