use expect_test::{Expect, expect};

use super::{Folder, REST, check as check_section};

/// A subscription with these fields beside what it must have.
#[track_caller]
pub(super) fn check(fields: &str, expected: Expect) {
    let must = [
        ("bus", "bus: catalog"),
        ("pattern", "pattern: { source: [a] }"),
        ("target", "target: { destination: crm }"),
    ];
    let mut text = format!("subscriptions:\n  s:\n    {}", fields.replace('\n', "\n    "));
    for (name, line) in must {
        if !fields.lines().any(|line| line.starts_with(name)) {
            text.push_str(&format!("\n    {line}"));
        }
    }
    check_section(&text, expected);
}

#[test]
fn what_must_be_there() {
    check_section(
        "subscriptions: { s: }",
        expect![[r#"
        stepbus.yaml:1:18: error: `bus` is missing
          1 | subscriptions: { s: }
            |                  ^
          hint: The bus it listens to.
        stepbus.yaml:1:18: error: `pattern` is missing
          1 | subscriptions: { s: }
            |                  ^
          hint: The event pattern, or the path of a file that holds it.
        stepbus.yaml:1:18: error: `target` is missing
          1 | subscriptions: { s: }
            |                  ^
          hint: Where it goes.
    "#]],
    );
    check(
        "buss: catalog",
        expect![[r#"
        stepbus.yaml:2:3: error: `bus` is missing
          2 |   s:
            |   ^
          hint: The bus it listens to.
        stepbus.yaml:3:5: error: unknown field `buss`
          3 |     buss: catalog
            |     ^
          hint: did you mean `bus`?
    "#]],
    );
}

#[test]
fn names_of_other_parts() {
    check(
        "bus: catalogue",
        expect![[r#"
        stepbus.yaml:3:10: error: no bus is named `catalogue`
          3 |     bus: catalogue
            |          ^
          hint: did you mean `catalog`?
    "#]],
    );
    check(
        "target: { destination: shop }",
        expect![[r#"
        stepbus.yaml:3:28: error: no destination is named `shop`
          3 |     target: { destination: shop }
            |                            ^
          hint: known: crm
    "#]],
    );
    check(
        "target: { workflow: sink }",
        expect![[r#"
        stepbus.yaml:3:25: error: no workflow is named `sink`
          3 |     target: { workflow: sink }
            |                         ^
          hint: did you mean `sync`?
    "#]],
    );
}

#[test]
fn targets() {
    check(
        "target: { bus: catalogs }",
        expect![[r#"
        stepbus.yaml:3:20: error: no bus is named `catalogs`
          3 |     target: { bus: catalogs }
            |                    ^
          hint: did you mean `catalog`?
    "#]],
    );
    check(
        "target: { queue: 'a b' }",
        expect![[r#"
        stepbus.yaml:3:22: error: `a b` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          3 |     target: { queue: 'a b' }
            |                      ^
    "#]],
    );
    check(
        "target: { log: { fil: x, rotate: { size: 5 MB, keep: -1 } } }",
        expect![[r#"
        stepbus.yaml:3:22: error: unknown field `fil`
          3 |     target: { log: { fil: x, rotate: { size: 5 MB, keep: -1 } } }
            |                      ^
          hint: did you mean `file`?
        stepbus.yaml:3:46: error: `5 MB` is no size; write for example 64KiB or 1MiB
          3 |     target: { log: { fil: x, rotate: { size: 5 MB, keep: -1 } } }
            |                                              ^
        stepbus.yaml:3:58: error: -1 is out of range
          3 |     target: { log: { fil: x, rotate: { size: 5 MB, keep: -1 } } }
            |                                                          ^
          hint: from 0 to 1000
    "#]],
    );
}

#[test]
fn one_target() {
    check(
        "target: { lambda: q, mail: x }",
        expect![[r#"
            stepbus.yaml:3:15: error: unknown field `lambda`
              3 |     target: { lambda: q, mail: x }
                |               ^
              hint: known: workflow, destination, function, bus, queue, log, mail
            stepbus.yaml:3:32: error: expected an object, found a text
              3 |     target: { lambda: q, mail: x }
                |                                ^
              hint: its fields: connection, from, to, cc, reply_to, subject, body
        "#]],
    );
    check(
        "target: {}",
        expect![[r#"
            stepbus.yaml:3:5: error: one of `workflow`, `destination`, `function`, `bus`, `queue`, `log`, `mail` is missing
              3 |     target: {}
                |     ^
              hint: give exactly one
        "#]],
    );
    check(
        "target: { workflow: sync, destination: crm }",
        expect![[r#"
            stepbus.yaml:3:31: error: only one of `workflow`, `destination`, `function`, `bus`, `queue`, `log`, `mail` may be given
              3 |     target: { workflow: sync, destination: crm }
                |                               ^
        "#]],
    );
    check(
        "dead_letter: my queue",
        expect![[r#"
        stepbus.yaml:3:18: error: `my queue` is no name: up to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit
          3 |     dead_letter: my queue
            |                  ^
    "#]],
    );
}

#[test]
fn patterns() {
    check(
        "pattern: {}",
        expect![[r#"
        stepbus.yaml:3:5: error: not an event pattern: Empty objects are not allowed
          3 |     pattern: {}
            |     ^
    "#]],
    );
    check(
        "pattern: { source: a }",
        expect![[r#"
        stepbus.yaml:3:16: error: not an event pattern: "source" must be an object or an array
          3 |     pattern: { source: a }
            |                ^
    "#]],
    );
    check(
        "pattern:\n  detail:\n    price: [ { numeric: [ \"><\", 1 ] } ]",
        expect![[r#"
        stepbus.yaml:5:37: error: not an event pattern: Unrecognized numeric range operator: ><
          5 |         price: [ { numeric: [ "><", 1 ] } ]
            |                                     ^
    "#]],
    );
    check(
        "pattern: 12",
        expect![[r#"
        stepbus.yaml:3:14: error: expected a path or an object, found a number
          3 |     pattern: 12
            |              ^
          hint: for example patterns/fetched.json
    "#]],
    );
    check(
        "pattern: nothing.json",
        expect![[r#"
        stepbus.yaml:3:14: error: `nothing.json` does not exist
          3 |     pattern: nothing.json
            |              ^
          hint: beside it: stepbus.yaml
    "#]],
    );
}

#[test]
fn expressions() {
    check(
        "key: $event.detail.sku",
        expect![[r#"
        stepbus.yaml:3:10: error: expected an expression, found plain text
          3 |     key: $event.detail.sku
            |          ^
          hint: write "{% … %}"
    "#]],
    );
    check(
        "key: \"{% $evnt.detail.sku %}\"",
        expect![[r#"
        stepbus.yaml:3:14: error: `$evnt` has no value here
          3 |     key: "{% $evnt.detail.sku %}"
            |              ^
          hint: did you mean `$event`?
    "#]],
    );
    check(
        "key: \"{% $event.detail.( %}\"",
        expect![[r#"
            stepbus.yaml:3:29: error: this is no JSONata: S0207: Unexpected end of expression (at character 16)
              3 |     key: "{% $event.detail.( %}"
                |                             ^
        "#]],
    );
    check(
        "key: \"{% $event.detail.sku\"",
        expect![[r#"
        stepbus.yaml:3:10: error: this is no JSONata: The string begins with '{%' but does not end with '%}'. An expression fills its string: no character may follow '%}'.
          3 |     key: "{% $event.detail.sku"
            |          ^
    "#]],
    );
    check(
        "transform: { a: \"{% $event.detail.sku %}\", b: { c: \"{% $states %}\" } }",
        expect![[r#"
        stepbus.yaml:3:60: error: `$states` has no value here
          3 |     transform: { a: "{% $event.detail.sku %}", b: { c: "{% $states %}" } }
            |                                                            ^
          hint: known: $event
    "#]],
    );
    check(
        "transform: \"{% 1 + %}\"",
        expect![[r#"
            stepbus.yaml:3:23: error: this is no JSONata: S0207: Unexpected end of expression (at character 4)
              3 |     transform: "{% 1 + %}"
                |                       ^
        "#]],
    );
}

#[test]
fn options() {
    check(
        "order: sorted",
        expect![[r#"
        stepbus.yaml:3:12: error: `sorted` is not known here
          3 |     order: sorted
            |            ^
          hint: known: unordered, fifo
    "#]],
    );
    check(
        "order: fifo",
        expect![[r#"
        stepbus.yaml:3:12: error: `fifo` keeps the order within a key, and there is none
          3 |     order: fifo
            |            ^
          hint: add `key`, for example "{% $event.detail.id %}"
    "#]],
    );
    check(
        "skip_unchanged: yes",
        expect![[r#"
        stepbus.yaml:3:21: error: expected true, false or an object, found a text
          3 |     skip_unchanged: yes
            |                     ^
          hint: true or false, without quotes
    "#]],
    );
    check(
        "skip_unchanged: true",
        expect![[r#"
        stepbus.yaml:3:21: error: payloads are compared within a key, and there is none
          3 |     skip_unchanged: true
            |                     ^
          hint: add `key`, for example "{% $event.detail.id %}"
    "#]],
    );
    check(
        "version: \"{% $event.detail.v %}\"",
        expect![[r#"
        stepbus.yaml:3:14: error: versions are compared within a key, and there is none
          3 |     version: "{% $event.detail.v %}"
            |              ^
          hint: add `key`, for example "{% $event.detail.id %}"
    "#]],
    );
}

#[test]
fn failures() {
    check(
        "on_dead_letter: block",
        expect![[r#"
        stepbus.yaml:3:21: error: only a key in order can be blocked
          3 |     on_dead_letter: block
            |                     ^
          hint: add `order: fifo`
        stepbus.yaml:3:21: error: a blocked key waits for its dead letter, and none is kept
          3 |     on_dead_letter: block
            |                     ^
          hint: add `dead_letter: NAME`
    "#]],
    );
    check(
        "retry: { max_age: forever, max_attempts: 186 }",
        expect![[r#"
        stepbus.yaml:3:23: error: `forever` is no span of time; write for example 250ms, 5s, 24h or 30d
          3 |     retry: { max_age: forever, max_attempts: 186 }
            |                       ^
        stepbus.yaml:3:46: error: 186 is out of range
          3 |     retry: { max_age: forever, max_attempts: 186 }
            |                                              ^
          hint: from 0 to 185
    "#]],
    );
    check(
        "enabled: 1",
        expect![[r#"
        stepbus.yaml:3:14: error: expected true or false, found a number
          3 |     enabled: 1
            |              ^
    "#]],
    );
}

#[test]
fn what_a_target_inside_cannot_do() {
    let asks = "key: \"{% $event.detail.id %}\"\norder: fifo\ndead_letter: q\nskip_unchanged: true\n\
                version: \"{% $event.detail.v %}\"\non_dead_letter: block\nretry: { max_attempts: 3 }";
    check(
        &format!("{asks}\ntarget: {{ queue: q }}"),
        expect![[r#"
        stepbus.yaml:6:5: error: a queue is reached in the commit that publishes: this leaves nothing out there
          6 |     skip_unchanged: true
            |     ^
          hint: leave it out, or give the subscription a target that is called
        stepbus.yaml:7:5: error: a queue is reached in the commit that publishes: this keeps nothing older away
          7 |     version: "{% $event.detail.v %}"
            |     ^
          hint: leave it out, or give the subscription a target that is called
        stepbus.yaml:8:5: error: a queue is reached in the commit that publishes: this holds up no key
          8 |     on_dead_letter: block
            |     ^
          hint: leave it out, or give the subscription a target that is called
        stepbus.yaml:9:5: error: a queue is reached in the commit that publishes: this is not tried again
          9 |     retry: { max_attempts: 3 }
            |     ^
          hint: leave it out, or give the subscription a target that is called
    "#]],
    );
    check(
        "target: { workflow: sync }\nskip_unchanged: { ignore: [at] }\nkey: \"{% $event.id %}\"",
        expect![[r#"
            stepbus.yaml:4:5: error: a workflow is reached in the commit that publishes: this leaves nothing out there
              4 |     skip_unchanged: { ignore: [at] }
                |     ^
              hint: leave it out, or give the subscription a target that is called
        "#]],
    );
    check(
        "target: { bus: catalog }\nretry: { max_age: 1h }",
        expect![[r#"
        stepbus.yaml:4:5: error: a bus is reached in the commit that publishes: this is not tried again
          4 |     retry: { max_age: 1h }
            |     ^
          hint: leave it out, or give the subscription a target that is called
    "#]],
    );
    // A log is reached after the commit and compares as others do.
    check(&format!("{asks}\ntarget: {{ log: {{ file: a }} }}"), expect![[""]]);
}

#[test]
fn files_of_their_own() {
    let folder = |extra: &str| {
        Folder::new(&format!(
            "name: a\nsubscriptions:\n  s:\n    bus: catalog\n    target: {{ destination: crm }}\n    \
             {extra}\n{REST}"
        ))
    };
    let pattern = "pattern: { source: [a] }";
    let said = folder(&format!("{pattern}\n    transform: map/crm.jsonat"))
        .file("map/crm.jsonata", "1")
        .rendered();
    expect![[r#"
        stepbus.yaml:7:16: error: `map/crm.jsonat` does not exist
          7 |     transform: map/crm.jsonat
            |                ^
          hint: did you mean `crm.jsonata`?
    "#]]
    .assert_eq(&said);
    let said =
        folder(&format!("{pattern}\n    transform: map.txt")).file("map.txt", "1").rendered();
    expect![[r#"
        stepbus.yaml:7:16: error: what `map.txt` holds does not show from its name
          7 |     transform: map.txt
            |                ^
          hint: name it *.jsonata, *.json or *.yaml
    "#]]
    .assert_eq(&said);
    let said = folder(&format!("{pattern}\n    transform: map.jsonata"))
        .file("map.jsonata", "{\n  \"a\": $envent.x\n}\n")
        .rendered();
    expect![[r#"
        map.jsonata:2:8: error: `$envent` has no value here
          2 |   "a": $envent.x
            |        ^
          hint: did you mean `$event`?
    "#]]
    .assert_eq(&said);
    let said = folder(&format!("{pattern}\n    transform: map.yaml"))
        .file("map.yaml", "a: 1\nb: \"{% $event.( %}\"\n")
        .rendered();
    expect![[r#"
        map.yaml:2:16: error: this is no JSONata: S0207: Unexpected end of expression (at character 9)
          2 | b: "{% $event.( %}"
            |                ^
    "#]]
    .assert_eq(&said);
    let said = folder("pattern: p.json").file("p.json", "{\n \"source\": [],\n}").rendered();
    expect![[r#"
        p.json:3:1: error: not JSON: a key must be text in double quotes (what starts with `{` or `[` is read as JSON)
          3 | }
            | ^
    "#]].assert_eq(&said);
    let said =
        folder("pattern: p.json").file("p.json", "{\n \"detail\": { \"a\": 1 } }").rendered();
    expect![[r#"
        p.json:2:14: error: not an event pattern: "a" must be an object or an array
          2 |  "detail": { "a": 1 } }
            |              ^
    "#]]
    .assert_eq(&said);
}
