//! A whole engine over a store in a temporary directory, and a target on loopback that answers as
//! it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stepbus_connect::Connect;
use stepbus_model::{Clock, Event, Limits, RunId, SystemClock, Timestamp};
use stepbus_store::{Batch, Priority, Store};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{BusSpec, Declared, Engine, Entry, SubscriptionSpec, TargetSpec};

/// Longer than anything takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks: whoever watches leaves the machine to what is watched.
pub(crate) const LOOK: Duration = Duration::from_millis(2);

/// The machine's clock, moved ahead by what the test says.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    clock: SystemClock,
    /// Added to the machine's time, or the time itself while the clock stands.
    ahead: AtomicI64,
    stands: AtomicBool,
}

impl Ahead {
    pub(crate) fn advance(&self, span: Duration) {
        self.ahead.fetch_add(i64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// From now on only the test moves it, so however slow the machine is, nothing comes due by
    /// itself. For worlds in which nothing waits for a retry. To be said before the world opens.
    pub(crate) fn stand_still(&self) {
        self.ahead.store(self.now().0, Ordering::Relaxed);
        self.stands.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_back(&self, span: Duration) {
        self.ahead.fetch_sub(i64::try_from(span.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let stands = self.stands.load(Ordering::Relaxed);
        Timestamp(if stands { ahead } else { self.clock.now().0 + ahead })
    }
}

/// A call that the target received.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn sku(&self) -> &str {
        self.body["sku"].as_str().unwrap_or_default()
    }

    pub(crate) fn n(&self) -> u64 {
        self.body["n"].as_u64().unwrap_or_default()
    }
}

type Behaviour = Box<dyn FnMut(&Call) -> (u16, Value) + Send>;

/// A system on loopback.
pub(crate) struct Target {
    pub(crate) url: String,
    state: Arc<TargetState>,
}

struct TargetState {
    behaviour: Mutex<Behaviour>,
    arrived: Mutex<Vec<Call>>,
    answered: Mutex<Vec<(Call, u16)>>,
    in_flight: Mutex<HashMap<String, u32>>,
    /// Calls of one product at the same time, at most.
    crowd: Mutex<u32>,
    /// Whether calls are answered.
    gate: watch::Sender<bool>,
    connections: AtomicUsize,
    /// A header of every answer.
    header: Mutex<Option<(&'static str, &'static str)>>,
}

impl Target {
    pub(crate) async fn start() -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(TargetState {
            behaviour: Mutex::new(Box::new(|_| (200, json!({})))),
            arrived: Mutex::default(),
            answered: Mutex::default(),
            in_flight: Mutex::default(),
            crowd: Mutex::default(),
            gate: watch::Sender::new(true),
            connections: AtomicUsize::new(0),
            header: Mutex::default(),
        });
        let shared = state.clone();
        tokio::spawn(async move {
            loop {
                // A client that gave up while it waited here is no reason to accept no others.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let state = shared.clone();
                state.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let of_calls = state.clone();
                    let service = service_fn(move |request| answer(of_calls.clone(), request));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                    state.connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Target { url, state }
    }

    pub(crate) fn behave(&self, behaviour: impl FnMut(&Call) -> (u16, Value) + Send + 'static) {
        *self.state.behaviour.lock() = Box::new(behaviour);
    }

    /// Every answer from now on has this header.
    pub(crate) fn answer_with(&self, name: &'static str, value: &'static str) {
        *self.state.header.lock() = Some((name, value));
    }

    /// No call is answered until [`Target::open_gate`].
    pub(crate) fn close_gate(&self) {
        self.state.gate.send_replace(false);
    }

    pub(crate) fn open_gate(&self) {
        self.state.gate.send_replace(true);
    }

    /// Until nobody is connected any more: what an engine that stopped had sent is answered or
    /// given up by then, and cannot come after the calls of the next one.
    pub(crate) async fn abandoned(&self) {
        let connections = &self.state.connections;
        until("nobody is connected", async || connections.load(Ordering::Relaxed) == 0).await;
    }

    /// All that came, answered or not.
    pub(crate) fn arrived(&self) -> Vec<Call> {
        self.state.arrived.lock().clone()
    }

    pub(crate) fn calls(&self) -> Vec<(Call, u16)> {
        self.state.answered.lock().clone()
    }

    /// Those that were answered with success, in order.
    pub(crate) fn taken(&self) -> Vec<Call> {
        let ok = |(call, status): (Call, u16)| (status < 300).then_some(call);
        self.calls().into_iter().filter_map(ok).collect()
    }

    pub(crate) fn most_at_once_of_one_product(&self) -> u32 {
        *self.state.crowd.lock()
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.state.in_flight.lock().values().sum()
    }
}

async fn answer(
    state: Arc<TargetState>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let key = parts.headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        idempotency_key: key.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let in_flight = InFlight::enter(&state, &call);
    state.gate.subscribe().wait_for(|open| *open).await.unwrap();
    let (status, body) = (state.behaviour.lock())(&call);
    state.answered.lock().push((call.clone(), status));
    drop(in_flight);
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = *state.header.lock() {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(body.to_string().into())).unwrap())
}

/// Counts a call until it is answered, or whoever made it has gone.
struct InFlight<'a>(&'a TargetState, &'a Call);

impl<'a> InFlight<'a> {
    fn enter(state: &'a TargetState, call: &'a Call) -> Self {
        let mut in_flight = state.in_flight.lock();
        let count = in_flight.entry(call.sku().to_owned()).or_default();
        *count += 1;
        let mut crowd = state.crowd.lock();
        *crowd = (*crowd).max(*count);
        state.arrived.lock().push(call.clone());
        InFlight(state, call)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        *self.0.in_flight.lock().get_mut(self.1.sku()).unwrap() -= 1;
    }
}

/// A data directory with what is declared; engines come and go.
pub(crate) struct World {
    pub(crate) clock: Arc<Ahead>,
    pub(crate) limits: Limits,
    pub(crate) declared: Declared,
    pub(crate) store: Arc<dyn Store>,
    _directory: TempDir,
}

impl World {
    /// With a bus `catalog` and nothing else.
    pub(crate) fn empty() -> World {
        let limits = Limits {
            delivery_backoff_first_ms: 2,
            delivery_backoff_cap_ms: 20,
            breaker_first_ms: 5,
            breaker_cap_ms: 20,
            throttle_floor_ms: 5,
            throttle_first_ms: 5,
            throttle_growth_cap_ms: 20,
            destination_concurrency: 8,
            // Well within the patience of a test, and longer than any keeps a gate closed.
            http_timeout_seconds: 30,
            // Nobody gives up, nor do those of a batch part, because the machine is slow.
            delivery_attempts: u32::MAX,
            task_recoveries: u32::MAX,
            batch_reunion_ms: 30_000,
            // The first pass at the start is the only one of its own.
            sweep_seconds: 3_600,
            ..Limits::DEFAULT
        };
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path(), SqliteOptions::default()).unwrap();
        let mut declared = Declared::default();
        declared.buses.push(BusSpec {
            name: "catalog".into(),
            retention_seconds: 3_600,
            deduplicate_content: false,
        });
        World {
            clock: Arc::default(),
            limits,
            declared,
            store: Arc::new(store),
            _directory: directory,
        }
    }

    /// Has each event of that type start that workflow with its detail.
    pub(crate) fn starts(&mut self, detail_type: &str, workflow: &str) {
        let name = format!("{detail_type}-{workflow}");
        let pattern = json!({ "detail-type": [detail_type] }).to_string();
        let target = TargetSpec::Workflow(workflow.into());
        self.declared.subscriptions.push(SubscriptionSpec {
            transform: Some(json!("{% $event.detail %}")),
            ..SubscriptionSpec::new(&name, "catalog", &pattern, target)
        });
    }

    pub(crate) async fn open(&self) -> Running {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let connect = Arc::new(Connect::new(clock.clone(), self.limits));
        let store = self.store.clone();
        let engine = Engine::open(store, connect, clock, self.limits, &self.declared).await;
        Running { engine: engine.unwrap() }
    }
}

/// An engine at work.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
}

impl Running {
    /// Publishes an event of type `product` for each; each is a run of its own.
    pub(crate) async fn publish_details(
        &self,
        details: impl IntoIterator<Item = Value>,
    ) -> Vec<RunId> {
        let entries = details.into_iter().map(|detail| entry(&detail, false));
        let published = self.engine.publish("test", entries.collect()).await.unwrap();
        published.into_iter().map(|published| published.unwrap().run).collect()
    }

    /// As [`Running::publish_details`], and what is unchanged is sent as well.
    pub(crate) async fn publish_forced(&self, detail: Value) {
        self.engine.publish("test", vec![entry(&detail, true)]).await.unwrap();
    }

    /// Until nothing is pending any more. As long as something is committed it may take its time.
    pub(crate) async fn quiet(&self) {
        let store = &self.engine.store;
        let mut since = (tokio::time::Instant::now(), 0);
        while !store.runs(true, None, 1).await.unwrap().is_empty() {
            let committed = store.stats().batches;
            if committed != since.1 {
                since = (tokio::time::Instant::now(), committed);
            }
            let measures = || self.engine.delivery_measures();
            assert!(since.0.elapsed() < PATIENCE, "in vain: nothing is pending: {:#?}", measures());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Stops the engine and waits until nothing of it is left.
    pub(crate) async fn stop(self) {
        let engine = self.engine;
        engine.stop();
        until("the engine is gone", async || Arc::strong_count(&engine) == 1).await;
        // What it had handed over for commit is on disk before the next one reads.
        engine.store.commit(Batch::new()).await.unwrap();
    }
}

fn entry(detail: &Value, force: bool) -> Entry {
    let event = Event {
        source: "test".into(),
        detail_type: "product".into(),
        detail: RawValue::from_string(detail.to_string()).unwrap(),
        resources: Vec::new(),
        time: None,
    };
    Entry { bus: "catalog".to_owned(), event, priority: Priority::Normal, dedup_id: None, force }
}

/// Looks again and again; what never comes true fails.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
