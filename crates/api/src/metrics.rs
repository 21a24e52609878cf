//! `/healthz` and `/metrics`: the books and the state of everything, in Prometheus' text form.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::AtomicU64;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::json;
use stepbus_connect::{Circuit, Condition};
use stepbus_model::Outcome;
use stepbus_runtime::Extraction;

use crate::Face;
use crate::error::ApiError;

/// 200 while the store takes work, 503 with the reason while it does not.
pub(crate) async fn healthz(State(face): State<Face>) -> Response {
    let stats = face.engine.store().stats();
    let status = if stats.full { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let state = if stats.full { "no space left in the data directory" } else { "ok" };
    (status, Json(json!({ "status": state }))).into_response()
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcomes {
    name: String,
    outcome: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Buckets {
    name: String,
    /// Upper bound in seconds.
    le: String,
}

type Table<L = Labels> = Family<L, Gauge<f64, AtomicU64>>;

/// One scrape: everything is read afresh, so nothing is counted twice or goes stale.
#[derive(Default)]
struct Scrape {
    registry: Registry,
}

impl Scrape {
    fn table<L>(&mut self, name: &str, help: &str) -> Table<L>
    where
        L: EncodeLabelSet + Clone + Debug + Eq + Hash + Send + Sync + 'static,
    {
        let table = Table::default();
        self.registry.register(name, help, table.clone());
        table
    }

    fn one(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }
}

fn set(table: &Table, name: &str, value: f64) {
    table.get_or_create(&Labels { name: name.to_owned() }).set(value);
}

fn set_outcome(table: &Table<Outcomes>, name: &str, outcome: &str, value: f64) {
    let labels = Outcomes { name: name.to_owned(), outcome: outcome.to_owned() };
    table.get_or_create(&labels).set(value);
}

pub(crate) async fn metrics(State(face): State<Face>) -> Result<Response, ApiError> {
    let mut scrape = Scrape::default();
    subscriptions(&face, &mut scrape).await?;
    deliveries(&face, &mut scrape);
    workflows(&face, &mut scrape).await?;
    connections(&face, &mut scrape);
    store(&face, &mut scrape);
    let mut text = String::new();
    encode(&mut text, &scrape.registry)
        .map_err(|error| ApiError::invalid(format!("metrics cannot be written: {error}")))?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}

#[allow(clippy::cast_precision_loss)]
async fn subscriptions(face: &Face, scrape: &mut Scrape) -> Result<(), ApiError> {
    let matched = scrape.table("stepbus_subscription_matched", "Events that matched");
    let outcomes = scrape.table("stepbus_subscription_outcomes", "Deliveries by their fate");
    let pending = scrape.table("stepbus_subscription_pending", "Deliveries without a fate yet");
    for line in face.engine.subscription_totals().await? {
        let (name, mut totals) = (&line.subscription, line.totals);
        set(&matched, name, totals.matched as f64);
        set(&pending, name, totals.pending as f64);
        for outcome in Outcome::ALL {
            set_outcome(&outcomes, name, outcome.name(), *totals.column(outcome) as f64);
        }
    }
    let paused = scrape.table(
        "stepbus_subscription_paused",
        "1 while an operator holds up the subscription or its destination",
    );
    for line in face.engine.subscriptions().await? {
        set(&paused, &line.subscription, f64::from(u8::from(line.paused.is_some())));
    }
    let behind =
        scrape.table("stepbus_subscription_behind", "Pending matches that are still in the log");
    let cursors = face.engine.store().cursors().await?;
    for subscription in face.engine.catalogue().subscriptions.values() {
        let own = cursors.iter().filter(|cursor| cursor.subscription == subscription.id);
        let count: i64 = own.map(|cursor| cursor.behind).sum();
        set(&behind, &subscription.spec.name, count as f64);
    }
    let oldest = scrape.table(
        "stepbus_subscription_oldest_pending_seconds",
        "Age of the oldest delivery without a fate",
    );
    for subscription in face.engine.catalogue().subscriptions.values() {
        let made = face.engine.store().oldest_delivery(subscription.id).await?;
        let age = made.map_or(0.0, |made| face.engine.now().since(made).as_secs_f64());
        set(&oldest, &subscription.spec.name, age);
    }
    Ok(())
}

/// What happened since the process started, a line a subscription.
#[allow(clippy::cast_precision_loss)]
fn deliveries(face: &Face, scrape: &mut Scrape) {
    let attempts = scrape.table("stepbus_delivery_attempts", "Calls that were answered or failed");
    let retries = scrape.table("stepbus_delivery_retries", "Attempts that led to another one");
    let throttled = scrape
        .table("stepbus_delivery_throttled_seconds", "Time for which the destination took nothing");
    let memory = scrape.table("stepbus_delivery_in_memory", "Deliveries in memory");
    let hand = scrape.table("stepbus_delivery_in_flight", "Deliveries that are being made");
    let buckets = scrape.table(
        "stepbus_delivery_latency_seconds_bucket",
        "Deliveries that met their fate within so many seconds of their match",
    );
    let sum = scrape.table("stepbus_delivery_latency_seconds_sum", "Those seconds, added up");
    let count = scrape.table("stepbus_delivery_latency_seconds_count", "Deliveries that ended");
    for line in face.engine.delivery_measures() {
        set(&attempts, &line.name, line.attempts as f64);
        set(&retries, &line.name, line.retries as f64);
        set(&throttled, &line.name, line.throttled.as_secs_f64());
        set(&memory, &line.name, line.in_memory as f64);
        set(&hand, &line.name, line.in_hand as f64);
        set(&sum, &line.name, line.latency.sum.as_secs_f64());
        set(&count, &line.name, line.latency.count as f64);
        for (bound, within) in line.latency.buckets {
            let le = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
            let labels = Buckets { name: line.name.clone(), le };
            buckets.get_or_create(&labels).set(within as f64);
        }
    }
}

#[allow(clippy::cast_precision_loss)]
async fn workflows(face: &Face, scrape: &mut Scrape) -> Result<(), ApiError> {
    let started = scrape.table("stepbus_workflow_started", "Executions started");
    let ended = scrape.table("stepbus_workflow_ended", "Executions by how they ended");
    let running = scrape.table("stepbus_workflow_running", "Executions running");
    for workflow in face.engine.workflows().await? {
        let (name, totals) = (&workflow.name, workflow.totals);
        set(&started, name, totals.started as f64);
        set(&running, name, workflow.running as f64);
        for (status, count) in [
            ("SUCCEEDED", totals.succeeded),
            ("FAILED", totals.failed),
            ("TIMED_OUT", totals.timed_out),
            ("ABORTED", totals.aborted),
        ] {
            set_outcome(&ended, name, status, count as f64);
        }
    }
    Ok(())
}

fn connections(face: &Face, scrape: &mut Scrape) {
    let health = face.engine.connect().health();
    conditions(scrape, "connection", &health.connections);
    conditions(scrape, "destination", &health.destinations);
    let paused = scrape.table("stepbus_destination_paused", "1 while an operator holds it up");
    for line in face.engine.destinations() {
        set(&paused, &line.destination, f64::from(u8::from(line.paused.is_some())));
    }
}

#[allow(clippy::cast_precision_loss)]
fn conditions(scrape: &mut Scrape, kind: &str, conditions: &[Condition]) {
    type Read = fn(&Condition) -> f64;
    let columns: [(&str, &str, Read); 7] = [
        ("calls", "Calls made", |c| c.calls as f64),
        ("failures", "Calls that did not succeed", |c| c.failures as f64),
        ("throttles", "Calls answered with throttling", |c| c.throttles as f64),
        ("in_flight", "Calls in flight", |c| c.in_flight as f64),
        ("busy_seconds", "Time spent in calls", |c| c.busy.as_secs_f64()),
        ("throttled_seconds", "Time held back by throttling", |c| c.paused.as_secs_f64()),
        ("circuit_open", "1 while calls are held back after failures", |c| {
            f64::from(u8::from(c.circuit != Circuit::Closed))
        }),
    ];
    for (column, help, read) in columns {
        let table = scrape.table(&format!("stepbus_{kind}_{column}"), help);
        for condition in conditions {
            set(&table, &condition.name, read(condition));
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn store(face: &Face, scrape: &mut Scrape) {
    let stats = face.engine.store().stats();
    let batch = if stats.commits == 0 { 0.0 } else { stats.batches as f64 / stats.commits as f64 };
    for (name, help, value) in [
        ("commits", "Group commits", stats.commits as f64),
        ("batches", "Batches committed", stats.batches as f64),
        ("changes", "Changes committed", stats.changes as f64),
        ("batches_per_commit", "Mean batches of a group commit", batch),
        ("commit_seconds", "Time spent in commits", stats.commit_micros as f64 / 1e6),
        ("sync_seconds", "Time spent in fsync", stats.sync_micros as f64 / 1e6),
        ("failed_commits", "Commits that failed", stats.failed_commits as f64),
        ("queued_batches", "Batches waiting for the writer", stats.queued_batches as f64),
        ("database_bytes", "Size of the database", stats.database_bytes as f64),
        ("log_bytes", "Size of the write-ahead log", stats.log_bytes as f64),
        ("free_bytes", "Free space of the data directory", stats.free_bytes as f64),
    ] {
        scrape.one(&format!("stepbus_store_{name}"), help, value);
    }
    let pressure = face.engine.pressure();
    let nearest = pressure.standing.nearest.map_or(0.0, |nearest| nearest.percent as f64);
    for (name, help, value) in [
        ("live_deliveries", "Deliveries of all subscriptions", pressure.live_deliveries as f64),
        ("nearest_bound_percent", "How near the nearest bound of the whole is", nearest),
        (
            "extraction_held_back",
            "0 free, 1 slowed, 2 stopped",
            match pressure.standing.extraction {
                Extraction::Free => 0.0,
                Extraction::Slowed => 1.0,
                Extraction::Stopped => 2.0,
            },
        ),
    ] {
        scrape.one(&format!("stepbus_{name}"), help, value);
    }
    let executions = face.engine.executions_in_memory();
    scrape.one("stepbus_executions_in_memory", "Executions in memory", executions as f64);
}
