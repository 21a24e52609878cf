//! Results to outside: files in a bucket, and outputs in another form.

use serde_json::{Value, json};
use stepbus_model::{Limits, MapRunId};
use stepbus_sandbox::ObjectService;
use stepbus_store::{ExecutionStatus, MapRunStatus};

use super::maps::items;
use super::world::{Running, Target, World, until};

const MAP: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Label: each
    Items: "{% $states.input.items %}"
    ToleratedFailurePercentage: 100
    MaxConcurrency: 3
    ResultWriter: WRITER
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
          Output: "{% $states.result.ResponseBody %}"
          End: true
    End: true
"#;

/// A target that answers with a list of the number, or 422 for every tenth from the third on.
async fn numbering() -> Target {
    let target = Target::start().await;
    target.behave(|call| match call.n() % 10 {
        3 => (422, json!({ "reason": "bad" })),
        _ => (200, json!([call.n(), { "of": call.n() }])),
    });
    target
}

fn to_bucket(config: Value) -> Value {
    let mut writer = json!({
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": { "Bucket": "results", "Prefix": "out/each" },
    });
    if !config.is_null() {
        writer["WriterConfig"] = config;
    }
    writer
}

async fn service(writer: &Value, target: &Target) -> (World, ObjectService) {
    let mut world = World::empty();
    world.limits = Limits { object_part_bytes: 256, map_page_items: 7, ..world.limits };
    let service = world.storage("results").await;
    world.workflow("each", &MAP.replace("WRITER", &writer.to_string()), target);
    (world, service)
}

/// The files by their names, the manifest first checked against what is there.
fn files(service: &ObjectService, output: &Value) -> Vec<(String, String)> {
    let arn = output["MapRunArn"].as_str().unwrap();
    let id = arn.rsplit(':').next().unwrap();
    let key = format!("out/each/{id}/manifest.json");
    let details = json!({ "Bucket": "results", "Key": key });
    assert_eq!(output, &json!({ "MapRunArn": arn, "ResultWriterDetails": details }));
    let text = |key: &str| {
        let bytes = service.get("results", key).unwrap_or_else(|| panic!("no {key}"));
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let manifest: Value = serde_json::from_str(&text(&key)).unwrap();
    assert_eq!(manifest["DestinationBucket"], "results");
    assert_eq!(manifest["MapRunArn"], arn);
    let mut found = Vec::new();
    for column in ["FAILED", "PENDING", "SUCCEEDED"] {
        for file in manifest["ResultFiles"][column].as_array().unwrap() {
            let key = file["Key"].as_str().unwrap();
            let text = text(key);
            assert_eq!(file["Size"], text.len());
            found.push((key.rsplit('/').next().unwrap().to_owned(), text));
        }
    }
    assert_eq!(service.keys("results").len(), found.len() + 1);
    assert_eq!(service.open_uploads(), 0);
    found
}

/// What the state's output would be, had the map run come to its end.
async fn written_by(running: &Running, map_run: MapRunId) -> Value {
    let arn = running.engine.map_run(map_run).await.unwrap().unwrap().map_run_arn;
    let key = format!("out/each/{}/manifest.json", arn.rsplit(':').next().unwrap());
    json!({ "MapRunArn": arn, "ResultWriterDetails": { "Bucket": "results", "Key": key } })
}

async fn written(config: Value, count: u64) -> Vec<(String, String)> {
    let target = numbering().await;
    let (world, service) = service(&to_bucket(config), &target).await;
    let running = world.open().await;
    let id = running.start("each", items(count)).await;
    let output = running.output(id).await;
    running.expect_sound().await;
    files(&service, &output)
}

#[tokio::test(flavor = "multi_thread")]
async fn children_whole() {
    let files = written(Value::Null, 25).await;
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["FAILED_0.json", "SUCCEEDED_0.json"]);
    let of = |at: usize| serde_json::from_str::<Vec<Value>>(&files[at].1).unwrap();
    let (failed, succeeded) = (of(0), of(1));
    assert_eq!((failed.len(), succeeded.len()), (3, 22));
    assert_eq!(failed[0]["Status"], "FAILED");
    assert_eq!(failed[0]["Error"], "States.Http.StatusCode.422");
    assert_eq!(failed[0]["Input"], r#"{"sku":"P","n":3}"#);
    assert_eq!(succeeded[4]["Output"], r#"[5,{"of":5}]"#);
    assert_eq!(succeeded[4]["Input"], r#"{"sku":"P","n":5}"#);
    assert_eq!(succeeded[4]["Status"], "SUCCEEDED");
    let arn = succeeded[4]["ExecutionArn"].as_str().unwrap();
    assert!(arn.ends_with(succeeded[4]["Name"].as_str().unwrap()), "{arn}");
    for date in ["StartDate", "StopDate"] {
        assert!(succeeded[4][date].as_str().unwrap().ends_with('Z'), "{}", succeeded[4]);
    }
}

/// They are read fewer at a time than there are items in a page, or written so.
#[tokio::test(flavor = "multi_thread")]
async fn children_with_large_outputs() {
    let check = async |map_page_bytes: usize, letters: usize| {
        let target = Target::start().await;
        target.behave(move |call| match call.n() % 10 {
            3 => (422, json!({})),
            _ => (200, json!({ "n": call.n(), "text": "x".repeat(letters) })),
        });
        let (mut world, service) = service(&to_bucket(Value::Null), &target).await;
        world.limits = Limits { map_page_bytes, object_part_bytes: 100_000, ..world.limits };
        let running = world.open().await;
        let id = running.start("each", items(65)).await;
        let files = files(&service, &running.output(id).await);
        running.expect_sound().await;
        let numbers = |name: &str, field: &str| {
            let (_, text) = files.iter().find(|(file, _)| file.starts_with(name)).unwrap();
            let children: Vec<Value> = serde_json::from_str(text).unwrap();
            let number = |child: &Value| {
                let shown: Value = serde_json::from_str(child[field].as_str().unwrap()).unwrap();
                shown["n"].as_u64().unwrap()
            };
            children.iter().map(number).collect::<Vec<_>>()
        };
        let succeeded: Vec<u64> = (0..65).filter(|n| n % 10 != 3).collect();
        assert_eq!(numbers("SUCCEEDED", "Output"), succeeded);
        assert_eq!(numbers("SUCCEEDED", "Input"), succeeded);
        assert_eq!(numbers("FAILED", "Input"), [3, 13, 23, 33, 43, 53, 63]);
        let counts = running.map_runs(id).await[0].counts.items;
        assert_eq!(counts.results_written, 65);
    };
    check(120, 50).await;
    check(1_000_000, 30_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_alone() {
    let compact = written(json!({ "Transformation": "COMPACT" }), 5).await;
    assert_eq!(compact[1].0, "SUCCEEDED_0.json");
    assert_eq!(compact[1].1, r#"[[0,{"of":0}],[1,{"of":1}],[2,{"of":2}],[4,{"of":4}]]"#);
    let config = json!({ "Transformation": "FLATTEN", "OutputType": "JSONL" });
    let flat = written(config, 3).await;
    let lines = "0\n{\"of\":0}\n1\n{\"of\":1}\n2\n{\"of\":2}\n";
    assert_eq!(flat, [("SUCCEEDED_0.jsonl".to_owned(), lines.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_split_at_their_limit() {
    let target = numbering().await;
    let writer = to_bucket(json!({ "Transformation": "COMPACT" }));
    let (mut world, service) = service(&writer, &target).await;
    world.limits.result_file_bytes = 100;
    let running = world.open().await;
    let id = running.start("each", items(30)).await;
    let files = files(&service, &running.output(id).await);
    assert!(files.iter().all(|(_, text)| text.len() <= 100 || text.contains("FAILED")));
    let outputs = files.iter().filter(|(name, _)| name.starts_with("SUCCEEDED"));
    let outputs: Vec<Value> =
        outputs.flat_map(|(_, text)| serde_json::from_str::<Vec<Value>>(text).unwrap()).collect();
    let expected = (0..30).filter(|n| n % 10 != 3).map(|n| json!([n, { "of": n }]));
    assert_eq!(outputs, expected.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_after_a_restart() {
    let config = json!({ "Transformation": "FLATTEN", "OutputType": "JSONL" });
    let straight = written(config.clone(), 43).await;
    let target = numbering().await;
    let (world, service) = service(&to_bucket(config), &target).await;
    let running = world.open().await;
    let id = running.start("each", items(43)).await;
    until("some are done", async || target.taken().len() >= 15).await;
    target.close_gate();
    running.stop().await;
    target.open_gate();
    let running = world.open().await;
    let output = running.output(id).await;
    running.expect_sound().await;
    let outputs = |files: &[(String, String)]| {
        files.iter().find(|(name, _)| name.starts_with("SUCCEEDED")).cloned()
    };
    assert_eq!(outputs(&files(&service, &output)), outputs(&straight));
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_in_another_form_without_a_bucket() {
    let check = async |config: Value, expected: Value| {
        let target = numbering().await;
        let mut world = World::empty();
        let writer = json!({ "WriterConfig": config });
        world.workflow("each", &MAP.replace("WRITER", &writer.to_string()), &target);
        let running = world.open().await;
        let id = running.start("each", items(2)).await;
        assert_eq!(running.output(id).await, expected);
    };
    let (a, b) = (json!([0, { "of": 0 }]), json!([1, { "of": 1 }]));
    check(json!({ "Transformation": "COMPACT" }), json!([a, b])).await;
    check(json!({ "Transformation": "FLATTEN" }), json!([0, { "of": 0 }, 1, { "of": 1 }])).await;
    let lines = json!({ "Transformation": "FLATTEN", "OutputType": "JSONL" });
    check(lines, json!("0\n{\"of\":0}\n1\n{\"of\":1}\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_map_run_writes_what_became_of_its_children() {
    let target = numbering().await;
    let (world, service) = service(&to_bucket(Value::Null), &target).await;
    let running = world.open().await;
    let id = running.start("each", items(25)).await;
    until("some are done", async || target.taken().len() >= 5).await;
    target.close_gate();
    until("three are at work", async || target.waiting() == 3).await;
    assert!(running.engine.stop_execution(id, None, None).await.unwrap());
    running.expect_sound().await;
    target.open_gate();
    let map_run = &running.map_runs(id).await[0];
    assert_eq!((map_run.status, &map_run.error), (MapRunStatus::Aborted, &None));
    let files = files(&service, &written_by(&running, map_run.id).await);
    let of = |name: &str| {
        let file = files.iter().find(|(file, _)| file.starts_with(name)).unwrap();
        serde_json::from_str::<Vec<Value>>(&file.1).unwrap()
    };
    let counts = map_run.counts.items;
    let count = |count: i64| usize::try_from(count).unwrap();
    let failed = of("FAILED");
    let aborted = failed.iter().filter(|child| child["Status"] == "ABORTED").count();
    assert_eq!(failed.len(), count(counts.unsuccessful()));
    assert_eq!((aborted, counts.aborted), (3, 3));
    assert_eq!(of("SUCCEEDED").len(), count(counts.succeeded));
    let pending = of("PENDING");
    assert!(!pending.is_empty() && pending.len() == count(counts.pending()));
    assert!(pending.iter().all(|child| child["Status"] == "PENDING"), "{}", pending[0]);
    assert_eq!(counts.results_written, counts.ended());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_run_whose_execution_timed_out_writes_as_well() {
    let target = numbering().await;
    let (mut world, service) = service(&to_bucket(Value::Null), &target).await;
    let definition = &mut world.declared.workflows[0].definition;
    *definition = definition.replace("StartAt: Each", "TimeoutSeconds: 1\nStartAt: Each");
    let running = world.open().await;
    target.close_gate();
    let id = running.start("each", items(25)).await;
    assert_eq!(running.ended(id).await.status, ExecutionStatus::TimedOut);
    running.expect_sound().await;
    target.open_gate();
    let map_run = &running.map_runs(id).await[0];
    assert_eq!(map_run.status, MapRunStatus::Aborted);
    let files = files(&service, &written_by(&running, map_run.id).await);
    let told: usize =
        files.iter().map(|(_, text)| serde_json::from_str::<Vec<Value>>(text).unwrap().len()).sum();
    assert_eq!(i64::try_from(told).unwrap(), map_run.counts.items.total);
    assert!(files.iter().all(|(name, _)| !name.starts_with("SUCCEEDED")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_map_run_ends_though_nothing_can_be_written() {
    let target = numbering().await;
    let put = "arn:aws:states:::s3:putObject";
    let nowhere = json!({ "Resource": put, "Arguments": { "Bucket": "none" } });
    let (world, _service) = service(&nowhere, &target).await;
    let running = world.open().await;
    target.close_gate();
    let id = running.start("each", items(5)).await;
    until("three are at work", async || target.waiting() == 3).await;
    assert!(running.engine.stop_execution(id, None, None).await.unwrap());
    running.expect_sound().await;
    target.open_gate();
    let map_run = &running.map_runs(id).await[0];
    assert_eq!(map_run.status, MapRunStatus::Aborted);
    assert_eq!(map_run.error.as_deref(), Some("States.ResultWriterFailed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written() {
    let check = async |writer: Value, expected: &str| {
        let target = numbering().await;
        let (world, _service) = service(&writer, &target).await;
        let running = world.open().await;
        let id = running.start("each", items(2)).await;
        let cause = running.failure(id, "States.ResultWriterFailed").await;
        assert!(cause.contains(expected), "{cause}");
        running.expect_sound().await;
    };
    let put = "arn:aws:states:::s3:putObject";
    let nowhere = json!({ "Resource": put, "Arguments": { "Bucket": "none" } });
    check(nowhere, "there is no bucket `none`; declare it under `buckets`").await;
    check(json!({ "Resource": put, "Arguments": {} }), "`Bucket` is required").await;
    let other = json!({ "Resource": "arn:aws:states:::ftp:put", "Arguments": {} });
    check(other, "The ResultWriter resource arn:aws:states:::ftp:put is not offered").await;
    let outside =
        json!({ "Resource": put, "Arguments": { "Bucket": "results", "Prefix": "../x" } });
    check(outside, "cannot be a key of the bucket `results`").await;
}
