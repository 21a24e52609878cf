//! `cargo xtask bench sync`: the same requests by a bare loop and by Stepbus, in one run, against
//! the same sandbox process.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use stepbus_sandbox::Recorded;

use super::process::Usage;
use super::stage::{Sandbox, Stepbus, build};
use super::{example, repeat};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 5_000)]
    products: usize,

    /// How often both are run; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Calls in flight to each system: what the example's connections and destinations allow.
const CONCURRENCY: [(&str, usize); 4] = [("mdm", 64), ("crm", 32), ("erp", 32), ("shop", 32)];
const DEADLINE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binary = build("release")?;
    let folder = tempfile::tempdir()?;
    let recording = folder.path().join("requests.jsonl");
    let queues = {
        let sandbox = Sandbox::start(&binary, arguments.products, Some(&recording))?;
        let data = folder.path().join("recorded");
        let stepbus = Stepbus::start(&binary, &example(), &data, &sandbox.addresses.environment())?;
        sync(&stepbus, arguments.products)?;
        queues(&sandbox, read(&recording)?)
    };
    let requests: usize = queues.iter().map(Vec::len).sum();
    println!("{requests} requests for {} products", arguments.products);
    let sandbox = Sandbox::start(&binary, arguments.products, None)?;
    let mut rounds = Vec::new();
    for number in 0..arguments.rounds {
        let loop_side = bare_loop(&sandbox, &queues)?;
        let data = folder.path().join(format!("data-{number}"));
        let engine_side = engine(&binary, &data, &sandbox, arguments.products)?;
        let ratio = loop_side.seconds / engine_side.seconds;
        println!("\nround {}", number + 1);
        loop_side.print("bare loop", arguments.products);
        engine_side.print("stepbus", arguments.products);
        println!("ratio       {ratio:.2} of the bare loop");
        rounds.push(ratio);
    }
    rounds.sort_by(f64::total_cmp);
    println!("\nmedian ratio {:.2} (target 0.5)", rounds[rounds.len() / 2]);
    Ok(())
}

/// One side of a round.
struct Side {
    seconds: f64,
    client: Usage,
    sandbox_cpu: f64,
}

impl Side {
    fn print(&self, name: &str, products: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let products = products as f64;
        println!(
            "{name:<11} {:>7.0} products/s  {:>6.2} s  {:>6.0} µs of CPU a product  {:>5.0} MiB  \
             sandbox busy {:.0} % of one core",
            products / self.seconds,
            self.seconds,
            self.client.cpu_seconds * 1e6 / products,
            self.client.peak_mib,
            self.sandbox_cpu * 100.0 / self.seconds,
        );
        for (thread, seconds) in &self.client.threads {
            println!("            {:>7.0} µs a product in {thread}", seconds * 1e6 / products);
        }
    }
}

fn bare_loop(sandbox: &Sandbox, queues: &[Vec<Recorded>; 4]) -> Result<Side> {
    sandbox.control("reset", true)?;
    let work = CONCURRENCY
        .iter()
        .zip(queues)
        .map(|((system, concurrency), requests)| repeat::Queue {
            host: sandbox.host(system),
            concurrency: *concurrency,
            requests: requests.clone(),
        })
        .collect();
    let before = sandbox.cpu_seconds()?;
    let used = Usage::of("self")?;
    let began = Instant::now();
    repeat::all(work)?;
    let seconds = began.elapsed().as_secs_f64();
    let client = Usage::of("self")?.since(&used);
    Ok(Side { seconds, client, sandbox_cpu: sandbox.cpu_seconds()? - before })
}

/// The requests by system, in the order they came. A token is asked for by whoever needs one.
fn queues(sandbox: &Sandbox, requests: Vec<Recorded>) -> [Vec<Recorded>; 4] {
    let hosts = CONCURRENCY.map(|(system, _)| sandbox.host(system));
    let mut queues = <[Vec<Recorded>; 4]>::default();
    for request in requests {
        if let Some(system) = hosts.iter().position(|host| *host == request.host) {
            queues[system].push(request);
        }
    }
    queues
}

fn engine(binary: &Path, data: &Path, sandbox: &Sandbox, products: usize) -> Result<Side> {
    sandbox.control("reset", true)?;
    let stepbus = Stepbus::start(binary, &example(), data, &sandbox.addresses.environment())?;
    let before = sandbox.cpu_seconds()?;
    let used = stepbus.usage()?;
    let seconds = sync(&stepbus, products)?;
    let client = stepbus.usage()?.since(&used);
    let sandbox_cpu = sandbox.cpu_seconds()? - before;
    let verification = sandbox.control("verify", false)?;
    if verification["verified"] != true {
        bail!("the sync went wrong: {verification:#}");
    }
    Ok(Side { seconds, client, sandbox_cpu })
}

fn read(recording: &Path) -> Result<Vec<Recorded>> {
    let text = std::fs::read_to_string(recording)?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Seconds from the call to the moment at which nothing is open.
fn sync(stepbus: &Stepbus, products: usize) -> Result<f64> {
    let began = Instant::now();
    let run = stepbus.start_sync()?;
    loop {
        let view = stepbus.get(&format!("/admin/runs/{run}"))?;
        if view["status"] == "COMPLETED" {
            let seconds = began.elapsed().as_secs_f64();
            let delivered = view["subscriptions"].as_array().into_iter().flatten();
            let sum: i64 = delivered
                .filter(|line| {
                    line["subscription"].as_str().is_some_and(|name| name.starts_with("load-"))
                })
                .filter_map(|line| line["delivered"].as_i64())
                .sum();
            if usize::try_from(sum)? != products * 3 {
                bail!("{sum} deliveries instead of {}", products * 3);
            }
            return Ok(seconds);
        }
        if began.elapsed() > DEADLINE {
            bail!("the sync does not end: {view:#}");
        }
        std::thread::sleep(LOOK);
    }
}
