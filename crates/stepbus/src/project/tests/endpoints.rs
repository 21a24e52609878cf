use expect_test::{Expect, expect};

use super::check as check_section;

/// An endpoint with these fields beside what it must have.
#[track_caller]
fn check(fields: &str, expected: Expect) {
    let must = [
        ("route", "route: POST /sync/{container}"),
        ("auth", "auth: { api_key: \"${PASSWORD}\" }"),
        ("event", "event: { bus: catalog, detail-type: sync }"),
    ];
    let mut text = format!("endpoints:\n  e:\n    {}", fields.replace('\n', "\n    "));
    for (name, line) in must {
        if !fields.lines().any(|line| line.starts_with(name)) {
            text.push_str(&format!("\n    {line}"));
        }
    }
    check_section(&text, expected);
}

#[test]
fn endpoints() {
    check_section(
        "endpoints: { e: {} }",
        expect![[r#"
        stepbus.yaml:1:14: error: `route` is missing
          1 | endpoints: { e: {} }
            |              ^
          hint: Method and path, with parameters in braces.
        stepbus.yaml:1:14: error: `auth` is missing
          1 | endpoints: { e: {} }
            |              ^
          hint: Who may call.
        stepbus.yaml:1:14: error: `event` is missing
          1 | endpoints: { e: {} }
            |              ^
          hint: What is published.
    "#]],
    );
    check(
        "route: /sync",
        expect![[r#"
        stepbus.yaml:3:12: error: `/sync` is no route: a method and a path; write for example POST /sync/{container}
          3 |     route: /sync
            |            ^
    "#]],
    );
    check(
        "route: POST /sync/x{y}",
        expect![[r#"
        stepbus.yaml:3:12: error: `x{y}` is no part of a route: a parameter fills a part, as in {name}
          3 |     route: POST /sync/x{y}
            |            ^
          hint: for example POST /sync/{container}
    "#]],
    );
    check(
        "auth: { api_key: letmein }",
        expect![[r#"
        stepbus.yaml:3:22: error: a secret stands here in clear
          3 |     auth: { api_key: ******* }
            |                      ^
          hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
    "#]],
    );
}

#[test]
fn options() {
    check(
        "overlap: queue",
        expect![[r#"
        stepbus.yaml:3:14: error: `queue` is not known here
          3 |     overlap: queue
            |              ^
          hint: known: allow, refuse
    "#]],
    );
    check(
        "params: { contaner: [products] }",
        expect![[r#"
        stepbus.yaml:3:15: error: the route has no parameter `{contaner}`
          3 |     params: { contaner: [products] }
            |               ^
          hint: did you mean `container`?
    "#]],
    );
    check(
        "params: { container: products }",
        expect![[r#"
        stepbus.yaml:3:26: error: expected a list, found a text
          3 |     params: { container: products }
            |                          ^
    "#]],
    );
    check(
        "params: { container: [1] }",
        expect![[r#"
        stepbus.yaml:3:27: error: expected a text, found a number
          3 |     params: { container: [1] }
            |                           ^
          hint: put it in quotes if it is meant as text
    "#]],
    );
    check(
        "max_body: 1MB",
        expect![[r#"
        stepbus.yaml:3:15: error: `1MB` is no size; write for example 64KiB or 1MiB
          3 |     max_body: 1MB
            |               ^
    "#]],
    );
    check(
        "max_body: 0",
        expect![[r#"
        stepbus.yaml:3:15: error: expected a size, found 0
          3 |     max_body: 0
            |               ^
    "#]],
    );
    check(
        "max_body: 100MiB",
        expect![[r#"
        stepbus.yaml:3:15: error: no body may have more than 1048576 bytes
          3 |     max_body: 100MiB
            |               ^
    "#]],
    );
}

#[test]
fn events() {
    check(
        "event: { bus: catalog }",
        expect![[r#"
        stepbus.yaml:3:5: error: `detail-type` is missing
          3 |     event: { bus: catalog }
            |     ^
          hint: The event's type.
    "#]],
    );
    check(
        "event: { bus: nowhere, detail-type: a, detail: \"{% $event %}\" }",
        expect![[r#"
        stepbus.yaml:3:19: error: no bus is named `nowhere`
          3 |     event: { bus: nowhere, detail-type: a, detail: "{% $event %}" }
            |                   ^
          hint: known: catalog
        stepbus.yaml:3:56: error: `$event` has no value here
          3 |     event: { bus: nowhere, detail-type: a, detail: "{% $event %}" }
            |                                                        ^
          hint: known: $request
    "#]],
    );
}

#[test]
fn one_route_has_one_endpoint() {
    let endpoint = |name: &str, route: &str| {
        format!(
            "  {name}:\n    route: {route}\n    auth: {{ api_key: \"${{PASSWORD}}\" }}\n    event: {{ \
             bus: catalog, detail-type: a }}\n"
        )
    };
    let three = [
        endpoint("a", "POST /sync/{x}"),
        endpoint("b", "PUT /sync/{x}"),
        endpoint("c", "POST /sync/{y}"),
    ];
    check_section(
        &format!("endpoints:\n{}", three.concat()),
        expect![[r#"
        stepbus.yaml:11:12: error: the endpoint `a` has this route already
          11 |     route: POST /sync/{y}
             |            ^
    "#]],
    );
}
