//! The two workflows, run by the interpreter against the MDM itself, without an engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use stepbus_asl::{
    Command, Execution, Input, MapItem, MapRunOutcome, MapSource, Outcome, Program, RunTask, Start,
    WorkflowType,
};
use stepbus_document::Document;
use stepbus_model::Timestamp;

use super::{database, detail, file};
use crate::books::expected::products;
use crate::books::verify::same;
use crate::faults::{MDM_MIX, Misbehaviour};
use crate::http::{Request, Service, basic_credentials};
use crate::mdm::Mdm;

fn mdm() -> Mdm {
    let misbehaviour = Misbehaviour::new(MDM_MIX, 1, Duration::ZERO);
    Mdm::new("products".into(), "$R$", "user".into(), "secret", database(), misbehaviour)
}

fn program(name: &str) -> Program {
    let source =
        file(&format!("workflows/{name}.asl.yaml")).replace("${MDM_URL}", crate::mdm::BASE);
    let document = Document::parse(&source).unwrap();
    let program = Program::parse(&document, WorkflowType::Standard).unwrap();
    assert!(program.warnings().is_empty(), "{:?}", program.warnings());
    program
}

/// A runtime as small as can be: every command is answered at once, every timer fires at once.
struct World {
    mdm: Mdm,
    events: Vec<Value>,
    /// Cuts one answer in so many short.
    truncated: Option<usize>,
    calls: usize,
}

impl World {
    fn new() -> World {
        World { mdm: mdm(), events: Vec::new(), truncated: None, calls: 0 }
    }

    fn run(&mut self, program: &Program, input: &Value, map_item: Option<MapItem>) -> Outcome {
        let start = Start {
            input: Arc::new(input.clone()),
            execution_arn: "arn:aws:states:local:000000000000:execution:w:e".into(),
            execution_name: "e".into(),
            state_machine_arn: "arn:aws:states:local:000000000000:stateMachine:w".into(),
            state_machine_name: "w".into(),
            role_arn: None,
            seed: 1,
            workflow_type: WorkflowType::Standard,
            map_item,
            resumption: None,
            bounds: stepbus_asl::Bounds::default(),
        };
        let (mut execution, commands) = Execution::begin(program, Timestamp(0), start);
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            let input = match command {
                Command::End(outcome) => return outcome,
                Command::RunTask(task) => self.task(task),
                Command::SetTimer { timer, .. } => Input::TimerFired { timer },
                Command::StartMapRun(spec) => {
                    let MapSource::Items(items) = &spec.source else { panic!("no reader here") };
                    let children = program.processor(&spec.state_path).unwrap();
                    let items = items.as_array().unwrap().iter().enumerate();
                    let outcomes = items.map(|(index, item)| self.child(&children, index, item));
                    let results: Vec<Value> = outcomes
                        .filter_map(|outcome| match outcome {
                            Outcome::Succeeded(value) => Some((*value).clone()),
                            _ => None,
                        })
                        .collect();
                    let outcome = MapRunOutcome::Succeeded(Arc::new(results.into()));
                    Input::MapRunEnded { visit: spec.visit, outcome }
                }
                _ => continue,
            };
            commands.extend(execution.apply(program, Timestamp(0), input));
        }
        panic!("the execution stands still: {:#}", execution.inspect(program));
    }

    fn child(&mut self, program: &Program, index: usize, item: &Value) -> Outcome {
        let value = Arc::new(item.clone());
        let map_item = MapItem { index: index as u64, value, key: None, source: None };
        let outcome = self.run(program, item, Some(map_item));
        if let Outcome::Failed(failure) = &outcome {
            self.events.push(json!({ "failed": failure }));
        }
        outcome
    }

    fn task(&mut self, task: RunTask) -> Input {
        let output = match &*task.resource {
            "arn:aws:states:::http:invoke" => self.http(&task.arguments),
            "arn:aws:states:::events:putEvents" => {
                let entries = task.arguments["Entries"].as_array().unwrap();
                self.events.extend(entries.iter().cloned());
                json!({ "FailedEntryCount": 0, "Entries": [{ "EventId": "e" }] })
            }
            other => panic!("no task {other}"),
        };
        Input::TaskSucceeded { task: task.task, output: Arc::new(output) }
    }

    fn http(&mut self, arguments: &Value) -> Value {
        assert_eq!(arguments["Authentication"]["ConnectionArn"], "mdm");
        let mut headers = HeaderMap::new();
        let credentials = format!("Basic {}", basic_credentials("user", "secret"));
        headers.insert("authorization", credentials.parse().unwrap());
        let request = Request {
            method: Method::from_bytes(arguments["Method"].as_str().unwrap().as_bytes()).unwrap(),
            uri: arguments["ApiEndpoint"].as_str().unwrap().parse().unwrap(),
            headers,
            body: Bytes::from(arguments["RequestBody"].to_string()),
        };
        let reply = self.mdm.answer(&request);
        let status = reply.status.as_u16();
        let body = reply.into_bytes();
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, 200, "{arguments:#}: {text}");
        self.calls += 1;
        let cut = self.truncated.is_some_and(|every| self.calls.is_multiple_of(every));
        let body = match serde_json::from_slice(&body) {
            Ok(value) if !cut => value,
            _ => Value::from(&text[..1]),
        };
        json!({ "StatusCode": 200, "StatusText": "OK", "Headers": {}, "ResponseBody": body })
    }
}

#[test]
fn ids_come_page_by_page() {
    let mut world = World::new();
    let source = file("workflows/fetch-product-ids.asl.yaml");
    assert!(source.contains("page: 2000"));
    let source = source.replace("page: 2000", "page: 90").replace("${MDM_URL}", crate::mdm::BASE);
    let document = Document::parse(&source).unwrap();
    let program = Program::parse(&document, WorkflowType::Standard).unwrap();
    let input = json!({ "detail": { "container": "products" } });
    world.truncated = Some(3);
    let outcome = world.run(&program, &input, None);
    assert!(matches!(outcome, Outcome::Succeeded(_)), "{outcome:?}");
    let database = world.mdm.database();
    let expected: Vec<String> = products(&database)
        .map(|product| product.map_or_else(|broken| broken.id, |product| product.id))
        .collect();
    let mut ids = Vec::new();
    for event in &world.events {
        assert_eq!(event["DetailType"], "product_ids_fetched");
        assert_eq!(event["EventBusName"], "catalog");
        assert_eq!(event["Detail"]["container"], "products");
        let page: Vec<String> = serde_json::from_value(event["Detail"]["ids"].clone()).unwrap();
        assert!((1..=90).contains(&page.len()));
        ids.extend(page);
    }
    assert_eq!(ids, expected);
}

#[test]
fn each_product_is_fetched_or_fails_by_its_rule() {
    let mut world = World::new();
    world.truncated = Some(10);
    let database = world.mdm.database();
    let all: Vec<_> = products(&database).collect();
    let ids: Vec<&String> = all
        .iter()
        .map(|product| product.as_ref().map_or_else(|broken| &broken.id, |product| &product.id))
        .collect();
    let program = program("fetch-products");
    let input = json!({ "detail": { "container": "products", "ids": ids } });
    let outcome = world.run(&program, &input, None);
    let valid = all.iter().filter(|product| product.is_ok()).count();
    let Outcome::Succeeded(output) = outcome else { panic!("{outcome:?}") };
    assert_eq!(*output, json!({ "extracted": valid }));
    assert_eq!(world.events.len(), all.len());
    for (product, event) in all.iter().zip(&world.events) {
        match product {
            Ok(product) => {
                assert_eq!(event["DetailType"], "product_fetched");
                let expected = detail(product);
                assert!(
                    same(Some(&expected), Some(&event["Detail"])),
                    "expected {expected:#}\nfound {event:#}"
                );
            }
            Err(broken) => {
                assert_eq!(event["failed"]["error"], "ProductInvalid", "{event}");
                let cause = event["failed"]["cause"].as_str().unwrap();
                let cause: Value = serde_json::from_str(cause).unwrap();
                for (name, text) in
                    [("id", &*broken.id), ("field", broken.field), ("rule", broken.rule)]
                {
                    assert_eq!(cause[name], text, "{cause}");
                }
            }
        }
    }
}

#[test]
fn a_product_that_went_away_fails_alone() {
    let mut world = World::new();
    let input = json!({ "detail": { "ids": ["1", "999999999"] } });
    world.run(&program("fetch-products"), &input, None);
    let details: Vec<&Value> = world.events.iter().map(|event| &event["failed"]["error"]).collect();
    assert_eq!(details.len(), 2);
    assert_eq!(details[1], "ProductInvalid");
}
