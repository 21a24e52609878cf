//! Workflows tested, and executions taken out and replayed, by the real binary.

mod common;

use std::path::Path;
use std::process::Output;

use common::{Sandbox, Server, example, stdout, stepbus, wait_for};
use serde_json::{Value, json};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_example_tests_its_workflows() {
    let folder = example().join("workflows");
    let ids = folder.join("fetch-product-ids.test.yaml");
    let products = folder.join("fetch-products.test.yaml");
    let output = stepbus(&["workflows", "test", text(&ids), text(&products)]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with("9 passed, 0 failed\n"), "{}", stdout(&output));

    // What differs is told with its place, and fails the command.
    let copy = tempfile::tempdir().unwrap();
    let definition = "fetch-product-ids.asl.yaml";
    std::fs::copy(folder.join(definition), copy.path().join(definition)).unwrap();
    let broken = std::fs::read_to_string(&ids).unwrap().replace("FetchPage: 11", "FetchPage: 10");
    let file = copy.path().join("broken.test.yaml");
    std::fs::write(&file, &broken).unwrap();
    let output = stepbus(&["--json", "workflows", "test", text(&file), "--case", "down for good"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(0), &json!(1)));
    let failure = &report["files"][0]["cases"][0]["failures"][0];
    assert_eq!(failure["message"], "FetchPage: expected 10 calls, found 11");
    let line = broken.lines().position(|line| line.contains("FetchPage: 10")).unwrap() + 1;
    assert_eq!(failure["line"], line);
}

#[test]
fn one_state_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.yaml");
    std::fs::write(
        &file,
        r#"
Type: Task
QueryLanguage: JSONata
Resource: arn:aws:states:::http:invoke
Arguments: { url: "{% 'http://x/' & $sku %}" }
Retry: [{ ErrorEquals: [Busy], MaxAttempts: 2 }]
Catch: [{ ErrorEquals: [States.ALL], Next: Lost, Output: "{% $states.errorOutput.Cause %}" }]
Output: "{% $states.result.price * 2 %}"
End: true
"#,
    )
    .unwrap();
    let run = |more: &[&str]| {
        let mut arguments = vec!["--json", "workflows", "test-state", text(&file)];
        arguments.extend(["--variables", r#"{"sku": "A-1"}"#]);
        arguments.extend(more);
        let output = stepbus(&arguments);
        (serde_json::from_str::<Value>(&stdout(&output)).unwrap_or_default(), stderr(&output))
    };
    let (answer, _) = run(&["--mock-result", r#"{"price": 4}"#, "--level", "debug"]);
    assert_eq!((&answer["status"], &answer["output"]), (&json!("SUCCEEDED"), &json!(8)));
    assert_eq!(answer["inspectionData"]["afterArguments"], r#"{"url":"http://x/A-1"}"#);
    let (answer, _) = run(&["--mock-error", "Busy"]);
    assert_eq!(answer["status"], "RETRIABLE");
    let (answer, _) = run(&["--mock-error", "Busy", "--mock-cause", "for long", "--retries", "2"]);
    assert_eq!(
        (&answer["status"], &answer["output"]),
        (&json!("CAUGHT_ERROR"), &json!("for long"))
    );
    assert_eq!(answer["nextState"], "Lost");
    let (_, error) = run(&[]);
    assert!(error.contains("give its result with --mock-result"), "{error}");
}

#[test]
fn an_execution_is_replayed_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let project = common::changed_example(folder.path(), &[]);
    let sandbox = Sandbox::start(&["--products", "3"]);
    let data = folder.path().join("data");
    let server = Server::start(&project, &data, &sandbox);
    server.finished(&server.sync());
    let id = wait_for("the execution", || {
        let listed = server.get("/admin/executions?workflow=fetch-product-ids");
        Some(listed[0]["id"].as_str()?.to_owned())
    });
    let ask = |more: &[&str]| {
        let mut arguments = vec!["--json", "--url", server.operators.as_str(), "executions"];
        arguments.extend(more);
        let output = stepbus(&arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let file = folder.path().join("execution.json");
    std::fs::write(&file, ask(&["export", &id])).unwrap();
    let online = ask(&["replay", &id, "--until", "5"]);
    let whole = ask(&["replay", &id]);
    assert_eq!(ask(&["replay", "--from", text(&file), "--until", "5"]), online);
    let moment: Value = serde_json::from_str(&online).unwrap();
    assert_eq!((&moment["event"], &moment["status"]), (&json!(5), &json!("RUNNING")));
    assert_eq!(moment["threads"][0]["variables"]["container"], "products");
    let end: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(end["status"], "SUCCEEDED");

    let output =
        stepbus(&["--url", &server.operators, "executions", "replay", &id, "--until", "999"]);
    assert!(stderr(&output).contains("there is no event 999"), "{}", stderr(&output));

    // The same bytes from a data directory that no server uses.
    server.kill();
    let output = stepbus(&["--json", "executions", "replay", &id, "--data", text(&data)]);
    assert_eq!(stdout(&output), whole, "{}", stderr(&output));
    let cut = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, &cut[..cut.len() / 2]).unwrap();
    let output = stepbus(&["executions", "replay", "--from", text(&file)]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("cut off"), "{}", stderr(&output));
}
