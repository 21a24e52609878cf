use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::Report;

const WORKFLOW: &str = r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { url: "{% '${BASE}/' & $states.input.id %}" }
    Retry: [{ ErrorEquals: [Busy], IntervalSeconds: 5 }]
    Assign: { answer: "{% $states.result %}" }
    Next: Both
  Both:
    Type: Parallel
    Branches:
      - { StartAt: One, States: { One: { Type: Pass, Output: 1, End: true } } }
    Output: { all: "{% $states.result %}", answer: "{% $answer %}" }
    End: true
"#;

/// Runs a file of cases and compares what is printed.
#[track_caller]
fn check(cases: &str, expected: &Expect) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("w.asl.yaml"), WORKFLOW).unwrap();
    let path = folder.path().join("w.test.yaml");
    std::fs::write(&path, format!("workflow: w.asl.yaml\nvars: {{ BASE: http://x }}\n{cases}"))
        .unwrap();
    let mut report = Report::default();
    report.add(&path, None);
    let shown = report.render().replace(&format!("{}/", folder.path().display()), "");
    expected.assert_eq(&shown);
}

#[test]
fn cases_pass() {
    check(
        r#"
mocks: { Ask: { result: 5 } }
cases:
  - name: at once
    input: { id: 1 }
    expect:
      output: { all: [1], answer: 5.0 }
      path: [Ask, Both, One]
      variables: { answer: 5 }
      arguments: { Ask: { url: http://x/1 } }
  - name: after a while
    input: { id: 1 }
    mocks: { Ask: { calls: { 0-1: { error: Busy } }, else: { result: 6, after: 2.5 } } }
    expect: { output_contains: { answer: 6 }, calls: { Ask: 3 }, seconds: 17.5 }
  - name: not at all
    input: { id: 1 }
    mocks: { Ask: [{ error: Lost, cause: on the way home }] }
    expect: { error: Lost, cause_contains: the way }
"#,
        &expect![[r#"
            w.test.yaml
              ok    at once (SUCCEEDED, 3 states, 1 calls)
              ok    after a while (SUCCEEDED, 3 states, 3 calls, 17.5 s)
              ok    not at all (FAILED, 1 states, 1 calls)
            3 passed, 0 failed
        "#]],
    );
}

#[test]
fn what_differs_is_told_with_its_place() {
    check(
        r#"
mocks: { Ask: { result: { a: [1, 2] } } }
cases:
  - name: output
    input: { id: 1 }
    expect:
      output: { all: [1], answer: { a: [1, 3] } }
  - name: everything
    input: { id: 1 }
    expect:
      status: FAILED
      error: Lost
      output_contains: { nothing: 1 }
      path: [Ask, One]
      variables: { question: 1, answer: { a: [1] } }
      arguments: { Ask: [{ url: http://y/1 }, {}] }
      calls: { Ask: 2 }
      seconds: 1
  - name: no mock
    input: {}
    mocks: { Ask: { items: { 3: { result: 1 } } } }
    expect: { status: SUCCEEDED }
  - name: it fails where it should not
    input: { id: 1 }
    mocks: { Ask: { error: Lost, cause: away } }
    expect: { output: 1 }
"#,
        &expect![[r#"
            w.test.yaml
              FAIL  output (SUCCEEDED, 3 states, 1 calls)
                    w.test.yaml:9:7: output at /answer/a/1: expected 3, found 2
                    path: Ask, Both, One
              FAIL  everything (SUCCEEDED, 3 states, 1 calls)
                    w.test.yaml:13:7: expected FAILED, found SUCCEEDED
                    w.test.yaml:15:7: output_contains at /nothing: expected 1, it is missing
                    w.test.yaml:14:7: error: expected "Lost", found "none"
                    w.test.yaml:16:19: path: expected One as state 2, found Both
                    w.test.yaml:17:20: variable $question was not assigned
                    w.test.yaml:17:33: variable $answer at /a: expected 1 items, found 2
                    w.test.yaml:19:16: Ask: expected 2 calls, found 1
                    w.test.yaml:18:20: arguments of Ask at /url: expected "http://y/1", found "http://x/1"
                    w.test.yaml:18:20: Ask was not called 2 times
                    w.test.yaml:20:7: seconds: expected 1, found 0
                    path: Ask, Both, One
              FAIL  no mock (RUNNING, 1 states, 0 calls)
                    w.test.yaml:21:5: there is no mock for call 1 of state 'Ask'
                    path: Ask
              FAIL  it fails where it should not (FAILED, 1 states, 1 calls)
                    w.test.yaml:28:5: expected SUCCEEDED, found FAILED (Lost: away)
                    w.test.yaml:28:15: output: there is no output
                    path: Ask
            0 passed, 4 failed
        "#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "what is printed is long")]
fn what_is_wrong_with_the_file_is_told_in_one_go() {
    check(
        r#"
mocks:
  Aks: { result: 1 }
  Both: { result: 1 }
  One: { result: 1 }
case: []
cases:
  - name: a
    inptu: 1
    mocks: { Ask: { reslt: 1 } }
    expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
  - mocks: { Ask: [] }
    at: yesterday
    expect: {}
  - name: nothing expected
  - name: answers
    mocks: { Ask: [{ result: 1, error: x }, 5, { after: -1, result: 1 }, { calls: {} }] }
    expect: {}
"#,
        &expect![[r#"
            w.test.yaml
            w.test.yaml:5:3: error: there is no state `Aks`
              5 |   Aks: { result: 1 }
                |   ^
              hint: did you mean `Ask`?
            w.test.yaml:6:3: error: this Parallel state runs as it is; mock the Task states in it
              6 |   Both: { result: 1 }
                |   ^
            w.test.yaml:7:3: error: a Pass state calls nothing; Task states and distributed Maps do
              7 |   One: { result: 1 }
                |   ^
            w.test.yaml:8:1: error: unknown field `case`
              8 | case: []
                | ^
              hint: did you mean `cases`?
            w.test.yaml:11:5: error: unknown field `inptu`
              11 |     inptu: 1
                 |     ^
              hint: did you mean `input`?
            w.test.yaml:12:21: error: unknown field `reslt`
              12 |     mocks: { Ask: { reslt: 1 } }
                 |                     ^
              hint: did you mean `result`?
            w.test.yaml:13:15: error: there is no status `SUCCEDED`
              13 |     expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
                 |               ^
              hint: did you mean `SUCCEEDED`?
            w.test.yaml:13:45: error: there is no state `Bth`
              13 |     expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
                 |                                             ^
              hint: did you mean `Both`?
            w.test.yaml:13:60: error: this must be a whole number, 0 or more
              13 |     expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
                 |                                                            ^
            w.test.yaml:13:69: error: there is no state `X`
              13 |     expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
                 |                                                                     ^
              hint: known: Ask, Both, One
            w.test.yaml:13:77: error: unknown field `outputs`
              13 |     expect: { status: SUCCEDED, path: [Ask, Bth], calls: { Ask: -1, X: 1 }, outputs: 1 }
                 |                                                                             ^
              hint: did you mean `output`?
            w.test.yaml:14:14: error: a sequence of answers must have one at least
              14 |   - mocks: { Ask: [] }
                 |              ^
            w.test.yaml:15:5: error: this must be a moment as 2024-01-01T00:00:00Z
              15 |     at: yesterday
                 |     ^
            w.test.yaml:17:5: error: the case expects nothing
              17 |   - name: nothing expected
                 |     ^
              hint: write `expect: { status: SUCCEEDED }` at least
            w.test.yaml:19:20: error: an answer has one of `result`, `error` (a text) and `timeout: true`
              19 |     mocks: { Ask: [{ result: 1, error: x }, 5, { after: -1, result: 1 }, { calls: {} }] }
                 |                    ^
            w.test.yaml:19:45: error: an answer must be an object
              19 |     mocks: { Ask: [{ result: 1, error: x }, 5, { after: -1, result: 1 }, { calls: {} }] }
                 |                                             ^
              hint: write `{ result: … }`, `{ error: …, cause: … }` or `{ timeout: true }`
            w.test.yaml:19:50: error: this must be a number of seconds, 0 or more
              19 |     mocks: { Ask: [{ result: 1, error: x }, 5, { after: -1, result: 1 }, { calls: {} }] }
                 |                                                  ^
            w.test.yaml:19:76: error: unknown field `calls`
              19 |     mocks: { Ask: [{ result: 1, error: x }, 5, { after: -1, result: 1 }, { calls: {} }] }
                 |                                                                            ^
              hint: known: result, error, cause, timeout, after
            0 passed, 1 failed
        "#]],
    );
    check(
        "cases: []\n",
        &expect![[r#"
        w.test.yaml
        w.test.yaml:3:1: error: the file needs a list of cases, one at least
          3 | cases: []
            | ^
        0 passed, 1 failed
    "#]],
    );
}

#[test]
fn what_is_wrong_with_the_workflow_is_told_there() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let shown = |path: &Path| {
        let mut report = Report::default();
        report.add(path, None);
        assert!(!report.all_passed());
        report.render().replace(&format!("{}/", folder.path().display()), "")
    };
    write("w.asl.yaml", "StartAt: A\nStates:\n  A: { Type: Pass, Nxt: B }\n");
    let path = write("w.test.yaml", "workflow: w.asl.yaml\ncases: [{ expect: {} }]\n");
    expect![[r#"
        w.test.yaml
        w.asl.yaml:3:3: error: SCHEMA_VALIDATION_FAILED: One of these fields is required: [Next, End]
          hint: name the state that comes next, or, if none does, write `End: true`
        w.asl.yaml:3:20: error: SCHEMA_VALIDATION_FAILED: Field 'Nxt' is not supported
          hint: unknown field `Nxt`; did you mean `Next`?
        0 passed, 1 failed
    "#]].assert_eq(&shown(&path));
    write("w.asl.yaml", WORKFLOW);
    expect![[r#"
        w.test.yaml
        w.test.yaml:1:1: error: the workflow needs `${BASE}`
          1 | workflow: w.asl.yaml
            | ^
          hint: write `vars: { BASE: … }` (a text)
        0 passed, 1 failed
    "#]]
    .assert_eq(&shown(&path));
    let path = write("w.test.yaml", "workflow: v.asl.yaml\ncases: [{ expect: {} }]\n");
    expect![[r#"
        w.test.yaml
        w.test.yaml:1:1: error: v.asl.yaml: it cannot be read: No such file or directory (os error 2)
          1 | workflow: v.asl.yaml
            | ^
        0 passed, 1 failed
    "#]].assert_eq(&shown(&path));
    let path = write("w.test.yaml", "workflow: [\n");
    expect![[r#"
        w.test.yaml
        w.test.yaml:2:1: error: not YAML: while parsing a node, did not find expected node content
        0 passed, 1 failed
    "#]]
    .assert_eq(&shown(&path));
}
