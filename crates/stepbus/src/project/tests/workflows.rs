use expect_test::{Expect, expect};

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
