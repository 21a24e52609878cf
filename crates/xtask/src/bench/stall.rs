//! `cargo xtask bench stall`: what a destination that never answers, or one at a tenth of the
//! others' speed, costs the others, in one run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use serde_json::value::RawValue;
use stepbus_connect::{CallSpec, Connect, DestinationSpec};
use stepbus_model::{Event, Limits, SystemClock};
use stepbus_runtime::{BusSpec, Declared, Engine, Entry, SubscriptionSpec, TargetSpec};
use stepbus_sandbox::Options;
use stepbus_store::Priority;
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Destinations that answer.
    #[arg(long, default_value_t = 10)]
    destinations: usize,

    /// Events, each of which goes to every destination.
    #[arg(long, default_value_t = 2_000)]
    events: usize,

    /// How often both are run; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Deliveries that may be pending for a subscription; it then goes on by its cursor.
    #[arg(long, default_value_t = Limits::DEFAULT.subscription_pending)]
    pending: usize,
}

/// What stands beside the destinations that answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Stalled,
    /// It takes so many calls a second.
    Slow(usize),
}

const BUS: &str = "bench";
const PATTERN: &str = r#"{ "source": ["bench"] }"#;
const PUBLISHERS: usize = 8;
const PAGE: usize = 10;
const DEADLINE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(10);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let sink = sandbox()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let round = |beside| runtime.block_on(round(arguments, &sink, beside));
    // The first one opens connections and tells the speed.
    let alone = round(Beside::Nothing)?;
    #[expect(clippy::cast_precision_loss, reason = "a tenth, roughly")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let tenth = (arguments.events as f64 / alone.seconds / 10.0).ceil() as usize;
    compare(arguments, "one that never answers", Beside::Stalled, round)?;
    let name = format!("one that takes {tenth} a second, a tenth of what each other takes");
    compare(arguments, &name, Beside::Slow(tenth), round)
}

fn compare(
    arguments: &Arguments,
    name: &str,
    beside: Beside,
    round: impl Fn(Beside) -> Result<Side>,
) -> Result<()> {
    println!("beside {name}:");
    let mut ratios = Vec::new();
    let mut most_live = 0;
    for number in 0..arguments.rounds {
        // Whoever comes second finds the machine warmer, or wearier: they take turns.
        let (without, with) = if number % 2 == 0 {
            let without = round(Beside::Nothing)?;
            (without, round(beside)?)
        } else {
            let with = round(beside)?;
            (round(Beside::Nothing)?, with)
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let deliveries = (arguments.events * arguments.destinations) as f64;
        let ratio = without.seconds / with.seconds;
        println!(
            "  round {}: {:.0} deliveries/s without it, {:.0} with it: {ratio:.2}",
            number + 1,
            deliveries / without.seconds,
            deliveries / with.seconds,
        );
        most_live = most_live.max(with.most_live);
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    println!("  median {median:.2} of the throughput without it (target 0.90)");
    println!("  {most_live} rows of its deliveries at most (bound {})", arguments.pending);
    Ok(())
}

/// The address of a sandbox's sink, which has a thread of its own.
fn sandbox() -> Result<String> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let options = Options { products: Some(1), ..Options::default() };
            tell.send(stepbus_sandbox::start(&options).await?.sink)?;
            std::future::pending::<Result<()>>().await
        })
    });
    told.recv().context("the sandbox did not start")
}

struct Side {
    /// Until every destination that answers has every event.
    seconds: f64,
    /// Deliveries to the one beside them that had a row.
    most_live: i64,
}

async fn round(arguments: &Arguments, sink: &str, beside: Beside) -> Result<Side> {
    let folder = tempfile::tempdir()?;
    let engine = open(folder.path(), arguments, sink, beside).await?;
    let catalogue = engine.catalogue();
    let id = |name: &str| catalogue.subscription_named(name).map(|subscription| subscription.id);
    let healthy: Vec<_> =
        (0..arguments.destinations).filter_map(|number| id(&healthy(number))).collect();
    let other = id(OTHER);
    let mut most_live = 0;
    let began = Instant::now();
    publish(&engine, arguments.events).await?;
    let wanted = i64::try_from(arguments.events)?;
    loop {
        let totals = engine.store().subscription_totals().await?;
        if let Some(other) = other {
            most_live = most_live.max(engine.intake_view(other).await?.live);
        }
        let done = |id| totals.iter().any(|(of, totals)| *of == id && totals.delivered == wanted);
        if healthy.iter().all(|id| done(*id)) {
            break;
        }
        if began.elapsed() > DEADLINE {
            bail!("not delivered within {DEADLINE:?}: {totals:?}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    engine.stop();
    Ok(Side { seconds, most_live })
}

const OTHER: &str = "other";

fn healthy(number: usize) -> String {
    format!("healthy-{number}")
}

async fn open(
    data: &Path,
    arguments: &Arguments,
    sink: &str,
    beside: Beside,
) -> Result<Arc<Engine>> {
    let mut declared = Declared::default();
    declared.buses.push(BusSpec {
        name: BUS.into(),
        retention_seconds: 86_400,
        deduplicate_content: false,
    });
    let mut deliver = |name: &str, path: &str, concurrency| {
        let call = CallSpec::new("POST", &format!("{sink}/{path}"));
        let destination = DestinationSpec::call(name, None, call);
        declared.destinations.push(DestinationSpec { concurrency, ..destination });
        let target = TargetSpec::Destination(name.to_owned());
        declared.subscriptions.push(SubscriptionSpec {
            transform: Some(json!("{% $event.detail %}")),
            ..SubscriptionSpec::new(name, BUS, PATTERN, target)
        });
    };
    for number in 0..arguments.destinations {
        deliver(&healthy(number), &healthy(number), None);
    }
    match beside {
        Beside::Nothing => {}
        Beside::Stalled => deliver(OTHER, "stalled?stall", None),
        // As many at a time as it takes in a second, each of which takes one.
        Beside::Slow(rate) => deliver(OTHER, "slow?delay_ms=1000", Some(rate)),
    }
    let clock = Arc::new(SystemClock::default());
    let limits = Limits { subscription_pending: arguments.pending, ..Limits::DEFAULT };
    let connect = Arc::new(Connect::new(clock.clone(), limits));
    let store = Arc::new(SqliteStore::open(data, SqliteOptions::default())?);
    Ok(Engine::open(store, connect, clock, limits, &declared).await?)
}

async fn publish(engine: &Arc<Engine>, events: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut publishers = Vec::new();
    for _ in 0..PUBLISHERS {
        let (engine, next) = (engine.clone(), next.clone());
        publishers.push(tokio::spawn(async move {
            loop {
                let from = next.fetch_add(PAGE, Ordering::Relaxed);
                if from >= events {
                    return anyhow::Ok(());
                }
                let page = (from..events.min(from + PAGE)).map(entry).collect::<Result<_>>()?;
                for published in engine.publish("bench", page).await? {
                    published?;
                }
            }
        }));
    }
    for publisher in publishers {
        publisher.await??;
    }
    Ok(())
}

fn entry(number: usize) -> Result<Entry> {
    let detail = json!({ "key": format!("K-{number}"), "n": 1, "text": "x".repeat(300) });
    let event = Event {
        source: "bench".into(),
        detail_type: "changed".into(),
        detail: RawValue::from_string(detail.to_string())?,
        resources: Vec::new(),
        time: None,
    };
    Ok(Entry { bus: BUS.into(), event, priority: Priority::Normal, dedup_id: None, force: false })
}
