//! A call in flight when the process is killed: sent again, or failed, as the project file says.

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::taker::Taker;
use common::{Server, assert_audit_finds_nothing, wait_for};
use serde_json::{Value, json};

/// A bank that never answers the first call of a path.
fn bank() -> Taker {
    let mut asked = HashSet::new();
    Taker::start(move |call| (!asked.insert(call.path.clone())).then(|| (200, json!({}))))
}

fn keys_of(bank: &Taker, path: &str) -> Vec<String> {
    let calls = bank.calls().into_iter().filter(|call| call.path == path);
    calls.map(|call| call.idempotency_key().to_owned()).collect()
}

const PROJECT: &str = r#"
name: payments
workflows:
  careful:
    definition: charge.asl.yaml
    in_flight_at_crash: { fail: [Charge] }
  eager:
    definition: charge.asl.yaml
"#;

const CHARGE: &str = r#"
QueryLanguage: JSONata
StartAt: Charge
States:
  Charge:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments:
      ApiEndpoint: "{% '${BANK_URL}/' & $states.input.path %}"
      Method: POST
      RequestBody: { amount: 5 }
    Output: charged
    Catch:
      - ErrorEquals: [Stepbus.InFlightAtCrash]
        Next: Unknown
        Output: "{% $states.errorOutput %}"
    End: true
  Unknown:
    Type: Succeed
"#;

fn start(server: &Server, workflow: &str) -> String {
    let body = json!({ "input": { "path": workflow } });
    let started = server.post(&format!("/admin/workflows/{workflow}/executions"), &body);
    started["execution"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
}

fn output(server: &Server, id: &str) -> Value {
    wait_for("the end of the execution", || {
        let execution = server.get(&format!("/admin/executions/{id}"));
        (execution["status"] == "SUCCEEDED").then(|| execution["output"].clone())
    })
}

#[test]
fn killed_with_a_call_in_flight() {
    let bank = bank();
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    std::fs::write(folder.path().join("charge.asl.yaml"), CHARGE).unwrap();
    let data = folder.path().join("data");
    let serve = |data: &Path| Server::start_with(&project, data, [("BANK_URL", bank.url.as_str())]);

    let server = serve(&data);
    let (careful, eager) = (start(&server, "careful"), start(&server, "eager"));
    wait_for("both calls", || {
        (keys_of(&bank, "/careful").len() == 1 && keys_of(&bank, "/eager").len() == 1).then_some(())
    });
    server.kill();

    let server = serve(&data);
    assert_eq!(output(&server, &eager), "charged");
    let told = output(&server, &careful);
    assert_eq!(told["Error"], "Stepbus.InFlightAtCrash");
    assert!(told["Cause"].as_str().unwrap().contains("in_flight_at_crash"), "{told}");
    let keys = keys_of(&bank, "/eager");
    assert_eq!((keys.len(), keys[0] == keys[1], keys[0].is_empty()), (2, true, false));
    assert_eq!(keys_of(&bank, "/careful").len(), 1, "it is not sent again");

    // Where nothing is in flight the same states simply call.
    assert_eq!(output(&server, &start(&server, "careful")), "charged");
    server.kill();
    assert_audit_finds_nothing(&data);
}
