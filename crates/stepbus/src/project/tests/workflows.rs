use expect_test::{Expect, expect};
use stepbus_runtime::AtCrash;

use super::{Folder, REST, check};

#[test]
fn workflows() {
    check(
        "workflows: { sync: 12 }",
        expect![[r#"
        stepbus.yaml:1:20: error: expected a path or an object, found a number
          1 | workflows: { sync: 12 }
            |                    ^
          hint: for example workflows/sync.asl.yaml
    "#]],
    );
    check(
        "workflows: { sync: {} }",
        expect![[r#"
        stepbus.yaml:1:14: error: `definition` is missing
          1 | workflows: { sync: {} }
            |              ^
          hint: The path of the definition, JSON or YAML, or the definition itself.
    "#]],
    );
    check(
        "workflows: { sync: nothing.yaml }",
        expect![[r#"
        stepbus.yaml:1:20: error: `nothing.yaml` does not exist
          1 | workflows: { sync: nothing.yaml }
            |                    ^
          hint: beside it: stepbus.yaml
    "#]],
    );
    check(
        "workflows: { sync: { type: FAST, definition: { StartAt: A, States: { A: { Type: Succeed } } } } }",
        expect![[r#"
            stepbus.yaml:1:28: error: `FAST` is not known here
              1 | workflows: { sync: { type: FAST, definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
                |                            ^
              hint: known: STANDARD, EXPRESS
        "#]],
    );
}

#[track_caller]
fn check_definition(definition: &str, expected: Expect) {
    let folder =
        Folder::new(&format!("name: a\n{REST}").replace("sync: {", "from-file: w.yaml, sync: {"));
    expected.assert_eq(&folder.file("w.yaml", definition).rendered());
}

const TASK: &str =
    "StartAt: A\nQueryLanguage: JSONata\nStates:\n  A:\n    Type: Task\n    End: true\n";

#[test]
fn definitions_refer_to_what_is_there() {
    check_definition(
        &format!(
            "{TASK}    Resource: arn:aws:states:::http:invoke\n    Arguments:\n      ApiEndpoint: \
             https://x.example/\n      Method: GET\n      Authentication: {{ ConnectionArn: crn }}\n"
        ),
        expect![[r#"
            w.yaml:11:40: error: no connection is named `crn`
              11 |       Authentication: { ConnectionArn: crn }
                 |                                        ^
              hint: did you mean `crm`?
        "#]],
    );
    check_definition(
        &format!(
            "{TASK}    Resource: arn:aws:states:::events:putEvents\n    Arguments:\n      Entries:\n        \
             - {{ EventBusName: catalogs, Source: a, DetailType: b, Detail: {{}} }}\n        \
             - {{ EventBusName: catalog, Source: a, DetailType: b, Detail: {{}} }}\n"
        ),
        expect![[r#"
            w.yaml:10:27: error: no bus is named `catalogs`
              10 |         - { EventBusName: catalogs, Source: a, DetailType: b, Detail: {} }
                 |                           ^
              hint: did you mean `catalog`?
        "#]],
    );
}

#[test]
fn definitions_take_values_from_outside() {
    let pass = |output: &str| {
        format!(
            "StartAt: A\nQueryLanguage: JSONata\nStates:\n  A:\n    Type: Pass\n    End: true\n    Output: \"{output}\"\n"
        )
    };
    check_definition(
        &pass("${NOWHERE}/x"),
        expect![[r#"
        w.yaml:7:14: error: the variable `NOWHERE` is not set
          7 |     Output: "${NOWHERE}/x"
            |              ^
          hint: set it in the environment: export NOWHERE=…
    "#]],
    );
    check_definition(
        &pass("${PASSWORD}"),
        expect![[r#"
        w.yaml:7:14: error: `PASSWORD` looks like a secret, and definitions are kept and shown
          7 |     Output: "${PASSWORD}"
            |              ^
          hint: put it into a connection, which a task names as its Authentication
    "#]],
    );
    check_definition(
        &pass("{% '${QUOTED}' %}"),
        expect![[r#"
        w.yaml:7:18: error: the value of `QUOTED` has quotes or line breaks, which would change the expression
          7 |     Output: "{% '${QUOTED}' %}"
            |                  ^
          hint: put it into a text of its own
    "#]],
    );
    let folder = Folder::new("name: a\nworkflows: { w: w.yaml }\n")
        .file("w.yaml", &pass("{% '${URL}/x' & $states.input.(${ a: 1 }) %}"));
    let definition = folder.good().declared.workflows.remove(0).definition;
    assert!(
        definition.contains("{% 'https://crm.example/x' & $states.input.(${ a: 1 }) %}"),
        "{definition}"
    );
}

const EACH: &str = "StartAt: A\nQueryLanguage: JSONata\nStates:\n  A:\n    Type: Map\n    End: true\n    \
                    ItemProcessor: { ProcessorConfig: { Mode: DISTRIBUTED }, StartAt: B, States: { B: { \
                    Type: Succeed } } }\n";

#[test]
fn definitions_name_buckets() {
    check_definition(
        &format!(
            "{EACH}    ItemReader:\n      Resource: arn:aws:states:::s3:getObject\n      Arguments: {{ \
             Bucket: flies, Key: a.csv }}\n      ReaderConfig: {{ InputType: JSONL }}\n"
        ),
        expect![[r#"
            w.yaml:10:28: error: no bucket is named `flies`
              10 |       Arguments: { Bucket: flies, Key: a.csv }
                 |                            ^
              hint: did you mean `files`?
        "#]],
    );
    check_definition(
        &format!(
            "{EACH}    ResultWriter:\n      Resource: arn:aws:states:::s3:putObject\n      Arguments: {{ \
             Bucket: flies }}\n"
        ),
        expect![[r#"
            w.yaml:10:28: error: no bucket is named `flies`
              10 |       Arguments: { Bucket: flies }
                 |                            ^
              hint: did you mean `files`?
        "#]],
    );
}

#[test]
fn reader_configurations_are_looked_at() {
    check_definition(
        &format!(
            "{EACH}    ItemReader:\n      Resource: arn:aws:states:::s3:getObject\n      Arguments: {{ \
             Bucket: files, Key: a.csv }}\n      ReaderConfig: {{ InputType: CSV, CSVHeaderLocation: \
             GIVEN, CSVHeaders: [a, a] }}\n"
        ),
        expect![[r#"
            w.yaml:11:7: error: CSV headers cannot contain duplicates.
              11 |       ReaderConfig: { InputType: CSV, CSVHeaderLocation: GIVEN, CSVHeaders: [a, a] }
                 |       ^
        "#]],
    );
    check_definition(
        &format!(
            "{EACH}    ItemReader:\n      Resource: arn:aws:states:::s3:getObject\n      Arguments: {{ \
             Bucket: files, Key: \"{{% $states.input.key %}}\" }}\n      ReaderConfig: {{ InputType: \
             \"{{% $states.input.type %}}\" }}\n"
        ),
        expect![[""]],
    );
}

const CHARGES: &str = r"
StartAt: Charge card
States:
  Charge card:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Parameters: { ApiEndpoint: 'https://x.example', Method: GET }
    Next: Tell
  Tell:
    Type: Task
    Resource: arn:aws:states:::events:putEvents
    Parameters: { Entries: [{ EventBusName: catalog, Source: a, DetailType: b, Detail: {} }] }
    Next: Each
  Each:
    Type: Map
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: Ask
      States:
        Ask:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Parameters: { ApiEndpoint: 'https://x.example', Method: GET }
          End: true
    End: true
";

fn charging(kind: &str, at_crash: &str) -> Folder {
    let workflow =
        format!("w: {{ type: {kind}, definition: w.yaml,\n in_flight_at_crash: {at_crash} }}");
    let project = format!("name: a\n{REST}").replace("sync: {", &format!("{workflow}, sync: {{"));
    let (calls, _) = CHARGES.split_once("    Next: Each").unwrap();
    let definition = if kind == "EXPRESS" { &format!("{calls}    End: true\n") } else { CHARGES };
    Folder::new(&project).file("w.yaml", definition)
}

#[track_caller]
fn check_at_crash(kind: &str, at_crash: &str, expected: Expect) {
    expected.assert_eq(&charging(kind, at_crash).rendered());
}

#[test]
fn in_flight_at_crash() {
    check_at_crash("STANDARD", "{ default: resend, fail: [Charge card] }", expect![""]);
    check_at_crash("STANDARD", "{ default: fail, resend: [Ask] }", expect![""]);
    check_at_crash(
        "STANDARD",
        "{ default: fail }",
        expect![[r#"
            stepbus.yaml:8:33: warning: it does not hold for `Ask`, which EXPRESS children run: what an EXPRESS execution had in flight at a crash is not recorded
              8 |  in_flight_at_crash: { default: fail } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
                |                                 ^
              hint: it begins anew and calls again under the same Idempotency-Key; make it STANDARD
        "#]],
    );
    check_at_crash(
        "STANDARD",
        "{ default: never }",
        expect![[r#"
        stepbus.yaml:8:33: error: `never` is not known here
          8 |  in_flight_at_crash: { default: never } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
            |                                 ^
          hint: known: resend, fail
    "#]],
    );
}

#[test]
fn states_in_flight_at_crash() {
    check_at_crash(
        "STANDARD",
        "{ fail: [Charge cart] }",
        expect![[r#"
        stepbus.yaml:8:31: error: no Task state is named `Charge cart`
          8 |  in_flight_at_crash: { fail: [Charge cart] } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
            |                               ^
          hint: did you mean `Charge card`?
    "#]],
    );
    check_at_crash(
        "STANDARD",
        "{ fail: [Tell] }",
        expect![[r#"
        stepbus.yaml:8:31: error: `Tell` makes no call: arn:aws:states:::events:putEvents is never in flight
          8 |  in_flight_at_crash: { fail: [Tell] } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
            |                               ^
          hint: leave it out; it happens exactly once
    "#]],
    );
    check_at_crash(
        "STANDARD",
        "{ fail: [Ask] }",
        expect![[r#"
        stepbus.yaml:8:31: error: `Ask`: what an EXPRESS execution had in flight at a crash is not recorded
          8 |  in_flight_at_crash: { fail: [Ask] } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
            |                               ^
          hint: it begins anew and calls again under the same Idempotency-Key; make it STANDARD
    "#]],
    );
    check_at_crash(
        "STANDARD",
        "{ fail: [Charge card], resend: [Charge card] }",
        expect![[r#"
        stepbus.yaml:8:54: error: `Charge card` stands in both `fail` and `resend`
          8 |  in_flight_at_crash: { fail: [Charge card], resend: [Charge card] } }, sync: { definition: { StartAt: A, States: { A: { …
            |                                                      ^
    "#]],
    );
    check_at_crash(
        "EXPRESS",
        "{ default: fail }",
        expect![[r#"
            stepbus.yaml:8:33: error: what an EXPRESS execution had in flight at a crash is not recorded
              8 |  in_flight_at_crash: { default: fail } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
                |                                 ^
              hint: it begins anew and calls again under the same Idempotency-Key; make it STANDARD
        "#]],
    );
    check_at_crash(
        "EXPRESS",
        "{ fail: [Charge card] }",
        expect![[r#"
            stepbus.yaml:8:31: error: `Charge card`: what an EXPRESS execution had in flight at a crash is not recorded
              8 |  in_flight_at_crash: { fail: [Charge card] } }, sync: { definition: { StartAt: A, States: { A: { Type: Succeed } } } } }
                |                               ^
              hint: it begins anew and calls again under the same Idempotency-Key; make it STANDARD
        "#]],
    );
    let folder = charging("STANDARD", "{ default: fail, resend: [Charge card] }");
    let spec = folder.good().declared.workflows.remove(0).in_flight_at_crash;
    assert_eq!((spec.of("Charge card"), spec.of("Other")), (AtCrash::Resend, AtCrash::Fail));
}

/// A definition of one Task whose resource and arguments are given.
fn calling(resource: &str, arguments: &str) -> String {
    format!(
        "QueryLanguage: JSONata\nStartAt: A\nStates:\n  A:\n    Type: Task\n    Resource: {resource}\n    Arguments: {arguments}\n    End: true\n"
    )
}

#[test]
fn resources_that_are_not_offered() {
    check_definition(
        &calling("arn:aws:states:::dynamodb:getItem", "{}"),
        expect![[r#"
        w.yaml:6:15: error: the resource arn:aws:states:::dynamodb:getItem is not offered here
          6 |     Resource: arn:aws:states:::dynamodb:getItem
            |               ^
          hint: known: http:invoke, lambda:invoke, lambda:invoke.waitForTaskToken, events:putEvents, events:putEvents.waitForTaskToken, sqs:sendMessage, sqs:sendMessage.waitForTaskToken, states:startExecution, states:startExecution.sync, states:startExecution.sync:2, states:startExecution.waitForTaskToken
    "#]],
    );
    check_definition(
        &calling("arn:aws:states:::events:putEvent", "{}"),
        expect![[r#"
        w.yaml:6:15: error: the resource arn:aws:states:::events:putEvent is not offered here
          6 |     Resource: arn:aws:states:::events:putEvent
            |               ^
          hint: did you mean `events:putEvents`?
    "#]],
    );
    check_definition(
        &calling("arn:aws:states:::http:invoke.waitForTaskToken", "{}"),
        expect![[r#"
        w.yaml:6:15: error: the resource arn:aws:states:::http:invoke.waitForTaskToken is not offered here
          6 |     Resource: arn:aws:states:::http:invoke.waitForTaskToken
            |               ^
          hint: did you mean `lambda:invoke.waitForTaskToken`?
    "#]],
    );
    check_definition(
        &calling("arn:aws:states:::aws-sdk:s3:getObject", "{}"),
        expect![[r#"
        w.yaml:6:15: error: the resource arn:aws:states:::aws-sdk:s3:getObject is not offered here
          6 |     Resource: arn:aws:states:::aws-sdk:s3:getObject
            |               ^
          hint: known: http:invoke, lambda:invoke, lambda:invoke.waitForTaskToken, events:putEvents, events:putEvents.waitForTaskToken, sqs:sendMessage, sqs:sendMessage.waitForTaskToken, states:startExecution, states:startExecution.sync, states:startExecution.sync:2, states:startExecution.waitForTaskToken
    "#]],
    );
    check_definition(
        &calling("arn:aws:lambda:us-east-1:1:function:price", "{}"),
        expect![[r#"
        w.yaml:6:15: error: no function is named `price`
          6 |     Resource: arn:aws:lambda:us-east-1:1:function:price
            |               ^
          hint: there is none
    "#]],
    );
    check_definition(&calling("arn:aws:states:us-east-1:1:activity:weld", "{}"), expect![""]);
}

#[test]
fn names_in_arguments() {
    let check = |resource: &str, arguments: &str, expected: Expect| {
        check_definition(&calling(&format!("arn:aws:states:::{resource}"), arguments), expected);
    };
    check(
        "sqs:sendMessage",
        "{ QueueUrl: 'https://sqs/1/mail', MessageBody: x }",
        expect![[r#"
        w.yaml:7:28: error: no queue is named `mail`
          7 |     Arguments: { QueueUrl: 'https://sqs/1/mail', MessageBody: x }
            |                            ^
          hint: there is none
    "#]],
    );
    check(
        "states:startExecution",
        "{ StateMachineArn: 'arn:aws:states:x:1:stateMachine:synk' }",
        expect![[r#"
            w.yaml:7:35: error: no workflow is named `synk`
              7 |     Arguments: { StateMachineArn: 'arn:aws:states:x:1:stateMachine:synk' }
                |                                   ^
              hint: did you mean `sync`?
        "#]],
    );
    check(
        "lambda:invoke",
        "{ FunctionName: price }",
        expect![[r#"
        w.yaml:7:32: error: no function is named `price`
          7 |     Arguments: { FunctionName: price }
            |                                ^
          hint: there is none
    "#]],
    );
    check(
        "events:putEvents",
        "{ Entries: [{ Source: a, DetailType: b, Detail: {} }] }",
        expect![[r#"
            w.yaml:7:28: error: the entry names no bus, and no bus is named `default`
              7 |     Arguments: { Entries: [{ Source: a, DetailType: b, Detail: {} }] }
                |                            ^
              hint: add `EventBusName`
        "#]],
    );
    check(
        "http:invoke",
        "{ ApiEndpoint: x, Method: GET, Authentication: { ConnectionArn: 'arn:aws:events:x:1:connection/crn/9d2f' } }",
        expect![[r#"
            w.yaml:7:80: error: no connection is named `crn`
              7 | … Arguments: { ApiEndpoint: x, Method: GET, Authentication: { ConnectionArn: 'arn:aws:events:x:1:connection/crn/9d2f' } }
                |                                                                              ^
              hint: did you mean `crm`?
        "#]],
    );
    // What is computed is known when the state runs.
    check(
        "sqs:sendMessage",
        "{ QueueUrl: '{% $queue %}', MessageBody: x }",
        expect![[r#"
        w.yaml:7:18: warning: UNASSIGNED_VARIABLE: Variable 'queue' is not assigned in this scope
          7 |     Arguments: { QueueUrl: '{% $queue %}', MessageBody: x }
            |                  ^
          hint: assign it before, as `Assign: { queue: … }`
    "#]],
    );
    check("states:startExecution", "'{% $states.input %}'", expect![""]);
}

#[test]
fn arguments_that_a_service_does_not_take() {
    let check = |resource: &str, arguments: &str, expected: Expect| {
        check_definition(&calling(&format!("arn:aws:states:::{resource}"), arguments), expected);
    };
    check(
        "http:invoke",
        "{ ApiEndpoint: x }",
        expect![[r#"
        w.yaml:7:16: error: http:invoke needs `Method`
          7 |     Arguments: { ApiEndpoint: x }
            |                ^
    "#]],
    );
    check(
        "http:invoke",
        "{ ApiEndpoint: x, Methode: GET }",
        expect![[r#"
        w.yaml:7:34: error: http:invoke takes no `Methode`
          7 |     Arguments: { ApiEndpoint: x, Methode: GET }
            |                                  ^
          hint: did you mean `Method`?
    "#]],
    );
    check(
        "states:startExecution",
        "{ StateMachineArn: sync, Input: {}, Wait: true }",
        expect![[r#"
        w.yaml:7:52: error: states:startExecution takes no `Wait`
          7 |     Arguments: { StateMachineArn: sync, Input: {}, Wait: true }
            |                                                    ^
          hint: known: StateMachineArn, Name, Input, TraceHeader
    "#]],
    );
    let functions = "functions: { price: { url: 'http://127.0.0.1:9/price' } }";
    let project = format!("name: a\n{functions}\n{REST}").replace("sync: {", "w: w.yaml, sync: {");
    let arguments = "{ FunctionName: 'arn:aws:lambda:x:1:function:price:live', Qualifier: live, InvocationType: Event }";
    let definition = calling("arn:aws:states:::lambda:invoke", arguments);
    expect![[r#"
        w.yaml:7:85: error: lambda:invoke does not offer the Qualifier `live`
          7 |     Arguments: { FunctionName: 'arn:aws:lambda:x:1:function:price:live', Qualifier: live, InvocationType: Event }
            |                                                                                     ^
          hint: there is one version of a function: leave it out
        w.yaml:7:107: error: lambda:invoke does not offer the InvocationType `Event`
          7 |     Arguments: { FunctionName: 'arn:aws:lambda:x:1:function:price:live', Qualifier: live, InvocationType: Event }
            |                                                                                                           ^
          hint: to call without waiting for the answer, publish an event to a subscription or start a workflow
    "#]].assert_eq(&Folder::new(&project).file("w.yaml", &definition).rendered());
}
