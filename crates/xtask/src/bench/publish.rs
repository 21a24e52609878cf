//! Publish, match and enqueue through the durable path: events in batches of ten, a hundred rules
//! of which each event matches one, fsync on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use serde_json::value::RawValue;
use stepbus_connect::{CallSpec, Connect, DestinationSpec};
use stepbus_model::{Clock, Event, Limits, SystemClock};
use stepbus_runtime::{BusSpec, Declared, Engine, Entry, SubscriptionSpec, TargetSpec};
use stepbus_store::{Priority, Store};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

const BATCH: u64 = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Seconds measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Batches in flight.
    #[arg(long, default_value_t = 256)]
    publishers: u64,
    /// Rules, each on another value.
    #[arg(long, default_value_t = 100)]
    rules: u64,
    /// Where the database is made; on the disk that is to be measured.
    #[arg(long, default_value = "target/bench-publish")]
    dir: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("built for debugging: what this prints says nothing of a release");
    }
    if arguments.dir.exists() {
        std::fs::remove_dir_all(&arguments.dir)?;
    }
    std::fs::create_dir_all(&arguments.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(arguments))?;
    drop(runtime);
    std::fs::remove_dir_all(&arguments.dir)?;
    Ok(())
}

async fn measure(arguments: &Arguments) -> Result<()> {
    // What is enqueued stays: a destination that is paused is sent nothing.
    let limits = Limits {
        subscription_pending: usize::MAX >> 1,
        destination_concurrency: 1,
        ..Limits::DEFAULT
    };
    let store = Arc::new(SqliteStore::open(&arguments.dir, SqliteOptions::default())?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let connect = Arc::new(Connect::new(clock.clone(), limits));
    let declared = declared(arguments.rules);
    let engine = Engine::open(store.clone(), connect, clock, limits, &declared).await?;
    for subscription in engine.catalogue().subscriptions.keys() {
        engine.pause(*subscription, "bench", "only the enqueueing is measured").await?;
    }
    let published = Arc::new(AtomicU64::new(0));
    let before = store.stats();
    let began = Instant::now();
    let until = began + Duration::from_secs(arguments.seconds);
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..arguments.publishers {
        let (engine, published, rules) = (engine.clone(), published.clone(), arguments.rules);
        publishers.spawn(async move {
            let mut number = publisher * 7;
            while Instant::now() < until {
                let entries = (number..number + BATCH).map(|n| entry(n, rules)).collect();
                number += BATCH;
                for result in engine.publish("bench", entries).await? {
                    result?;
                }
                published.fetch_add(BATCH, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = publishers.join_next().await {
        done??;
    }
    let elapsed = began.elapsed();
    let after = store.stats();
    let published = published.load(Ordering::Relaxed);
    let totals = store.subscription_totals().await?;
    let pending: i64 = totals.iter().map(|(_, totals)| totals.pending).sum();
    ensure!(u64::try_from(pending)? == published, "{published} published, {pending} pending");
    let commits = (after.commits - before.commits).max(1);
    let per = |micros: u64| micros as f64 / 1e3 / commits as f64;
    println!("events/s        {:>10.0}", published as f64 / elapsed.as_secs_f64());
    println!("events a commit {:>10.0}", published as f64 / commits as f64);
    println!(
        "commit          {:>10.2} ms, of which sync {:.2} ms",
        per(after.commit_micros - before.commit_micros),
        per(after.sync_micros - before.sync_micros)
    );
    println!("database        {:>10} MiB", after.database_bytes >> 20);
    engine.stop();
    Ok(())
}

fn entry(number: u64, rules: u64) -> Entry {
    let detail = json!({
        "sku": format!("P-{number}"), "rule": number % rules, "name": "A product of some kind",
        "price": { "amount": 19.9, "currency": "EUR" }, "tags": ["new", "sale", "summer"],
    });
    let event = Event {
        source: "bench".into(),
        detail_type: "product".into(),
        detail: RawValue::from_string(detail.to_string()).unwrap_or_default(),
        resources: Vec::new(),
        time: None,
    };
    Entry {
        bus: "bench".into(),
        event,
        priority: Priority::default(),
        dedup_id: None,
        force: false,
    }
}

fn declared(rules: u64) -> Declared {
    let mut declared = Declared::default();
    declared.buses.push(BusSpec {
        name: "bench".into(),
        retention_seconds: 86_400,
        deduplicate_content: false,
    });
    let call = CallSpec::new("PUT", "http://127.0.0.1:9/{sku}");
    declared.destinations.push(DestinationSpec::call("sink", None, call));
    for rule in 0..rules {
        let pattern =
            json!({ "detail-type": ["product"], "detail": { "rule": [rule] } }).to_string();
        let target = TargetSpec::Destination("sink".into());
        let name = format!("rule-{rule}");
        declared.subscriptions.push(SubscriptionSpec::new(&name, "bench", &pattern, target));
    }
    declared
}
