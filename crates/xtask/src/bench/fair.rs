//! `cargo xtask bench fair`: how long one product's change takes while a backfill of thousands is
//! under way, beside an idle system, in one run.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::example;
use super::stage::{Sandbox, Stepbus, build};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Products of the backfill.
    #[arg(long, default_value_t = 30_000)]
    products: usize,

    /// Single changes on the idle system, and as many during the backfill.
    #[arg(long, default_value_t = 20)]
    changes: usize,

    /// Of the single changes: low, normal or high. The backfill is normal.
    #[arg(long, default_value = "normal")]
    priority: String,

    /// How the server is built.
    #[arg(long, default_value = "release")]
    profile: String,
}

const TARGET: f64 = 3.0;
const LOOK: Duration = Duration::from_millis(2);
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build(&arguments.profile)?;
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::start(&binary, arguments.products, None)?;
    let data = folder.path().join("data");
    let environment = sandbox.addresses.environment();
    let stepbus = Stepbus::start(&binary, &example(), &data, &environment)?;
    let ids = sandbox.change(2 * arguments.changes)?;
    let (first, second) = ids.split_at(arguments.changes);
    // The first one opens connections and logs in.
    change(&stepbus, &ids[0], &arguments.priority)?;
    let idle = all(&stepbus, first, &arguments.priority)?;
    let backfill = stepbus.start_sync()?;
    let share = i64::try_from(arguments.products / 20)?;
    wait("the backfill to get under way", || Ok(done(&stepbus, &backfill)? >= share))?;
    let busy = all(&stepbus, second, &arguments.priority)?;
    let at_the_end = stepbus.get(&format!("/admin/runs/{backfill}"))?;
    if at_the_end["status"] == "COMPLETED" {
        bail!("the backfill ended before the last change: take more --products");
    }
    let (idle, busy) = (median(idle), median(busy));
    println!("one change, median of {}:", arguments.changes);
    println!("  idle                  {:>8.1} ms", idle * 1e3);
    println!("  during a backfill     {:>8.1} ms ({} products)", busy * 1e3, arguments.products);
    println!("  ratio                 {:>8.2} (target {TARGET})", busy / idle);
    Ok(())
}

fn all(stepbus: &Stepbus, ids: &[String], priority: &str) -> Result<Vec<f64>> {
    ids.iter().map(|id| change(stepbus, id, priority)).collect()
}

/// Seconds until one product is read and all three targets have it.
fn change(stepbus: &Stepbus, id: &str, priority: &str) -> Result<f64> {
    let entry = json!({
        "bus": "catalog", "source": "bench", "detail-type": "product_ids_fetched",
        "detail": { "ids": [id] }, "priority": priority,
    });
    let began = Instant::now();
    let answer = stepbus.post("/admin/events", &json!({ "entries": [entry] }))?;
    let run = answer["entries"][0]["run"].as_str().context("not published")?.to_owned();
    wait("a single change", || {
        let view = stepbus.get(&format!("/admin/runs/{run}"))?;
        Ok(view["status"] == "COMPLETED" && loaded(&view, &["delivered", "unchanged"]) == 3)
    })?;
    Ok(began.elapsed().as_secs_f64())
}

fn done(stepbus: &Stepbus, run: &str) -> Result<i64> {
    Ok(loaded(&stepbus.get(&format!("/admin/runs/{run}"))?, &["delivered"]) / 3)
}

/// Sums columns of the books of the subscriptions that load targets.
fn loaded(view: &Value, columns: &[&str]) -> i64 {
    let rows = view["subscriptions"].as_array().into_iter().flatten();
    rows.filter(|row| row["subscription"].as_str().is_some_and(|name| name.starts_with("load-")))
        .flat_map(|row| columns.iter().filter_map(|column| row[*column].as_i64()))
        .sum()
}

fn wait(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !holds()? {
        if began.elapsed() > DEADLINE {
            bail!("waited in vain for {what}");
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
