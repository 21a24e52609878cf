//! The real binary, driven as a user or a service manager drives it: started, asked, killed.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::print_stderr, reason = "shown when a test fails")]

pub(crate) mod taker;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepbus_sandbox::Addresses;

pub(crate) const SYNC_KEY: &str = "test-key";
const DEADLINE: Duration = Duration::from_secs(180);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_stepbus"))
}

pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/product-sync")
}

/// Runs a command to its end.
pub(crate) fn stepbus(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Looks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait(what, DEADLINE, look)
}

/// Looks until there is an answer to something that takes many minutes.
pub(crate) fn wait_long<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait(what, DEADLINE * 20, look)
}

fn wait<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < patience, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// Ends its process when it goes out of scope.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stand-ins, as a process that outlives the server's deaths.
pub(crate) struct Sandbox {
    _process: Process,
    pub(crate) addresses: Addresses,
}

impl Sandbox {
    pub(crate) fn start(options: &[&str]) -> Sandbox {
        let mut command = binary();
        command.args(["sandbox", "--watch-stdin"]).args(options);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addresses = serde_json::from_str(&line).unwrap();
        Sandbox { _process: process, addresses }
    }

    pub(crate) fn tell(&self, what: &str, body: &Value) {
        let url = format!("{}/{what}", self.addresses.control);
        ureq::post(&url).send(body.to_string()).unwrap();
    }

    pub(crate) fn ask(&self, what: &str) -> Value {
        let url = format!("{}/{what}", self.addresses.control);
        ureq::get(&url).call().unwrap().body_mut().read_json().unwrap()
    }

    /// The sandbox's own comparison found nothing wrong.
    pub(crate) fn assert_verified(&self) {
        let verification = self.ask("verify");
        assert_eq!(verification["verified"], true, "{verification:#}");
    }
}

/// `stepbus serve` on free ports.
pub(crate) struct Server {
    process: Process,
    pub(crate) public: String,
    pub(crate) operators: String,
}

impl Server {
    pub(crate) fn start(project: &Path, data: &Path, sandbox: &Sandbox) -> Server {
        Server::try_start(project, data, sandbox, None).expect("the server starts")
    }

    /// A server that dies at a crash point may do so before it is up.
    pub(crate) fn try_start(
        project: &Path,
        data: &Path,
        sandbox: &Sandbox,
        crash_at: Option<&str>,
    ) -> Option<Server> {
        let environment = sandbox.addresses.environment();
        let environment = environment.into_iter().chain([("SYNC_KEY", SYNC_KEY)]);
        Server::launch(project, data, environment, crash_at)
    }

    /// A server of another project, which needs no stand-ins.
    pub(crate) fn start_with<'a>(
        project: &Path,
        data: &Path,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Server {
        Server::launch(project, data, environment, None).expect("the server starts")
    }

    pub(crate) fn launch<'a>(
        project: &Path,
        data: &Path,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        crash_at: Option<&str>,
    ) -> Option<Server> {
        let mut command = binary();
        command.args(["serve", "--operators", "127.0.0.1:0", "--public", "127.0.0.1:0"]);
        command.arg("--log").arg("warn").arg("--data").arg(data).arg(project);
        command.envs(environment);
        if let Some(point) = crash_at {
            command.env("STEPBUS_CRASH_AT", point);
        }
        let mut process = Process(command.stderr(Stdio::piped()).spawn().unwrap());
        let mut stderr = BufReader::new(process.0.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).unwrap() == 0 {
                let died = process.0.wait().unwrap();
                assert!(crash_at.is_some(), "the server ended with {died}: {said}");
                return None;
            }
            if let Some((public, operators)) = addresses(&line) {
                forward(stderr);
                return Some(Server { process, public, operators });
            }
            said.push_str(&line);
        }
    }

    /// SIGKILL, as a power cut does it.
    pub(crate) fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Waits until it died of what it was told to die at.
    pub(crate) fn died(mut self) {
        wait_for("the death", || self.process.0.try_wait().unwrap());
    }

    pub(crate) fn is_dead(&mut self) -> bool {
        self.process.0.try_wait().unwrap().is_some()
    }

    /// How many runs are open; none when the server is dead.
    pub(crate) fn open_runs(&mut self) -> Option<usize> {
        if self.process.0.try_wait().unwrap().is_some() {
            return None;
        }
        let url = format!("{}/admin/runs?open=true", self.operators);
        let runs: Value = ureq::get(&url).call().ok()?.body_mut().read_json().ok()?;
        runs.as_array().map(Vec::len)
    }

    /// What the process has in memory now.
    pub(crate) fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id()));
        let status = status.expect("Linux tells it");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.operators);
        ureq::get(&url).call().unwrap().body_mut().read_json().unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.operators);
        ureq::post(&url).send_json(body).unwrap().body_mut().read_json().unwrap()
    }

    /// Calls the sync endpoint: the status and the answer; none when the server died meanwhile.
    pub(crate) fn call(&self, container: &str, headers: &[(&str, &str)]) -> Option<(u16, Value)> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.post(format!("{}/sync/{container}", self.public));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send_empty().ok()?;
        let status = response.status().as_u16();
        Some((status, response.body_mut().read_json().ok()?))
    }

    pub(crate) fn sync(&self) -> String {
        let (status, answer) = self.call("products", &[("x-api-key", SYNC_KEY)]).unwrap();
        assert_eq!(status, 202, "{answer}");
        answer["run"].as_str().unwrap().to_owned()
    }

    /// Waits until nothing that the run caused is open, and gives its view.
    pub(crate) fn finished(&self, run: &str) -> Value {
        wait_for(&format!("the end of {run}"), || {
            let view = self.get(&format!("/admin/runs/{run}"));
            (view["status"] == "COMPLETED").then_some(view)
        })
    }

    /// Waits until no run is open.
    pub(crate) fn all_finished(&self) {
        wait_for("the end of all runs", || {
            self.get("/admin/runs?open=true").as_array().unwrap().is_empty().then_some(())
        });
    }
}

/// The line by which a server says where it is.
fn addresses(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.split_once("endpoints on ")?;
    let (public, rest) = rest.split_once(", operators on ")?;
    let (operators, _) = rest.split_once(", data in ")?;
    Some((public.to_owned(), operators.to_owned()))
}

/// What the server logs goes where the test's output goes.
fn forward(stderr: BufReader<std::process::ChildStderr>) {
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            eprintln!("server: {line}");
        }
    });
}

/// The line of a run's books for a subscription.
pub(crate) fn totals<'a>(run: &'a Value, subscription: &str) -> &'a Value {
    run["subscriptions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["subscription"] == subscription)
        .unwrap_or_else(|| panic!("no totals of {subscription} in {run:#}"))
}

/// `stepbus audit` finds nothing.
pub(crate) fn assert_audit_finds_nothing(data: &Path) {
    let output = stepbus(&["--json", "audit", "--data", data.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    assert_eq!(report["problems"], json!([]), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

/// The example with some of its text replaced, in a folder of its own.
pub(crate) fn changed_example(folder: &Path, changes: &[(&str, &str)]) -> PathBuf {
    for path in [
        "stepbus.yaml",
        "workflows/fetch-product-ids.asl.yaml",
        "workflows/fetch-products.asl.yaml",
        "mappings/crm.jsonata",
        "mappings/erp.jsonata",
        "mappings/shop.jsonata",
    ] {
        let mut text = std::fs::read_to_string(example().join(path)).unwrap();
        if path == "stepbus.yaml" {
            for (from, to) in changes {
                assert!(text.contains(from), "the example does not say {from}");
                text = text.replace(from, to);
            }
        }
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, text).unwrap();
    }
    folder.join("stepbus.yaml")
}
