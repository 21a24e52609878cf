//! The public endpoint, status by status.

mod common;

use common::{SYNC_KEY, Sandbox, Server};
use serde_json::json;

#[test]
fn every_answer_of_the_sync_endpoint() {
    let (sandbox, data) = (Sandbox::start(&["--products", "40"]), tempfile::tempdir().unwrap());
    let server = Server::start(&common::example(), data.path(), &sandbox);
    let key = ("x-api-key", SYNC_KEY);

    let (status, answer) = server.call("products", &[]).unwrap();
    assert_eq!((status, &answer["error"]), (401, &json!("Unauthorized")));
    let (status, _) = server.call("products", &[("x-api-key", "wrong")]).unwrap();
    assert_eq!(status, 401);
    let (status, answer) = server.call("wine", &[key]).unwrap();
    assert_eq!(status, 404);
    assert_eq!(answer["message"], "unknown container 'wine'; there are: products");

    // The MDM is down, so the first run stays open while the second is refused.
    sandbox.tell("mdm/down", &json!({}));
    let (status, first) = server.call("products", &[key, ("idempotency-key", "a")]).unwrap();
    assert_eq!(status, 202);
    let (status, busy) = server.call("products", &[key]).unwrap();
    assert_eq!((status, &busy["run"]), (409, &first["run"]));
    let (status, again) = server.call("products", &[key, ("idempotency-key", "a")]).unwrap();
    assert_eq!((status, &again["run"], &again["again"]), (202, &first["run"], &json!(true)));
    sandbox.tell("mdm/up", &json!({}));
    let run = server.finished(first["run"].as_str().unwrap());
    assert_eq!(run["origin"], "endpoint:sync");
    assert_eq!(run["label"], "container=products");

    let (status, second) = server.call("products", &[key]).unwrap();
    assert_eq!(status, 202);
    assert_ne!(second["run"], first["run"]);
    let run = server.finished(second["run"].as_str().unwrap());
    // Nothing changed in between, and the CRM's subscription says to skip what has not.
    assert_eq!(common::totals(&run, "load-crm")["unchanged"], 40);
    sandbox.assert_verified();
}

#[test]
fn bodies_that_are_too_large_or_broken_start_nothing() {
    let (sandbox, data) = (Sandbox::start(&["--products", "5"]), tempfile::tempdir().unwrap());
    let server = Server::start(&common::example(), data.path(), &sandbox);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let post = |content_type: &str, body: &[u8]| {
        let request = agent.post(format!("{}/sync/products", server.public));
        let request = request.header("x-api-key", SYNC_KEY).header("content-type", content_type);
        request.send(body).unwrap().status().as_u16()
    };
    assert_eq!(post("text/plain", &vec![b'x'; 1024 * 1024 + 1]), 413);
    assert_eq!(post("application/json", b"{\"a\":"), 400);
    assert_eq!(post("application/json", &[0xff, 0xfe]), 400);
    assert_eq!(server.get("/admin/runs"), json!([]));
}

#[test]
fn health_and_metrics_tell_the_books() {
    let (sandbox, data) = (Sandbox::start(&["--products", "12"]), tempfile::tempdir().unwrap());
    let server = Server::start(&common::example(), data.path(), &sandbox);
    server.finished(&server.sync());
    assert_eq!(server.get("/healthz"), json!({ "status": "ok" }));
    let metrics = ureq::get(format!("{}/metrics", server.operators)).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    for line in [
        r#"stepbus_subscription_matched{name="load-crm"} 12.0"#,
        r#"stepbus_subscription_outcomes{name="load-shop",outcome="delivered"} 12.0"#,
        r#"stepbus_workflow_ended{name="fetch-products",outcome="SUCCEEDED"} 1.0"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
