//! Schedules by the real binary: a tick over crashes, and the way back for one that failed.

mod common;

use std::path::Path;

use common::{Server, stdout, stepbus, wait_for};
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: ticks
buses:
  ticks: {}
subscriptions:
  count:
    bus: ticks
    pattern: { detail-type: [tick] }
    target: { queue: counted }
schedules:
  hourly:
    schedule: rate(1 hour)
    target: { event: { bus: ticks, detail-type: tick } }
    input: INPUT
    retry: { max_attempts: 0 }
    dead_letter: late
"#;

fn serve(folder: &Path, input: &str, crash_at: Option<&str>) -> Option<Server> {
    let project = folder.join("stepbus.yaml");
    std::fs::write(&project, PROJECT.replace("INPUT", input)).unwrap();
    Server::launch(&project, &folder.join("data"), [("UNUSED", "")], crash_at)
}

fn counted(server: &Server) -> Value {
    let queues = server.get("/admin/queues");
    let mut lines = queues.as_array().unwrap().iter();
    lines.find(|line| line["queue"] == "counted").unwrap()["messages"].clone()
}

#[test]
fn a_tick_fires_exactly_once_wherever_the_process_dies() {
    // Between the tick and its commit, after it, and at each of the commits around it.
    let mut points = vec!["accept.before_commit:1".to_owned(), "accept.after_commit:1".to_owned()];
    points.extend(
        (1..=3).flat_map(|nth| ["before", "after"].map(|side| format!("commit.{side}:{nth}"))),
    );
    for point in points {
        let folder = tempfile::tempdir().unwrap();
        if let Some(mut server) = serve(folder.path(), "{}", Some(&point)) {
            // The point may lie behind all that happens.
            let fired = |server: &Server| server.get("/admin/schedules")[0]["fired"].clone();
            match point.starts_with("accept") {
                true => server.died(),
                false => {
                    wait_for("the tick or the death", || {
                        (server.is_dead() || fired(&server) == 1).then_some(())
                    });
                    server.kill();
                }
            }
        }
        let server = serve(folder.path(), "{}", None).unwrap();
        wait_for("the tick", || (counted(&server) == 1).then_some(()));
        let view = &server.get("/admin/schedules")[0];
        assert_eq!((&view["fired"], &view["missed"]), (&json!(1), &json!(0)), "{point}: {view}");
        server.kill();
        // Once more from what is on disk.
        let server = serve(folder.path(), "{}", None).unwrap();
        server.all_finished();
        assert_eq!(counted(&server), 1, "{point}");
        server.kill();
        common::assert_audit_finds_nothing(&folder.path().join("data"));
    }
}

#[test]
fn a_tick_that_failed_is_redriven_like_other_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), "\"{% $error('no ' & $schedule.name) %}\"", None).unwrap();
    let ask = |server: &Server, arguments: &[&str]| {
        let mut all = vec!["--json", "--url", server.operators.as_str()];
        all.extend(arguments);
        let output = stepbus(&all);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_str::<Value>(&stdout(&output)).unwrap()
    };
    let letters = wait_for("the dead letter", || {
        let letters = ask(&server, &["dlq", "list"]);
        (letters != json!([])).then_some(letters)
    });
    assert_eq!((&letters[0]["schedule"], &letters[0]["queue"]), (&json!("hourly"), &json!("late")));
    let groups = ask(&server, &["dlq", "groups"]);
    assert_eq!(groups[0]["schedules"], json!(["hourly"]), "{groups:#}");
    let refused = ask(&server, &["dlq", "redrive", "--queue", "late"]);
    assert_eq!((&refused["done"], &refused["refused"]), (&json!(0), &json!(1)), "{refused}");
    server.kill();
    let server = serve(folder.path(), "{}", None).unwrap();
    let done = ask(&server, &["dlq", "redrive", "--queue", "late"]);
    assert_eq!((&done["done"], &done["refused"]), (&json!(1), &json!(0)), "{done}");
    assert_eq!(counted(&server), 1);
    assert_eq!(ask(&server, &["dlq", "list"]), json!([]));
    let audit = ask(&server, &["audit-log"]);
    assert_eq!(audit[0]["detail"]["schedule"], "hourly", "{audit:#}");
    server.kill();
    common::assert_audit_finds_nothing(&folder.path().join("data"));
}
