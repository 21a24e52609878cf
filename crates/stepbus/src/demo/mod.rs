//! `stepbus demo`: the main job on one machine, from the master-data system to the last target.

mod example;
mod progress;
mod report;
mod sandbox;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;
use stepbus_model::RunId;

use crate::cli::{ServeOptions, stop_signal};
use crate::output;
use crate::project::{self, Vars};
use crate::server::{self, Server};
use progress::Progress;
use report::Report;
use sandbox::Sandbox;

/// How often the books are looked at while the sync runs.
const LOOK: Duration = Duration::from_millis(100);
/// The key of the demo's endpoint; it opens nothing but a sandbox.
const SYNC_KEY: &str = "demo";
const OPERATORS_PORT: u16 = 4566;
const PUBLIC_PORT: u16 = 8080;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Products of the made-up catalogue (5,000 when not given), or how many to take of a real one.
    #[arg(long, value_name = "N")]
    products: Option<usize>,

    /// Read the catalogue from this folder (one JSON file an entity) instead of making one up.
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,

    /// The seed of the catalogue and of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many products are to break a rule.
    #[arg(long, value_name = "N", default_value_t = 0)]
    invalid: usize,

    /// Chance of a request to meet a fault, all kinds mixed; 0.05 is one in twenty.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    faults: f64,

    /// Where the data directory is to be; a new one in the system's folder for temporary files
    /// when not given.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// End after the sync, with status 0 only if every total adds up and every target holds what
    /// it should.
    #[arg(long)]
    exit: bool,
}

pub(crate) fn run(options: Options, json: bool) -> anyhow::Result<ExitCode> {
    server::log_to_stderr(&std::env::var("STEPBUS_LOG").unwrap_or_else(|_| "error".to_owned()))?;
    server::arm_crash_point()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(demo(options, json))
}

async fn demo(options: Options, json: bool) -> anyhow::Result<ExitCode> {
    let data = data_directory(&options)?;
    let sandbox = Sandbox::start(&options)?;
    let project_file = example::write(&data.join("project"))?;
    let mut vars = Vars::none().with("SYNC_KEY", SYNC_KEY);
    for (name, value) in sandbox.addresses.environment() {
        vars = vars.with(name, value);
    }
    let project = project::load(&project_file, &vars).map_err(|problems| {
        anyhow::anyhow!("{}the example does not load", project::report::render(&problems))
    })?;
    let serve = serve_options(project_file, &data);
    let server = Server::start(&serve, &project).await?;
    output::note(&format!(
        "Syncing {} products from the MDM into CRM, ERP and webshop …",
        output::count(i64::try_from(sandbox.addresses.products)?)
    ));
    let began = Instant::now();
    let run = trigger(&server, &sandbox.addresses.container).await?;
    let view = tokio::select! {
        view = follow(&server, run, sandbox.addresses.products) => view?,
        result = stop_signal() => {
            result?;
            server.stop().await;
            bail!("stopped; {run} goes on when a server is started on {}", data.display());
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let (verification, stats) = (sandbox.control("verify")?, sandbox.control("stats")?);
    let deliveries = server.engine.delivery_measures();
    let report = Report::new(&view, &verification, &stats, deliveries, seconds)?;
    if json {
        output::line(&report.to_json().to_string());
    } else {
        output::text(&report.render());
        output::text(&report::next_steps(&server, &sandbox.addresses, &data, options.exit));
    }
    if !options.exit {
        stop_signal().await?;
    }
    server.stop().await;
    Ok(if report.sound() || !options.exit { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn data_directory(options: &Options) -> anyhow::Result<PathBuf> {
    let data = match &options.data {
        Some(data) => data.clone(),
        None => std::env::temp_dir().join(format!("stepbus-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
    data.canonicalize().with_context(|| format!("cannot use {}", data.display()))
}

/// The usual ports while they are free, so that the commands shown need no address.
fn serve_options(project: PathBuf, data: &Path) -> ServeOptions {
    let address = |port: u16| {
        let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let free = TcpListener::bind(usual).is_ok();
        if free { usual } else { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    };
    ServeOptions {
        project,
        data: data.to_owned(),
        operators: address(OPERATORS_PORT),
        public: address(PUBLIC_PORT),
        log: String::new(),
    }
}

/// Asks for the sync as anybody would: over the public endpoint.
async fn trigger(server: &Server, container: &str) -> anyhow::Result<RunId> {
    let url = format!("http://{}/sync/{container}", server.public);
    let answer = tokio::task::spawn_blocking(move || -> anyhow::Result<Value> {
        let mut response = ureq::post(&url).header("x-api-key", SYNC_KEY).send_empty()?;
        Ok(response.body_mut().read_json()?)
    });
    let answer = answer.await?.context("the sync endpoint refused")?;
    Ok(serde_json::from_value(answer["run"].clone())?)
}

/// Shows how the run comes along until nothing of it is open.
async fn follow(server: &Server, run: RunId, products: usize) -> anyhow::Result<Value> {
    let mut progress = Progress::new(products);
    loop {
        let view = server.engine.run(run).await?.context("the run is not there")?;
        let done = view.row.open == 0;
        let view = serde_json::to_value(view)?;
        progress.show(&view);
        if done {
            progress.finish();
            return Ok(view);
        }
        tokio::time::sleep(LOOK).await;
    }
}
