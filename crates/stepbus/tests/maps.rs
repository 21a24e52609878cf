//! Map runs by the real binary: killed while they read and write, redriven, updated, looked into.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use common::taker::{Taken, Taker};
use common::{Server, assert_audit_finds_nothing, stdout, stepbus, wait_for};
use serde_json::{Value, json};
use stepbus_sandbox::ObjectService;
use tempfile::TempDir;

const STORAGE: &str = r#"
buckets:
  exports:
    s3: { endpoint: "${S3_URL}", access_key: "${S3_ID}", secret_key: "${S3_SECRET}" }
"#;

const EACH: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    MaxConcurrency: 8
    SOURCE
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: KIND }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments:
            ApiEndpoint: ${TAKER_URL}/get
            Method: POST
            RequestBody: { n: "{% $states.input.n %}" }
          Output: "{% $states.input %}"
          End: true
    End: true
"#;

const FROM_FILE: &str = r#"
    ItemReader:
      Resource: arn:aws:states:::s3:getObject
      Arguments: { Bucket: exports, Key: rows.csv }
      ReaderConfig: { InputType: CSV, CSVHeaderLocation: FIRST_ROW }
    ResultWriter:
      Resource: arn:aws:states:::s3:putObject
      Arguments: { Bucket: exports, Prefix: out }
"#;

/// A project with one workflow, and its data.
struct Home {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Home {
    fn new(kind: &str, source: &str, taker: &Taker) -> Home {
        let folder = tempfile::tempdir().unwrap();
        let storage = if source.contains("Bucket") { STORAGE } else { "" };
        let project = format!("name: maps\n{storage}workflows: {{ each: each.asl.yaml }}\n");
        std::fs::write(folder.path().join("stepbus.yaml"), project).unwrap();
        let definition = EACH.replace("KIND", kind).replace("SOURCE", source.trim());
        std::fs::write(folder.path().join("each.asl.yaml"), definition).unwrap();
        Home { folder, environment: vec![("TAKER_URL", taker.url.clone())] }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn serve(&self, crash_at: Option<&str>) -> Option<Server> {
        let environment = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Server::launch(
            &self.folder.path().join("stepbus.yaml"),
            &self.data(),
            environment,
            crash_at,
        )
    }

    fn start(&self) -> Server {
        self.serve(None).expect("the server starts")
    }

    fn sound(&self) {
        assert_audit_finds_nothing(&self.data());
    }
}

fn begin(server: &Server, input: &Value) -> (String, String) {
    let started = server.post("/admin/workflows/each/executions", &json!({ "input": input }));
    let id = |name: &str| started[name].as_str().unwrap_or_else(|| panic!("{started}")).to_owned();
    (id("execution"), id("run"))
}

fn ended(server: &Server, execution: &str) -> Value {
    wait_for("the end of the execution", || {
        let view = server.get(&format!("/admin/executions/{execution}"));
        (view["status"] != "RUNNING").then_some(view)
    })
}

/// The one map run, once there is one.
fn map_run(server: &Server) -> Value {
    wait_for("the map run", || server.get("/admin/map-runs").get(0).cloned())
}

/// The map run when it has ended again.
fn redriven(server: &Server, id: &str) -> Value {
    wait_for("the end of the redrive", || {
        let view = server.get(&format!("/admin/map-runs/{id}"));
        (view["status"] != "RUNNING").then_some(view)
    })
}

/// How often each item was asked for, and under how many keys.
fn asked(taker: &Taker) -> BTreeMap<u64, (usize, usize)> {
    let mut keys: BTreeMap<u64, (usize, BTreeSet<String>)> = BTreeMap::new();
    for call in taker.calls() {
        let asked = keys.entry(number(&call)).or_default();
        asked.0 += 1;
        asked.1.insert(call.idempotency_key().to_owned());
    }
    keys.into_iter().map(|(n, (times, keys))| (n, (times, keys.len()))).collect()
}

fn number(call: &Taken) -> u64 {
    let n = &call.body["n"];
    n.as_u64().or_else(|| n.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{call:?}"))
}

fn command(server: &Server, arguments: &[&str]) -> String {
    let output = stepbus(&[&["--url", server.operators.as_str()], arguments].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    stdout(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Serves until the service refused a request for the second time: whoever sent it waits to try
/// again, in the middle of what it does. Then kills the server.
fn killed_at(server: Server, service: &ObjectService) {
    wait_for("the service to refuse", || (service.failures_left() <= REFUSED - 2).then_some(()));
    server.kill();
    service.fail(0);
}

/// Fewer than a client of the service puts up with.
const REFUSED: usize = 8;

#[test]
fn killed_while_pages_are_read_and_while_results_are_written() {
    const ROWS: u64 = 900;
    const MIB: usize = 1 << 20;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for kind in ["STANDARD", "EXPRESS"] {
        let service = runtime.block_on(ObjectService::start()).unwrap();
        let taker = Taker::start(|_| (200, json!({})));
        let mut home = Home::new(kind, FROM_FILE, &taker);
        home.environment.extend([
            ("S3_URL", service.url.clone()),
            ("S3_ID", service.access_key.clone()),
            ("S3_SECRET", service.secret_key.clone()),
        ]);
        // Three pieces to read, and two parts at least to write.
        let filling = "x".repeat(12_000);
        let mut rows = String::from("n,text\n");
        (0..ROWS).for_each(|n| rows.push_str(&format!("{n},{filling}\n")));
        assert!(rows.len() > 10 * MIB);
        service.put("exports", "rows.csv", rows);

        // The second piece, and the second one from where reading goes on.
        let server = home.start();
        service.fail_at("rows.csv bytes=", 1, REFUSED);
        let (execution, _) = begin(&server, &json!({}));
        killed_at(server, &service);
        service.fail_at("rows.csv bytes=", 1, REFUSED);
        killed_at(home.start(), &service);
        service.fail_at("partNumber=2", 0, REFUSED);
        killed_at(home.start(), &service);
        assert_eq!(service.open_uploads(), 1, "nobody could give it up");
        let server = home.start();

        let view = ended(&server, &execution);
        assert_eq!(view["status"], "SUCCEEDED", "{view:#}");
        let counts = &map_run(&server)["itemCounts"];
        for (name, count) in
            [("total", ROWS), ("succeeded", ROWS), ("resultsWritten", ROWS), ("pending", 0)]
        {
            assert_eq!(counts[name], count, "{name} of {counts}");
        }
        server.kill();
        home.sound();
        let asked = asked(&taker);
        assert_eq!(asked.keys().copied().collect::<Vec<_>>(), (0..ROWS).collect::<Vec<_>>());
        let keys = asked.iter().filter(|(_, (_, keys))| *keys != 1).count();
        assert_eq!(keys, 0, "what was in flight at a kill is sent again under its key");
        let again = asked.values().filter(|(times, _)| *times > 1).count();
        assert!(again <= 3 * 8, "{again} were asked for again, 8 are in flight at a time");

        let read = |key: &str| {
            let bytes = service.get("exports", key).unwrap_or_else(|| panic!("no {key}"));
            serde_json::from_slice::<Value>(&bytes).unwrap()
        };
        let manifest = read(view["output"]["ResultWriterDetails"]["Key"].as_str().unwrap());
        let files = &manifest["ResultFiles"];
        assert_eq!((&files["FAILED"], &files["PENDING"]), (&json!([]), &json!([])));
        let mut written = Vec::new();
        for file in files["SUCCEEDED"].as_array().unwrap() {
            for child in read(file["Key"].as_str().unwrap()).as_array().unwrap() {
                let input: Value = serde_json::from_str(child["Input"].as_str().unwrap()).unwrap();
                written.push(input["n"].as_str().unwrap().parse::<u64>().unwrap());
            }
        }
        assert_eq!(written, (0..ROWS).collect::<Vec<_>>(), "each once, in their order");
    }
}

/// Items that fail until they are repaired: 12 of 40.
fn failing() -> (Taker, Arc<AtomicBool>) {
    let repaired = Arc::new(AtomicBool::new(false));
    let works = repaired.clone();
    let taker = Taker::start(move |call| match number(call) % 10 {
        0..3 if !works.load(Ordering::Relaxed) => (422, json!({ "why": "bad" })),
        _ => (200, json!({})),
    });
    (taker, repaired)
}

const FROM_INPUT: &str = r#"
    Items: "{% $states.input %}"
    ToleratedFailurePercentage: 100
"#;

fn forty() -> Value {
    (0..40).map(|n| json!({ "n": n })).collect()
}

#[test]
fn dies_at_every_point_of_a_redrive() {
    for (kind, point) in [
        ("STANDARD", "redrive.before_commit:1"),
        ("STANDARD", "redrive.before_commit:2"),
        ("STANDARD", "redrive.before_commit:5"),
        ("STANDARD", "redrive.after_commit:1"),
        ("STANDARD", "redrive.after_commit:4"),
        ("EXPRESS", "redrive.before_commit:1"),
        ("EXPRESS", "redrive.before_commit:2"),
        ("EXPRESS", "redrive.after_commit:1"),
    ] {
        let (taker, repaired) = failing();
        let home = Home::new(kind, FROM_INPUT, &taker);
        let server = home.start();
        let (execution, _) = begin(&server, &forty());
        assert_eq!(ended(&server, &execution)["status"], "SUCCEEDED");
        let id = map_run(&server)["id"].as_str().unwrap().to_owned();
        server.kill();
        repaired.store(true, Ordering::Relaxed);

        let mut server = home.serve(Some(point)).expect("it dies later");
        let url = format!("{}/admin/map-runs/{id}/redrive", server.operators);
        // It may die before it answers.
        let _ = ureq::post(&url).send_json(json!({}));
        wait_for(&format!("the death at {point}"), || server.is_dead().then_some(()));

        let server = home.start();
        let view = server.get(&format!("/admin/map-runs/{id}"));
        // What was only marked awaits the next redrive.
        if view["status"] != "RUNNING" && view["itemCounts"]["succeeded"] != 40 {
            server.post(&format!("/admin/map-runs/{id}/redrive"), &json!({}));
        }
        let view = redriven(&server, &id);
        server.all_finished();
        for counts in ["itemCounts", "executionCounts"] {
            let counts = &view[counts];
            assert_eq!((&counts["succeeded"], &counts["pendingRedrive"]), (&json!(40), &json!(0)));
        }
        assert_eq!((&view["status"], &view["redriveCount"]), (&json!("SUCCEEDED"), &json!(1)));
        server.kill();
        home.sound();
        for (n, (times, keys)) in asked(&taker) {
            // Once before, and in the redrive under one key, however often.
            let bad = n % 10 < 3;
            assert_eq!(keys, if bad { 2 } else { 1 }, "{point}: item {n}");
            assert!(times == keys || bad, "{point}: item {n} was asked for {times} times");
        }
    }
}

#[test]
fn an_execution_is_redriven_by_what_its_workflow_is_declared_as_now() {
    let taker = Taker::start(|call| match (&*call.path, number(call)) {
        ("/get", 20) => (422, json!({ "why": "bad" })),
        _ => (200, json!({})),
    });
    let home = Home::new("STANDARD", "Items: \"{% $states.input %}\"", &taker);
    let server = home.start();
    let (execution, _) = begin(&server, &forty());
    assert_eq!(ended(&server, &execution)["error"], "States.ExceedToleratedFailureThreshold");
    server.kill();

    let definition = home.folder.path().join("each.asl.yaml");
    let text = std::fs::read_to_string(&definition).unwrap().replace("/get", "/better");
    std::fs::write(&definition, text).unwrap();
    let server = home.start();
    let redrive = ["executions", "redrive", &execution];
    let refused =
        stepbus(&[&["--url", &server.operators], &redrive[..], &["--from-state", "Get"]].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("the state 'Get' lies inside 'Each'"), "{said}");
    let said = command(&server, &[&redrive[..], &["--definition", "current"]].concat());
    assert_eq!(said, format!("{execution} runs again\n"));
    assert_eq!(ended(&server, &execution)["status"], "SUCCEEDED");
    server.all_finished();
    let counts = &map_run(&server)["itemCounts"];
    assert_eq!((&counts["succeeded"], &counts["failed"]), (&json!(40), &json!(0)));
    server.kill();
    home.sound();
    // What had succeeded by the old definition was not asked for again.
    let took = |path: &str, n: u64| {
        taker.calls().iter().filter(|call| call.path == path && number(call) == n).count()
    };
    assert_eq!((took("/get", 20), took("/better", 20)), (1, 1));
    assert!((0..40).all(|n| took("/better", n) <= 1));
    // Eight at a time: thirteen had ended before this one began.
    assert!((0..40).filter(|n| took("/better", *n) == 0).count() >= 13);
}

/// Calls wait here until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

fn expect_groups(server: &Server, id: &str) {
    let groups = command(server, &["--json", "map-runs", "failures", id, "--group"]);
    let groups: Value = serde_json::from_str(&groups).unwrap();
    let told: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            let samples: Vec<u64> = group["samples"]
                .as_array()
                .unwrap()
                .iter()
                .map(|s| s["item"].as_u64().unwrap())
                .collect();
            (group["error"].as_str().unwrap(), group["count"].as_u64().unwrap(), samples)
        })
        .collect();
    assert_eq!(told[0].0, "States.Http.StatusCode.422");
    assert_eq!((told[0].1, told[0].2.len()), (8, 5));
    assert_eq!((told[1].0, told[1].1), ("States.Http.StatusCode.409", 4));
    assert_eq!(told[1].2, [2, 12, 22, 32]);
}

fn expect_exports(home: &Home, server: &Server, id: &str) {
    let lines = command(server, &["map-runs", "export", id]);
    let exported: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut items: Vec<u64> =
        exported.iter().map(|child| child["item"]["n"].as_u64().unwrap()).collect();
    items.sort_unstable();
    let bad: Vec<u64> = (0..40).filter(|n| n % 10 < 3).collect();
    assert_eq!(items, bad);
    for child in &exported {
        assert_eq!((&child["input"], &child["status"]), (&child["item"], &json!("FAILED")));
        assert!(child["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{child}");
    }
    let file = home.folder.path().join("failures.csv");
    command(server, &["map-runs", "export", id, "--format", "csv", "--output", text(&file)]);
    let csv = std::fs::read_to_string(&file).unwrap();
    let mut lines = csv.split("\r\n");
    let head = "index,execution,status,error,cause,started,ended,redriveCount,item,input";
    assert_eq!(lines.next(), Some(head));
    let rows: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 12);
    for (row, child) in rows.iter().zip(&exported) {
        let begins = format!("{},{},FAILED,", child["index"], child["execution"].as_str().unwrap());
        assert!(row.starts_with(&begins), "{row}");
        let item = format!("\"{}\"", child["item"].to_string().replace('"', "\"\""));
        assert!(row.contains(&item), "{row}");
    }
}

/// Those that failed with 409, and no others, from the state that is named.
fn expect_rerun(server: &Server, id: &str, run: &str) {
    let rerun = ["runs", "rerun-failed", run, "--error", "States.Http.StatusCode.409"];
    let elsewhere =
        [&["--url", server.operators.as_str()], &rerun[..], &["--from-state", "Gets"]].concat();
    let refused = stepbus(&elsewhere);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("did you mean 'Get'?"), "{said}");
    let said = command(server, &[&rerun[..], &["--from-state", "Get"]].concat());
    assert!(said.lines().any(|line| line.split_whitespace().eq([id, "4"])), "{said}");
    let view = redriven(server, id);
    let counts = &view["itemCounts"];
    assert_eq!((&counts["succeeded"], &counts["failed"]), (&json!(32), &json!(8)));
}

#[test]
fn a_map_run_is_updated_looked_into_exported_and_run_again() {
    let gate = Gate::default();
    let repaired = Arc::new(AtomicBool::new(false));
    let (works, waits) = (repaired.clone(), gate.clone());
    let taker = Taker::start(move |call| {
        waits.pass();
        match number(call) % 10 {
            _ if works.load(Ordering::Relaxed) => (200, json!({})),
            0 | 1 => (422, json!({ "why": "bad" })),
            2 => (409, json!({ "why": "taken" })),
            _ => (200, json!({})),
        }
    });
    let strict = "Items: \"{% $states.input %}\"";
    let home = Home::new("STANDARD", strict, &taker);
    let definition = home.folder.path().join("each.asl.yaml");
    let narrow = std::fs::read_to_string(&definition).unwrap();
    std::fs::write(&definition, narrow.replace("MaxConcurrency: 8", "MaxConcurrency: 2")).unwrap();
    let server = home.start();
    let (execution, run) = begin(&server, &forty());
    wait_for("the first two calls", || (taker.calls().len() == 2).then_some(()));
    let id = map_run(&server)["id"].as_str().unwrap().to_owned();

    let update = ["map-runs", "update", &id, "--max-concurrency", "10"];
    let said = command(&server, &[&update[..], &["--tolerated-failure-percentage", "50"]].concat());
    assert!(said.contains("toleratedFailurePercentage  50"), "{said}");
    wait_for("eight more", || (taker.calls().len() == 10).then_some(()));
    let said = command(&server, &["map-runs", "show", &id]);
    assert!(said.lines().any(|line| line.split_whitespace().eq(["running", "10", "10"])), "{said}");
    gate.open();
    assert_eq!(ended(&server, &execution)["status"], "SUCCEEDED");
    let refused =
        stepbus(&["--url", &server.operators, "map-runs", "update", &id, "--max-concurrency", "1"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("only a running one can be updated"),
        "{said}"
    );
    expect_groups(&server, &id);
    expect_exports(&home, &server, &id);
    repaired.store(true, Ordering::Relaxed);
    expect_rerun(&server, &id, &run);
    for (n, (times, keys)) in asked(&taker) {
        assert_eq!((times, keys), if n % 10 == 2 { (2, 2) } else { (1, 1) }, "item {n}");
    }
    server.kill();
    home.sound();
}
