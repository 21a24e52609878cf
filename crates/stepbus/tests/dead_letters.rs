//! A target that is down for longer than its retry policy, and the way back.

mod common;

use common::{Sandbox, Server, totals, wait_for};
use serde_json::json;

/// The ERP's subscription gives up after two seconds; its line in the example is the second.
const IMPATIENT: (&str, &str) = (
    "    retry: { max_age: 24h, max_attempts: 185 }\n    dead_letter: erp-failures",
    "    retry: { max_age: 2s, max_attempts: 185 }\n    dead_letter: erp-failures",
);

/// Brings the ERP up, and waits until it is called again: what is redriven while its circuit is
/// open for longer than two seconds dies once more.
fn bring_up(sandbox: &Sandbox, server: &Server) {
    sandbox.tell("erp/up", &json!({}));
    wait_for("the end of the ERP's pause", || {
        let destinations = server.get("/admin/destinations");
        let lines = destinations.as_array().unwrap();
        let erp = lines.iter().find(|line| line["destination"] == "erp").unwrap();
        erp["condition"]["paused_until"].is_null().then_some(())
    });
}

#[test]
fn what_a_dead_target_missed_comes_home_by_redrive() {
    const PRODUCTS: i64 = 120;
    let folder = tempfile::tempdir().unwrap();
    let project = common::changed_example(folder.path(), &[IMPATIENT]);
    let sandbox = Sandbox::start(&["--products", "120"]);
    let data = folder.path().join("data");
    let server = Server::start(&project, &data, &sandbox);
    sandbox.tell("erp/down", &json!({}));
    let run = server.finished(&server.sync());

    assert_eq!(totals(&run, "load-erp")["dead_lettered"], PRODUCTS);
    assert_eq!(totals(&run, "load-erp")["pending"], 0);
    for other in ["load-crm", "load-shop"] {
        assert_eq!(totals(&run, other)["delivered"], PRODUCTS, "{other}");
    }
    let letters = server.get("/admin/dead-letters?queue=erp-failures&limit=1000");
    assert_eq!(letters.as_array().unwrap().len(), usize::try_from(PRODUCTS).unwrap());
    let attributes = &letters[0]["attributes"];
    assert_eq!(attributes["EXHAUSTED_RETRY_CONDITION"], "MaximumEventAgeInSeconds");
    for name in ["RULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE", "RETRY_ATTEMPTS"] {
        assert!(attributes[name].is_string(), "{name} in {attributes:#}");
    }
    let key = sandbox.addresses.erp_key.clone();
    assert!(!letters.to_string().contains(&key), "a secret in the dead letters");

    bring_up(&sandbox, &server);
    let answer = server.post("/admin/dead-letters/redrive", &json!({ "queue": "erp-failures" }));
    assert_eq!(answer["done"], PRODUCTS, "{answer}");
    let id = run["id"].as_str().unwrap();
    wait_for("the redriven deliveries", || {
        let run = server.get(&format!("/admin/runs/{id}"));
        (totals(&run, "load-erp")["delivered"] == PRODUCTS).then_some(())
    });
    assert_eq!(server.get("/admin/dead-letters"), json!([]));
    sandbox.assert_verified();
    server.kill();
    common::assert_audit_finds_nothing(&data);
}

#[test]
fn purged_dead_letters_count_as_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let project = common::changed_example(folder.path(), &[IMPATIENT]);
    let sandbox = Sandbox::start(&["--products", "8"]);
    let server = Server::start(&project, &folder.path().join("data"), &sandbox);
    sandbox.tell("erp/down", &json!({}));
    let run = server.finished(&server.sync());
    let id = run["id"].as_str().unwrap();
    let wish = json!({ "all": true, "reason": "the ERP was replaced" });
    assert_eq!(server.post("/admin/dead-letters/purge", &wish)["done"], 8);
    let run = server.get(&format!("/admin/runs/{id}"));
    let erp = totals(&run, "load-erp");
    assert_eq!((&erp["dead_lettered"], &erp["discarded"]), (&json!(0), &json!(8)));
}

/// The answer of a command that talks to the server.
fn ask(server: &Server, arguments: &[&str]) -> serde_json::Value {
    let mut all = vec!["--json", "--url", server.operators.as_str()];
    all.extend(arguments);
    let output = common::stepbus(&all);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_str(&common::stdout(&output)).unwrap()
}

#[test]
fn edit_one_redrive_some_discard_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let project = common::changed_example(folder.path(), &[IMPATIENT]);
    let sandbox = Sandbox::start(&["--products", "12"]);
    let data = folder.path().join("data");
    let server = Server::start(&project, &data, &sandbox);
    sandbox.tell("erp/down", &json!({}));
    let run = server.finished(&server.sync());
    let groups = ask(&server, &["dlq", "groups", "--subscription", "load-erp"]);
    let counts = groups.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 12, "{groups:#}");
    assert!(groups.as_array().unwrap().len() <= 3, "few causes for many: {groups:#}");

    // One is edited; what is sent is what was written, as another revision.
    let letters = ask(&server, &["dlq", "list", "--queue", "erp-failures"]);
    let id = letters[0]["id"].as_str().unwrap();
    let key = letters[0]["key"].as_str().unwrap();
    let before = ask(&server, &["dlq", "payload", id]);
    let text = before["payload"].to_string();
    let edited =
        ask(&server, &["dlq", "edit", id, "--payload", text.as_str(), "--reason", "checked"]);
    assert_eq!((&edited["revision"], &edited["payload"]), (&json!(1), &before["payload"]));
    assert_eq!(edited["edited"]["original"], before["payload"]);

    bring_up(&sandbox, &server);
    let one = ask(&server, &["dlq", "redrive", "--key", key, "--rate", "50"]);
    assert_eq!((&one["done"], &one["status"]), (&json!(1), &json!("SUCCEEDED")), "{one}");
    let path = format!("/admin/runs/{}", run["id"].as_str().unwrap());
    wait_for("the edited one", || {
        (totals(&server.get(&path), "load-erp")["delivered"] == 1).then_some(())
    });
    let rest = ["dlq", "purge", "--subscription", "load-erp", "--reason", "the ERP is replaced"];
    assert_eq!(ask(&server, &rest)["done"], 11);
    let run = server.get(&path);
    let erp = totals(&run, "load-erp");
    assert_eq!((&erp["dead_lettered"], &erp["discarded"]), (&json!(0), &json!(11)));

    // What the audit tells adds up to what became of them.
    let audit = ask(&server, &["audit-log"]);
    let told = |action: &str| {
        let lines = audit.as_array().unwrap().iter().filter(|line| line["action"] == action);
        lines.map(|line| line["detail"]["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!((told("dlq.edit"), told("dlq.redrive"), told("dlq.purge")), (1, 1, 11));
    let purge = audit.as_array().unwrap().iter().find(|line| line["action"] == "dlq.purge");
    let purge = purge.unwrap();
    assert_eq!(purge["detail"]["reason"], "the ERP is replaced");
    assert!(purge["detail"]["filter"]["matching"]["subscription"].is_string(), "{purge:#}");
    server.kill();
    common::assert_audit_finds_nothing(&data);
}
