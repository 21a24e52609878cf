//! A call in flight when the process is killed: sent again, or failed, as the project file says.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::{Server, assert_audit_finds_nothing, wait_for};
use serde_json::{Value, json};

/// A bank that never answers the first call of a path: paths and idempotency keys.
#[derive(Clone, Default)]
struct Bank(Arc<Mutex<Vec<(String, String)>>>);

impl Bank {
    fn start() -> (Bank, String) {
        let (bank, listener) = (Bank::default(), TcpListener::bind("127.0.0.1:0").unwrap());
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taking = bank.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let taking = taking.clone();
                std::thread::spawn(move || taking.serve(stream));
            }
        });
        (bank, url)
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut key) = (0, String::new());
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if let Some(value) = line.strip_prefix("idempotency-key: ") {
                value.clone_into(&mut key);
            }
        }
        reader.read_exact(&mut vec![0; length]).ok()?;
        self.0.lock().unwrap().push((path.clone(), key));
        if self.keys(&path).len() == 1 {
            // Until the caller is gone.
            let _ = reader.read_to_end(&mut Vec::new());
            return None;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
            .ok()
    }

    fn keys(&self, path: &str) -> Vec<String> {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|call| call.0 == path).map(|call| call.1.clone()).collect()
    }
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
    let (bank, url) = Bank::start();
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    std::fs::write(folder.path().join("charge.asl.yaml"), CHARGE).unwrap();
    let data = folder.path().join("data");
    let serve = |data: &Path| Server::start_with(&project, data, [("BANK_URL", url.as_str())]);

    let server = serve(&data);
    let (careful, eager) = (start(&server, "careful"), start(&server, "eager"));
    wait_for("both calls", || {
        (bank.keys("/careful").len() == 1 && bank.keys("/eager").len() == 1).then_some(())
    });
    server.kill();

    let server = serve(&data);
    assert_eq!(output(&server, &eager), "charged");
    let told = output(&server, &careful);
    assert_eq!(told["Error"], "Stepbus.InFlightAtCrash");
    assert!(told["Cause"].as_str().unwrap().contains("in_flight_at_crash"), "{told}");
    let keys = bank.keys("/eager");
    assert_eq!((keys.len(), keys[0] == keys[1], keys[0].is_empty()), (2, true, false));
    assert_eq!(bank.keys("/careful").len(), 1, "it is not sent again");

    // Where nothing is in flight the same states simply call.
    assert_eq!(output(&server, &start(&server, "careful")), "charged");
    server.kill();
    assert_audit_finds_nothing(&data);
}
