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
