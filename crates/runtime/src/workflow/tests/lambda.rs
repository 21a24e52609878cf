//! Functions that tasks call.

use serde_json::{Value, json};

use super::world::{Target, World, until};
use crate::FunctionSpec;

const INVOKE: &str = r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: arn:aws:states:::lambda:invoke
    Arguments: ARGUMENTS
    RETRY
    End: true
"#;

const NAMED: &str = r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: "arn:aws:lambda:eu-central-1:111111111111:function:price:live"
    Arguments: "{% $states.input %}"
    End: true
"#;

fn invoke(arguments: &str) -> String {
    INVOKE.replace("ARGUMENTS", arguments).replace("RETRY", "Comment: asks")
}

async fn world() -> (World, Target) {
    let target = Target::start().await;
    let mut world = World::empty();
    world.declared.functions.push(FunctionSpec {
        name: "price".into(),
        url: format!("{}/price", target.url),
        connection: None,
        timeout_ms: None,
    });
    let asks = "{ FunctionName: price, Payload: '{% $states.input %}', Qualifier: $LATEST, \
                InvocationType: RequestResponse }";
    world.workflow("invoke", &invoke(asks), &target);
    world.workflow("named", NAMED, &target);
    (world, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_handed_the_payload() {
    let (world, target) = world().await;
    target.behave(|call| (200, json!({ "got": call.body })));
    let running = world.open().await;
    let invoked = running.start("invoke", json!({ "sku": "a" })).await;
    let output = running.output(invoked).await;
    assert_eq!(output["Payload"], json!({ "got": { "sku": "a" } }));
    assert_eq!(
        (&output["StatusCode"], &output["ExecutedVersion"]),
        (&json!(200), &json!("$LATEST"))
    );
    assert_eq!(output["SdkHttpMetadata"]["HttpStatusCode"], 200);
    let named = running.start("named", json!([1, "x"])).await;
    assert_eq!(running.output(named).await, json!({ "got": [1, "x"] }));
    let calls = target.arrived();
    assert!(calls.iter().all(|call| call.method == "POST" && call.path == "/price"), "{calls:?}");
    assert_ne!(calls[0].idempotency_key, calls[1].idempotency_key);
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_the_key_of_the_first_attempt() {
    let (mut world, target) = world().await;
    let retry = "Retry: [{ ErrorEquals: [Lambda.TooManyRequestsException], IntervalSeconds: 1 }]";
    let text = INVOKE.replace("ARGUMENTS", "{ FunctionName: price }").replace("RETRY", retry);
    world.workflow("again", &text, &target);
    let mut answers = [429, 200].into_iter();
    target.behave(move |_| (answers.next().unwrap(), json!(7)));
    let running = world.open().await;
    let id = running.start("again", json!({})).await;
    until("the first call", async || target.calls().len() == 1).await;
    assert_eq!(running.output(id).await["Payload"], json!(7));
    let calls = target.arrived();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, json!({}), "a payload that is not given");
    assert!(!calls[0].idempotency_key.is_empty());
    assert_eq!(calls[0].idempotency_key, calls[1].idempotency_key);
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_has_the_name_of_lambda() {
    let (mut world, target) = world().await;
    world.workflow("nobody", &invoke("{ FunctionName: nobody }"), &target);
    world.workflow("other", &invoke("{ FunctionName: price, Qualifier: live }"), &target);
    world.workflow("wrong", &invoke("{ FunctionName: price, InvocationType: Event }"), &target);
    world.declared.functions.push(FunctionSpec {
        name: "gone".into(),
        url: "http://127.0.0.1:1/".into(),
        connection: None,
        timeout_ms: Some(2_000),
    });
    world.workflow("gone", &invoke("{ FunctionName: gone }"), &target);
    let running = world.open().await;
    let thrown = json!({ "errorType": "NoPrice", "errorMessage": "none" });
    let mut answers: Vec<(u16, Value, &str)> = vec![
        (500, thrown.clone(), "NoPrice"),
        (422, thrown.clone(), "NoPrice"),
        (400, json!({}), "Lambda.Unknown"),
        (503, json!({}), "Lambda.ServiceException"),
        (429, json!({}), "Lambda.TooManyRequestsException"),
    ];
    for (status, body, error) in answers.drain(..) {
        let answer = body.clone();
        target.behave(move |_| (status, answer.clone()));
        for workflow in ["invoke", "named"] {
            let id = running.start(workflow, json!({})).await;
            let cause = running.failure(id, error).await;
            if error == "NoPrice" {
                assert_eq!(serde_json::from_str::<Value>(&cause).unwrap(), thrown);
            }
        }
    }
    target.answer_with("X-Amz-Function-Error", "Unhandled");
    for (body, error) in [(thrown.clone(), "NoPrice"), (json!("boom"), "Lambda.Unknown")] {
        for status in [200, 500] {
            let answer = body.clone();
            target.behave(move |_| (status, answer.clone()));
            let id = running.start("invoke", json!({})).await;
            assert_eq!(running.failure(id, error).await, body.to_string());
        }
    }
    for (workflow, error, part) in [
        ("nobody", "Lambda.ResourceNotFoundException", "nobody"),
        ("other", "Lambda.ResourceNotFoundException", "price:live"),
        ("wrong", "Lambda.InvalidParameterValueException", "InvocationType"),
        ("gone", "Lambda.ServiceException", "127.0.0.1:1"),
    ] {
        let id = running.start(workflow, json!({})).await;
        let cause = running.failure(id, error).await;
        assert!(cause.contains(part), "{cause}");
    }
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_may_pass_the_token_on() {
    let (mut world, target) = world().await;
    let asks = "{ FunctionName: price, Payload: { token: '{% $states.context.Task.Token %}' } }";
    let text = invoke(asks).replace("lambda:invoke", "lambda:invoke.waitForTaskToken");
    world.workflow("wait", &text, &target);
    let running = world.open().await;
    let id = running.start("wait", json!({})).await;
    until("the call", async || target.calls().len() == 1).await;
    let token = target.arrived()[0].body["token"].as_str().unwrap().to_owned();
    running.engine.send_task_success(&token, "{\"price\":3}").await.unwrap();
    assert_eq!(running.output(id).await, json!({ "price": 3 }));
    assert_eq!(target.arrived().len(), 1);
    running.expect_sound().await;
}
