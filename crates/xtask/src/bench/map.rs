//! `cargo xtask bench map`: a distributed map over many items, each size in a server of its own,
//! so that its peak memory is its own; and one HTTP call a child beside a bare loop.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use stepbus_sandbox::Recorded;

use super::process::Usage;
use super::repeat;
use super::stage::Stepbus;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Items of each run.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    items: Vec<u64>,

    /// Children that do nothing: of which types.
    #[arg(long, value_delimiter = ',', default_values_t = ["EXPRESS".to_owned(), "STANDARD".to_owned()])]
    kinds: Vec<String>,

    /// Items whose child makes a call; 0 leaves that part out.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,

    /// How often these calls are made, in turn with the bare loop: other work on the machine
    /// makes either side slower for seconds at a time.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How the server is built.
    #[arg(long, default_value = "release")]
    profile: String,

    /// Be the system that is called, on a port of loopback that is printed.
    #[arg(long, hide = true)]
    serve: bool,
}

/// Calls in flight, of the map and of the bare loop.
const CONCURRENCY: usize = 1_000;
const DEADLINE: Duration = Duration::from_secs(3_600);
const LOOK: Duration = Duration::from_millis(20);

const PROJECT: &str = "name: bench
connections: { loop: { concurrency: 1000 } }
buckets: { files: { path: ./files } }
workflows: { map: map.asl.yaml }
";

const MAP: &str = "QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    MaxConcurrency: 1000
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      Arguments: { Bucket: files, Key: items.jsonl }
      ReaderConfig: { InputType: JSONL }
    ResultWriter:
      Resource: arn:aws:states:::s3:putObject
      Arguments: { Bucket: files, Prefix: results }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: KIND }
      StartAt: Child
      States:
        Child: CHILD
    End: true
";

const PASS: &str = "{ Type: Pass, End: true }";
const CALL: &str = "{ Type: Task, Resource: 'arn:aws:states:::http:invoke', Arguments: \
    { ApiEndpoint: 'URL', Method: POST, RequestBody: '{% $states.input %}', \
    Authentication: { ConnectionArn: loop } }, \
    Output: '{% $states.result.ResponseBody %}', End: true }";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.serve {
        return answer();
    }
    let binary = super::stage::build(&arguments.profile)?;
    println!("children that do nothing, fsync on, concurrency {CONCURRENCY}");
    for kind in &arguments.kinds {
        let mut peaks = Vec::new();
        for &items in &arguments.items {
            let side = map(&binary, items, kind, PASS)?;
            side.print(&format!("{kind} {items}"), items);
            peaks.push(side.usage.peak_mib);
        }
        if let [.., hundredth, last] = peaks[..] {
            println!("peak memory of the largest: {:.2} of the one before", last / hundredth);
        }
    }
    if arguments.calls > 0 {
        calls(&binary, arguments)?;
    }
    Ok(())
}

/// One HTTP call a child, in turn with the same calls by a bare loop.
fn calls(binary: &Path, arguments: &Arguments) -> Result<()> {
    println!("\none HTTP call a child, concurrency {CONCURRENCY}");
    let target = Target::start()?;
    let child = CALL.replace("URL", &format!("http://{}/", target.host));
    let mut ratios = Vec::new();
    for _ in 0..arguments.rounds {
        let bare = bare_loop(&target.host, arguments.calls)?;
        let side = map(binary, arguments.calls, "EXPRESS", &child)?;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = arguments.calls as f64 / bare;
        println!("{:<18} {rate:>8.0} items/s  {bare:>7.2} s", "bare loop");
        side.print("EXPRESS", arguments.calls);
        let ratio = bare / side.seconds;
        println!("ratio {ratio:.2} of the bare loop");
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    let median = ratios[ratios.len() / 2];
    println!("median {median:.2} of the bare loop (target 0.5), {least:.2} to {most:.2}");
    Ok(())
}

/// Seconds for so many calls.
fn bare_loop(host: &str, calls: u64) -> Result<f64> {
    let requests = (0..calls).map(|n| Recorded {
        host: host.to_owned(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: item(n),
    });
    let queue = repeat::Queue {
        host: host.to_owned(),
        concurrency: CONCURRENCY,
        requests: requests.collect(),
    };
    let began = Instant::now();
    repeat::all(vec![queue])?;
    Ok(began.elapsed().as_secs_f64())
}

struct Side {
    seconds: f64,
    usage: Usage,
}

impl Side {
    fn print(&self, name: &str, items: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let count = items as f64;
        println!(
            "{name:<18} {:>8.0} items/s  {:>7.2} s  {:>5.0} µs of CPU an item  {:>5.0} MiB at most",
            count / self.seconds,
            self.seconds,
            self.usage.cpu_seconds * 1e6 / count,
            self.usage.peak_mib,
        );
        for (thread, seconds) in &self.usage.threads {
            println!("                   {:>6.0} µs an item in {thread}", seconds * 1e6 / count);
        }
    }
}

fn item(n: u64) -> String {
    json!({ "n": n, "sku": format!("SKU-{n:07}") }).to_string()
}

fn map(binary: &Path, items: u64, kind: &str, child: &str) -> Result<Side> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("files"))?;
    let file = std::fs::File::create(folder.path().join("files/items.jsonl"))?;
    let mut file = BufWriter::new(file);
    for n in 0..items {
        writeln!(file, "{}", item(n))?;
    }
    file.flush()?;
    std::fs::write(folder.path().join("stepbus.yaml"), PROJECT)?;
    let definition = MAP.replace("KIND", kind).replace("CHILD", child);
    std::fs::write(folder.path().join("map.asl.yaml"), definition)?;
    let data = folder.path().join("data");
    let server = Stepbus::start(binary, &folder.path().join("stepbus.yaml"), &data, &[])?;
    let used = server.usage()?;
    let began = Instant::now();
    let started = server.post("/admin/workflows/map/executions", &json!({}))?;
    let path =
        format!("/admin/executions/{}", started["execution"].as_str().context("not started")?);
    let view = loop {
        let view = server.get(&path)?;
        if view["status"] != "RUNNING" {
            break view;
        }
        if began.elapsed() > DEADLINE {
            bail!("the map does not end: {view:#}");
        }
        std::thread::sleep(LOOK);
    };
    let seconds = began.elapsed().as_secs_f64();
    let map_runs = server.get("/admin/map-runs")?;
    if view["status"] != "SUCCEEDED" || map_runs[0]["itemCounts"]["succeeded"] != items {
        bail!("the map went wrong: {view:#}, {map_runs:#}");
    }
    Ok(Side { seconds, usage: server.usage()?.since(&used) })
}

/// The system that is called, in a process of its own.
struct Target {
    process: Child,
    host: String,
}

impl Target {
    fn start() -> Result<Target> {
        let program: PathBuf = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.args(["bench", "map", "--serve"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Target { process, host: line.trim().to_owned() })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Answers every call with a small object, on one thread.
fn answer() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
                    request.into_body().collect().await?;
                    let body = Full::new(Bytes::from_static(b"{\"ok\":true}"));
                    let response = hyper::Response::builder()
                        .header("content-type", "application/json")
                        .body(body);
                    Ok::<_, hyper::Error>(response.unwrap_or_default())
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // A client that leaves is no failure.
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}
