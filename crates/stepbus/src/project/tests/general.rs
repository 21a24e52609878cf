use expect_test::{expect, expect_file};
use proptest::prelude::*;
use serde_json::json;
use stepbus_model::Limits;

use super::super::{Vars, check as check_project, load, report};
use super::{Folder, REST, check};

#[test]
fn a_whole_project_is_read() {
    let folder = Folder::new(include_str!("product-sync.yaml"))
        .file("mappings/crm.jsonata", "/* CRM */\n{ \"sku\": $event.detail.sku }\n")
        .file("patterns/fetched.yaml", "detail-type: [product_fetched]\n")
        .file("workflows/ids.asl.yaml", "StartAt: A\nStates: { A: { Type: Succeed } }\n")
        .file("secrets/shop", "t0p\n");
    let project = folder.good();
    assert_eq!(project.name, "product-sync");
    assert_eq!(project.limits, Limits::DEFAULT);
    assert_eq!(project.files.len(), 4);
    expect_file!["product-sync.txt"].assert_eq(&format!("{:#?}\n", project.declared));
}

#[test]
fn a_file_that_cannot_be_read() {
    let said = |problems: Vec<super::Problem>| report::render(&problems);
    let missing = load("/nowhere/stepbus.yaml".as_ref(), &Vars::none()).unwrap_err();
    expect![[r#"
        /nowhere/stepbus.yaml: error: `/nowhere/stepbus.yaml` does not exist
          hint: give the path of a stepbus.yaml
    "#]]
    .assert_eq(&said(missing));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stepbus.yaml");
    std::fs::write(&path, b"name: a\nb: \xff\n").unwrap();
    let wrong = said(load(&path, &Vars::none()).unwrap_err());
    let wrong = wrong.replace(&folder.path().display().to_string(), "");
    expect![[r#"
        /stepbus.yaml: error: `/stepbus.yaml` is not UTF-8 in line 2
    "#]]
    .assert_eq(&wrong);
}

#[test]
fn text_that_is_no_yaml() {
    check(
        "name: a\nname: b",
        expect![[r#"
        stepbus.yaml:2:1: error: the key `name` stands twice; first at line 1 column 1
          2 | name: b
            | ^
    "#]],
    );
    check(
        "a: [",
        expect![[r#"
        stepbus.yaml:2:1: error: not YAML: invalid indentation
          2 | name: test
            | ^
    "#]],
    );
}

#[test]
fn the_project_itself() {
    check(
        "[1]",
        expect![[r#"
        stepbus.yaml:2:1: error: not JSON: trailing characters
          2 | name: test
            | ^
    "#]],
    );
    check(
        "buses: { catalog: }\nsubscription: {}\nxyz: 1",
        expect![[r#"
            stepbus.yaml:2:1: error: unknown field `subscription`
              2 | subscription: {}
                | ^
              hint: did you mean `subscriptions`?
            stepbus.yaml:3:1: error: unknown field `xyz`
              3 | xyz: 1
                | ^
              hint: known: name, limits, connections, destinations, functions, buckets, buses, archives, storage, queues, subscriptions, workflows, endpoints, schedules
        "#]],
    );
    check(
        "buses: []",
        expect![[r#"
        stepbus.yaml:1:8: error: expected an object of names, found a list
          1 | buses: []
            |        ^
    "#]],
    );
    check(
        "limits: { profile: awz }",
        expect![[r#"
        stepbus.yaml:1:20: error: `awz` is not known here
          1 | limits: { profile: awz }
            |                    ^
          hint: did you mean `aws`?
    "#]],
    );
    check(
        "limits: { profile: \"${WORD}\" }",
        expect![[r#"
        stepbus.yaml:1:20: error: `${WORD}` is not known here
          1 | limits: { profile: "${WORD}" }
            |                    ^
          hint: known: default, aws
    "#]],
    );
    expect![[r#"
        stepbus.yaml:1:1: error: `name` is missing
          1 | buses: {}
            | ^
          hint: The project's name.
    "#]]
    .assert_eq(&Folder::new("buses: {}\n").rendered());
    expect![[r#"
        stepbus.yaml:1:7: error: expected a text, found a number
          1 | name: 12
            |       ^
          hint: put it in quotes if it is meant as text
    "#]]
    .assert_eq(&Folder::new("name: 12\n").rendered());
    expect![[r#"
        stepbus.yaml:1:7: error: `a b` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          1 | name: a b
            |       ^
    "#]].assert_eq(&Folder::new("name: a b\n").rendered());
    let aws = Folder::new("name: a\nlimits: { profile: aws }\n").good();
    assert_eq!(aws.limits, Limits::AWS);
    let few = Folder::new("name: a\nlimits: { subscription_pending: 7 }\n").good();
    assert_eq!(few.limits, Limits { subscription_pending: 7, ..Limits::DEFAULT });
}

#[test]
fn buses() {
    check(
        "buses: { catalog: { retention: 30 } }",
        expect![[r#"
        stepbus.yaml:1:32: error: expected a text, found a number
          1 | buses: { catalog: { retention: 30 } }
            |                                ^
          hint: for example 30d
    "#]],
    );
    check(
        "buses: { catalog: { retention: 30 years } }",
        expect![[r#"
        stepbus.yaml:1:32: error: `30 years` is no span of time; write for example 250ms, 5s, 24h or 30d
          1 | buses: { catalog: { retention: 30 years } }
            |                                ^
    "#]],
    );
    check(
        "buses: { catalog: { retention: 500ms } }",
        expect![[r#"
        stepbus.yaml:1:32: error: `500ms` must be whole seconds
          1 | buses: { catalog: { retention: 500ms } }
            |                                ^
          hint: for example 30d
    "#]],
    );
    check(
        "buses: { catalog: { retension: 1d } }",
        expect![[r#"
        stepbus.yaml:1:21: error: unknown field `retension`
          1 | buses: { catalog: { retension: 1d } }
            |                     ^
          hint: did you mean `retention`?
    "#]],
    );
    check(
        "buses: { catalog: 30d }",
        expect![[r#"
            stepbus.yaml:1:19: error: expected an object, found a text
              1 | buses: { catalog: 30d }
                |                   ^
              hint: its fields: retention, deduplicate
        "#]],
    );
    check(
        "buses: { 'my bus': , catalog: }",
        expect![[r#"
        stepbus.yaml:1:10: error: `my bus` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          1 | buses: { 'my bus': , catalog: }
            |          ^
    "#]],
    );
}

#[test]
fn references_to_values_outside() {
    check(
        "connections: { crm: { rate: \"${NOWHERE}/s\" } }",
        expect![[r#"
        stepbus.yaml:1:30: error: the variable `NOWHERE` is not set
          1 | connections: { crm: { rate: "${NOWHERE}/s" } }
            |                              ^
          hint: set it in the environment: export NOWHERE=…
    "#]],
    );
    check(
        "connections: { crm: { rate: \"${FIVE\" } }",
        expect![[r#"
        stepbus.yaml:1:30: error: `${` is not closed by `}`
          1 | connections: { crm: { rate: "${FIVE" } }
            |                              ^
          hint: write `$${` for the characters `${` themselves
    "#]],
    );
    check(
        "connections: { crm: { rate: \"${WORD}\" } }",
        expect![[r#"
        stepbus.yaml:1:29: error: `${WORD}` is no rate: a `/` with a unit of time is missing; write for example 300/s, 10/min or `5/s burst 20`
          1 | connections: { crm: { rate: "${WORD}" } }
            |                             ^
    "#]],
    );
    check(
        "connections: { crm: { concurrency: \"${WORD}\" } }",
        expect![[r#"
        stepbus.yaml:1:36: error: expected a whole number, found `${WORD}`
          1 | connections: { crm: { concurrency: "${WORD}" } }
            |                                    ^
    "#]],
    );
    check(
        "connections: { crm: { concurrency: \"${FIVE}0000000\" } }",
        expect![[r#"
        stepbus.yaml:1:36: error: ${FIVE}0000000 is out of range
          1 | connections: { crm: { concurrency: "${FIVE}0000000" } }
            |                                    ^
          hint: from 1 to 100000
    "#]],
    );
    let project =
        format!("name: a\n{REST}").replace("crm: {}", "crm: { concurrency: \"${FIVE}\" }");
    let project = Folder::new(&project).good();
    assert_eq!(project.declared.connections[0].concurrency, Some(5));
}

#[test]
fn everything_is_reported_at_once_and_in_order() {
    let folder = Folder::new(
        "name: a\nbuses: { catalog: { retention: x } }\nsubscriptions:\n  s:\n    bus: catlog\n    \
         pattern: { detail: [ }\n",
    );
    expect![[r#"
        stepbus.yaml:6:26: error: not YAML: while parsing a node, did not find expected node content
          6 |     pattern: { detail: [ }
            |                          ^
    "#]]
    .assert_eq(&folder.rendered());
    let folder = Folder::new(
        "name: a\nsubscriptions:\n  s:\n    bus: catlog\n    pattern: { source: [a] }\n    \
         transform: m.jsonata\n    target: { workflow: w }\nbuses: { catalog: { retention: x } }\n\
         workflows: { w: w.yaml }\n",
    )
    .file("m.jsonata", "$event.(\n")
    .file("w.yaml", "Starts: A\n");
    expect![[r#"
        stepbus.yaml:4:10: error: no bus is named `catlog`
          4 |     bus: catlog
            |          ^
          hint: did you mean `catalog`?
        stepbus.yaml:8:32: error: `x` is no span of time; write for example 250ms, 5s, 24h or 30d
          8 | buses: { catalog: { retention: x } }
            |                                ^
        m.jsonata:2:1: error: this is no JSONata: S0207: Unexpected end of expression (at character 10)
        w.yaml:1:1: error: SCHEMA_VALIDATION_FAILED: These fields are required: [StartAt, States]
          1 | Starts: A
            | ^
        w.yaml:1:1: error: SCHEMA_VALIDATION_FAILED: Field 'Starts' is not supported
          1 | Starts: A
            | ^
          hint: unknown field `Starts`; did you mean `StartAt`?
    "#]]
    .assert_eq(&folder.rendered());
}

#[test]
fn a_project_is_checked_without_its_secrets() {
    let folder = Folder::new(&format!(
        "name: a\nconnections:\n  crm: {{ auth: {{ basic: {{ username: \"${{NOBODY}}\", password: \
         \"${{file:nothing}}\" }} }}, rate: \"${{NOWHERE}}/s\" }}\n  erp: {{ rate: x }}\n{}",
        REST.replace("connections: { crm: {} }", "").replace("sync: {", "file: w.yaml, sync: {")
    ))
    .file("w.yaml", "StartAt: A\nStates: { A: { Type: Pass, Result: \"${NOWHERE}\", Next: B } }\n");
    let said = report::render(&check_project(folder.0.path(), &Vars::none()));
    let said = said.replace(&format!("{}/", folder.0.path().display()), "");
    expect![[r#"
        stepbus.yaml:4:16: error: `x` is no rate: a `/` with a unit of time is missing; write for example 300/s, 10/min or `5/s burst 20`
          4 |   erp: { rate: x }
            |                ^
        w.yaml:2:1: error: MISSING_END_STATE: Workflow has no terminal state
          2 | States: { A: { Type: Pass, Result: "${NOWHERE}", Next: B } }
            | ^
          hint: let a state have `End: true`, or add a Succeed or Fail state
        w.yaml:2:50: error: MISSING_TRANSITION_TARGET: Missing 'Next' target: B
          2 | States: { A: { Type: Pass, Result: "${NOWHERE}", Next: B } }
            |                                                  ^
        stepbus.yaml:3:38: warning: the variable `NOBODY` is not set
          3 |   crm: { auth: { basic: { username: "${NOBODY}", password: "${file:nothing}" } }, rate: "${NOWHERE}/s" }
            |                                      ^
          hint: set it in the environment: export NOBODY=…
        stepbus.yaml:3:61: warning: the file `nothing` cannot be read: No such file or directory (os error 2)
          3 |   crm: { auth: { basic: { username: "${NOBODY}", password: "${file:nothing}" } }, rate: "${NOWHERE}/s" }
            |                                                             ^
          hint: the file is looked for at nothing
        stepbus.yaml:3:90: warning: the variable `NOWHERE` is not set
          3 |   crm: { auth: { basic: { username: "${NOBODY}", password: "${file:nothing}" } }, rate: "${NOWHERE}/s" }
            |                                                                                          ^
          hint: set it in the environment: export NOWHERE=…
          also at w.yaml:2:37
        stepbus.yaml:9:30: warning: the variable `URL` is not set
          9 | destinations: { crm: { url: "${URL}/products/{sku}" } }
            |                              ^
          hint: set it in the environment: export URL=…
    "#]].assert_eq(&said);
}

#[test]
fn problems_as_json() {
    let folder = Folder::new("name: a\nbusses: {}\n");
    let mut problems = report::to_json(&folder.load().unwrap_err());
    problems[0]["file"] = json!("stepbus.yaml");
    expect![[r#"
        [
          {
            "severity": "error",
            "file": "stepbus.yaml",
            "line": 2,
            "column": 1,
            "location": "/busses",
            "message": "unknown field `busses`",
            "hint": "did you mean `buses`?"
          }
        ]"#]]
    .assert_eq(&format!("{problems:#}"));
}

#[test]
fn long_lines_and_control_characters_are_shown_safely() {
    let long = "x".repeat(300);
    expect![[r#"
        stepbus.yaml:1:10: error: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          1 | {"name": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
            |          ^
        stepbus.yaml:1:314: error: unknown field `b`
          1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "b": 1, "c": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
            |                                                              ^
          hint: known: name, limits, connections, destinations, functions, buckets, buses, archives, storage, queues, subscriptions, workflows, endpoints, schedules
        stepbus.yaml:1:322: error: unknown field `c`
          1 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "b": 1, "c": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
            |                                                              ^
          hint: known: name, limits, connections, destinations, functions, buckets, buses, archives, storage, queues, subscriptions, workflows, endpoints, schedules
    "#]].assert_eq(&Folder::new(&format!("{{\"name\": \"{long}\", \"b\": 1, \"c\": \"{long}\"}}")).rendered());
    expect![[r#"
        stepbus.yaml:2:1: error: unknown field `b�[31m`
          2 | "b\u001b[31m": 1
            | ^
          hint: known: name, limits, connections, destinations, functions, buckets, buses, archives, storage, queues, subscriptions, workflows, endpoints, schedules
    "#]].assert_eq(&Folder::new("name: a\n\"b\\u001b[31m\": 1\n").rendered());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_is_answered(
        section in "(connections|destinations|buses|subscriptions|workflows|endpoints|limits|name)",
        field in "(auth|url|retention|pattern|definition|route|event|key|target|upsert|timeout)",
        value in "([a-c0-9]|[ \n:#{}%$'\"\\[\\],-]|\\$\\{URL\\}|\\{% \\$x %\\}){0,20}",
    ) {
        let folder = Folder::new(&format!("name: a\n{section}: {{ x: {{ {field}: {value} }} }}\n"));
        let _ = folder.rendered();
        let folder = Folder::new(&value);
        let _ = folder.rendered();
    }
}
