//! Events by the real binary: why they match or do not, and what is refused of a call.

mod common;

use std::io::Write;
use std::process::{Output, Stdio};

use common::{Server, stdout, stepbus};
use serde_json::{Value, json};

const PATTERN: &str = r#"{"source":["shop"],"detail":{"price":[{"numeric":["<",5]}]}}"#;
const DEAR: &str = r#"{"source":"shop","detail":{"price":7}}"#;
const CHEAP: &str = r#"{"source":"shop","detail":{"price":3}}"#;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_event_is_explained_without_a_server() {
    let explain = |pattern: &str, event: &str| {
        stepbus(&["events", "explain", "--pattern", pattern, "--event", event])
    };
    let output = explain(PATTERN, CHEAP);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("The event matches the pattern.\n"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("event.json");
    std::fs::write(&file, DEAR).unwrap();
    let output = explain(PATTERN, file.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("✗ detail.price: found 7; asked for"), "{text}");
    assert!(text.contains("✓ source"), "{text}");

    let mut command = common::binary();
    command.args(["--json", "events", "explain", "--pattern", PATTERN, "--event", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(DEAR.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["matched"], false);
    let wrong: Vec<&Value> = answer["alternatives"][0]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|field| field["matched"] == false)
        .collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!((&wrong[0]["field"], &wrong[0]["found"]), (&json!("detail.price"), &json!(["7"])));

    for (pattern, event, expected) in [
        (r#"{"source":"shop"}"#, CHEAP, "Event pattern is not valid. Reason:"),
        (r#"{"source":["shop"]"#, CHEAP, "line: 1, column:"),
        (PATTERN, r#"{"source":"#, "Event is not valid. Reason:"),
        (PATTERN, "no-such-file.json", "--event is neither JSON nor a file"),
        ("-", "-", "only one of --event and --pattern"),
    ] {
        let output = explain(pattern, event);
        assert_eq!(output.status.code(), Some(2), "{pattern} {event}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = stepbus(&["events", "explain", "--pattern", PATTERN]);
    assert_eq!(output.status.code(), Some(2), "an event is missing");
}

const PROJECT: &str = r#"
name: prices
buses:
  prices: {}
subscriptions:
  cheap:
    bus: prices
    pattern: { source: [shop], detail: { price: [ { numeric: ["<", 5] } ] } }
    target: { queue: bargains }
"#;

#[test]
fn an_event_of_the_log_is_explained_by_a_subscription() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    let server = Server::start_with(&project, &folder.path().join("data"), []);
    let entry = |price: i64| json!({ "bus": "prices", "source": "shop", "detail-type": "price", "detail": { "price": price } });
    let answer = server.post("/admin/events", &json!({ "entries": [entry(7), entry(3)] }));
    for (place, code) in [(0, 1), (1, 0)] {
        let id = answer["entries"][place]["event"].as_str().unwrap();
        let output = stepbus(&[
            "--url",
            &server.operators,
            "events",
            "explain",
            id,
            "--subscription",
            "cheap",
        ]);
        assert_eq!(output.status.code(), Some(code), "{}{}", stdout(&output), stderr(&output));
    }
    let output = stepbus(&[
        "--url",
        &server.operators,
        "events",
        "explain",
        "evt-999999999",
        "--subscription",
        "cheap",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("the log holds no"), "{}", stderr(&output));
}

#[test]
fn an_entry_that_is_wrong_is_refused_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    let data = folder.path().join("data");
    let server = Server::start_with(&project, &data, []);
    let sound = r#"{"bus":"prices","source":"shop","detail-type":"price","detail":{"price":3}}"#;
    let other = |from: &str, to: &str| {
        assert!(sound.contains(from), "{from}");
        sound.replace(from, to)
    };
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
    let wrong = [
        ("7".to_owned(), "InvalidArgument", "invalid type"),
        (other(r#""source":"shop""#, r#""source":7"#), "InvalidArgument", "expected a string"),
        (other("detail-type", "detail_type"), "InvalidArgument", "unknown field `detail_type`"),
        (other(r#""source":"shop","#, ""), "InvalidArgument", "missing field `source`"),
        (other("}}", r#"},"source":"x"}"#), "InvalidArgument", "duplicate field `source`"),
        (other("}}", r#"},"priority":"urgent"}"#), "InvalidArgument", "`urgent`"),
        (other(r#"{"price":3}"#, "[3]"), "MalformedDetail", "must be a JSON object"),
        (other("3", "1e999"), "MalformedDetail", "number out of range"),
        (other("3", r#""\ud800""#), "MalformedDetail", "cannot be read"),
        (other(r#"{"price":3}"#, &deep), "MalformedDetail", "recursion limit"),
        (other("prices", "nowhere"), "ResourceNotFoundException", "nowhere"),
    ];
    let mut entries: Vec<&str> = vec![sound];
    entries.extend(wrong.iter().map(|(entry, _, _)| entry.as_str()));
    entries.push(sound);
    let (status, answer) = send(&server, &format!("{{\"entries\":[{}]}}", entries.join(",")));
    assert_eq!((status, &answer["failed"]), (200, &json!(wrong.len())), "{answer:#}");
    for (place, (entry, code, message)) in wrong.iter().enumerate() {
        let result = &answer["entries"][place + 1];
        assert_eq!(&result["error"], code, "{entry}: {result}");
        let told = result["message"].as_str().unwrap();
        assert!(told.contains(message), "{entry}: {told}");
    }
    for place in [0, wrong.len() + 1] {
        assert!(answer["entries"][place]["event"].is_string(), "{answer:#}");
    }
    assert_eq!(server.get("/admin/events").as_array().unwrap().len(), 2);

    let many = vec![sound; 1_001].join(",");
    for body in [
        "{".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"entries":7}"#.to_owned(),
        r#"{"entries":[]}"#.to_owned(),
        format!(r#"{{"entries":[{many}]}}"#),
    ] {
        let (status, answer) = send(&server, &body);
        assert!((400..500).contains(&status), "{status} {answer}");
        assert_eq!(answer["error"], "ValidationException");
        assert!(!answer["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(server.get("/admin/events").as_array().unwrap().len(), 2);
    server.kill();
    common::assert_audit_finds_nothing(&data);
}

/// The status and the answer of a call as it is written.
fn send(server: &Server, body: &str) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let request = agent.post(format!("{}/admin/events", server.operators));
    let mut answer = request.header("content-type", "application/json").send(body).unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}
