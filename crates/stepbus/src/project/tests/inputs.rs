use expect_test::expect;
use serde_json::json;
use stepbus_runtime::InputSpec;

use super::subscriptions::check;
use super::{Folder, REST};

#[test]
fn one_way_to_say_what_is_sent() {
    check(
        "transform: \"{% $event.detail %}\"\ninput_path: $.detail",
        expect![[r#"
            stepbus.yaml:4:5: error: only one of `transform`, `input`, `input_path`, `input_transformer` may be given
              4 |     input_path: $.detail
                |     ^
        "#]],
    );
    check(
        "input: '{}'\ninput_path: $.detail",
        expect![[r#"
            stepbus.yaml:4:5: error: Only one of Input, InputPath, or InputTransformer must be provided for target s.
              4 |     input_path: $.detail
                |     ^
        "#]],
    );
}

#[test]
fn inputs_of_put_targets() {
    check(
        "input: '{a: 1}'",
        expect![[r#"
        stepbus.yaml:3:12: error: JSON syntax error in input for target s: key must be a string at line 1 column 2
          3 |     input: '{a: 1}'
            |            ^
    "#]],
    );
    check(
        "input_path: detail",
        expect![[r#"
        stepbus.yaml:3:17: error: InputPath for target s is invalid. "detail": 'detail' is not a JSONPath: a path begins with '$' (at character 1)
          3 |     input_path: detail
            |                 ^
    "#]],
    );
    check(
        "input_path: ['$.detail']",
        expect![[r#"
        stepbus.yaml:3:17: error: expected a text, found a list
          3 |     input_path: ['$.detail']
            |                 ^
          hint: for example $.detail
    "#]],
    );
}

#[test]
fn templates() {
    check(
        "input_transformer: { paths: { a: $.detail } }",
        expect![[r#"
        stepbus.yaml:3:5: error: `template` is missing
          3 |     input_transformer: { paths: { a: $.detail } }
            |     ^
          hint: InputTemplate: an object, or quoted lines, in which `<name>` stands for a value.
    "#]],
    );
    check(
        "input_transformer: { paths: { a: detail }, template: '<a>' }",
        expect![[r#"
        stepbus.yaml:3:38: error: InputPath for target s is invalid. "detail": 'detail' is not a JSONPath: a path begins with '$' (at character 1)
          3 |     input_transformer: { paths: { a: detail }, template: '<a>' }
            |                                      ^
    "#]],
    );
    check(
        "input_transformer: { paths: { a: $.detail }, template: '{\"x\": <b>}' }",
        expect![[r#"
        stepbus.yaml:3:67: error: InputTemplate for target s contains invalid placeholder b.
          3 |     input_transformer: { paths: { a: $.detail }, template: '{"x": <b>}' }
            |                                                                   ^
    "#]],
    );
    check(
        "input_transformer: { pathes: { a: $.x }, template: '<aws.events.event.json>' }",
        expect![[r#"
        stepbus.yaml:3:26: error: unknown field `pathes`
          3 |     input_transformer: { pathes: { a: $.x }, template: '<aws.events.event.json>' }
            |                          ^
          hint: did you mean `paths`?
    "#]],
    );
    check(
        "input_transformer: { paths: { a.b: $.x }, template: '{\"x\": }' }",
        expect![[r#"
        stepbus.yaml:3:40: error: InputPathsMap for target s has an invalid "a.b": a name is made of letters, digits, '_' and '-'.
          3 |     input_transformer: { paths: { a.b: $.x }, template: '{"x": }' }
            |                                        ^
    "#]],
    );
    check(
        "input_transformer: { template: '{\"x\": }' }",
        expect![[r#"
        stepbus.yaml:3:36: error: Invalid InputTemplate for target s : expected value at line 1 column 7 in "{"x": }"; strings need quotes.
          3 |     input_transformer: { template: '{"x": }' }
            |                                    ^
    "#]],
    );
}

#[test]
fn parameters_of_a_call() {
    check(
        "path_parameter: { sku: $.detail.sku }",
        expect![[r#"
        stepbus.yaml:3:5: error: unknown field `path_parameter`
          3 |     path_parameter: { sku: $.detail.sku }
            |     ^
          hint: did you mean `path_parameters`?
    "#]],
    );
    check(
        "path_parameters: { sku: '$.detail[' }",
        expect![[r#"
        stepbus.yaml:3:29: error: '$.detail[' is not a JSONPath: a name in quotes, an index, a slice, '*' or a filter '?(…)' is missing here (at character 10)
          3 |     path_parameters: { sku: '$.detail[' }
            |                             ^
    "#]],
    );
    check(
        "query_parameters: { q: \"{% $evnt.x %}\" }",
        expect![[r#"
        stepbus.yaml:3:32: error: `$evnt` has no value here
          3 |     query_parameters: { q: "{% $evnt.x %}" }
            |                                ^
          hint: did you mean `$event`?
    "#]],
    );
    check(
        "header_parameters: { Host: x, X-Ok: 1 }",
        expect![[r#"
        stepbus.yaml:3:32: error: `Host` cannot be the name of such a header
          3 |     header_parameters: { Host: x, X-Ok: 1 }
            |                                ^
    "#]],
    );
    check(
        "header_parameters: { X-Api-Key: x }",
        expect![[r#"
        stepbus.yaml:3:37: error: `X-Api-Key` looks like a secret, which has no place here
          3 |     header_parameters: { X-Api-Key: x }
            |                                     ^
          hint: a connection carries secrets: its `auth`, `headers` or `query`
    "#]],
    );
    check(
        "header_parameters: { X-A: \"${URL}\", X-B: [] }",
        expect![[r#"
        stepbus.yaml:3:31: error: no reference is filled in here
          3 |     header_parameters: { X-A: "${URL}", X-B: [] }
            |                               ^
          hint: what comes from outside stands in a connection or destination
        stepbus.yaml:3:46: error: expected a text, found a list
          3 |     header_parameters: { X-A: "${URL}", X-B: [] }
            |                                              ^
          hint: an expression may give it: "{% … %}"
    "#]],
    );
    check(
        "target: { queue: q }\nquery_parameters: { q: x }",
        expect![[r#"
        stepbus.yaml:4:5: error: `query_parameters` belongs to a call over HTTP
          4 |     query_parameters: { q: x }
            |     ^
          hint: give it a `destination` as its target
    "#]],
    );
}

#[test]
fn batches() {
    check(
        "batch: { size: 10 }",
        expect![[r#"
        stepbus.yaml:3:5: error: the URL of `crm` has a placeholder, which is one event's
          3 |     batch: { size: 10 }
            |     ^
          hint: take a URL that takes an array
    "#]],
    );
    check(
        "batch: { siez: 10, window: 5 }",
        expect![[r#"
        stepbus.yaml:3:5: error: `size` is missing
          3 |     batch: { siez: 10, window: 5 }
            |     ^
          hint: Payloads in one call, at most.
        stepbus.yaml:3:14: error: unknown field `siez`
          3 |     batch: { siez: 10, window: 5 }
            |              ^
          hint: did you mean `size`?
        stepbus.yaml:3:32: error: expected a text, found a number
          3 |     batch: { siez: 10, window: 5 }
            |                                ^
          hint: for example 5s
    "#]],
    );
    check(
        "target: { queue: q }\nbatch: { size: 0, max_bytes: 1 GB }",
        expect![[r#"
        stepbus.yaml:4:20: error: 0 is out of range
          4 |     batch: { size: 0, max_bytes: 1 GB }
            |                    ^
          hint: from 1 to 1000
        stepbus.yaml:4:34: error: `1 GB` is no size; write for example 64KiB or 1MiB
          4 |     batch: { size: 0, max_bytes: 1 GB }
            |                                  ^
    "#]],
    );
    check(
        "target: { queue: q }\nbatch: { size: 5 }",
        expect![[r#"
        stepbus.yaml:4:5: error: only a call over HTTP takes several payloads
          4 |     batch: { size: 5 }
            |     ^
          hint: give it a `destination` or a `function` as its target
    "#]],
    );
}

#[test]
fn functions() {
    let check = |fields: &str, expected: expect_test::Expect| {
        let functions = "functions: { price: { url: \"${URL}/{price}\", timeout: 5s } }";
        let text = format!(
            "{functions}\nsubscriptions:\n  s:\n    bus: catalog\n    pattern: {{ source: [a] }}\n    \
             {fields}"
        );
        super::check(&text, expected);
    };
    check("target: { function: price }\n    batch: { size: 5 }", expect![[""]]);
    check(
        "target: { function: prize }",
        expect![[r#"
        stepbus.yaml:6:25: error: no function is named `prize`
          6 |     target: { function: prize }
            |                         ^
          hint: did you mean `price`?
    "#]],
    );
    check(
        "target: { function: price }\n    path_parameters: { price: $.detail.price }",
        expect![[r#"
            stepbus.yaml:7:5: error: `path_parameters` belongs to a call over HTTP
              7 |     path_parameters: { price: $.detail.price }
                |     ^
              hint: give it a `destination` as its target
        "#]],
    );
}

#[test]
fn mails() {
    check(
        "target: { mail: { connection: crm, from: nobody, to: [a@b.example, x], subject: s } }",
        expect![[r#"
            stepbus.yaml:3:35: error: `crm` is no connection to a mail server
              3 |     target: { mail: { connection: crm, from: nobody, to: [a@b.example, x], subject: s } }
                |                                   ^
              hint: give it `smtp: { host: … }`
            stepbus.yaml:3:46: error: `nobody` is no mail address: Invalid input
              3 |     target: { mail: { connection: crm, from: nobody, to: [a@b.example, x], subject: s } }
                |                                              ^
              hint: for example Shop <shop@example.com>
            stepbus.yaml:3:58: error: `x` is no mail address: Invalid input
              3 |     target: { mail: { connection: crm, from: nobody, to: [a@b.example, x], subject: s } }
                |                                                          ^
        "#]],
    );
    check(
        "target: { mail: { conection: crm, to: \"{% $evnt.to %}\" } }",
        expect![[r#"
        stepbus.yaml:3:15: error: `connection` is missing
          3 |     target: { mail: { conection: crm, to: "{% $evnt.to %}" } }
            |               ^
          hint: The connection to the mail server.
        stepbus.yaml:3:15: error: `from` is missing
          3 |     target: { mail: { conection: crm, to: "{% $evnt.to %}" } }
            |               ^
          hint: Who sends it: `Shop <shop@example.com>`.
        stepbus.yaml:3:15: error: `subject` is missing
          3 |     target: { mail: { conection: crm, to: "{% $evnt.to %}" } }
            |               ^
          hint: Its subject, a template over `$event`.
        stepbus.yaml:3:23: error: unknown field `conection`
          3 |     target: { mail: { conection: crm, to: "{% $evnt.to %}" } }
            |                       ^
          hint: did you mean `connection`?
        stepbus.yaml:3:47: error: `$evnt` has no value here
          3 |     target: { mail: { conection: crm, to: "{% $evnt.to %}" } }
            |                                               ^
          hint: did you mean `$event`?
    "#]],
    );
    super::check(
        "connections: { crm: { smtp: { host: mail.example, tls: none, prot: 25 }, auth: { api_key: { header: X, value: \"${PASSWORD}\" } } } }",
        expect![[r#"
            stepbus.yaml:1:62: error: unknown field `prot`
              1 | …onnections: { crm: { smtp: { host: mail.example, tls: none, prot: 25 }, auth: { api_key: { header: X, value: "${PASSWORD…
                |                                                              ^
              hint: did you mean `port`?
        "#]],
    );
    super::check(
        "connections: { crm: { smtp: { host: mail.example, tls: none }, query: { a: b } } }",
        expect![[r#"
            stepbus.yaml:1:71: error: a mail server takes none
              1 | connections: { crm: { smtp: { host: mail.example, tls: none }, query: { a: b } } }
                |                                                                       ^
        "#]],
    );
}

const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBhTCCASugAwIBAgIUZZJgYKAlvaCLzS3a40LkdnvlfnAwCgYIKoZIzj0EAwIw\n\
FzEVMBMGA1UEAwwMbWFpbC5leGFtcGxlMCAXDTI2MTEyNDIzMzA0MloYDzIxMjYx\n\
MDMxMjMzMDQyWjAXMRUwEwYDVQQDDAxtYWlsLmV4YW1wbGUwWTATBgcqhkjOPQIB\n\
BggqhkjOPQMBBwNCAAQ806+ocoo4oaTpJPE5uSjXrp2mCnHFAaXoC90KSF9I6689\n\
yZqYgV/vyx3WoijoUIP2n1B+Zodpzs1ozUFFklzTo1MwUTAdBgNVHQ4EFgQUqUaz\n\
M8PrJfJEFu0X8ZMVnyVQSYAwHwYDVR0jBBgwFoAUqUazM8PrJfJEFu0X8ZMVnyVQ\n\
SYAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA4lmUMJFGEJJ7\n\
fPe0UecnyUqAwrjyQKUbQMEIomdwJ24CIB+8ml+JOcEPM572qxcBIPVohVI+vSPy\n\
KZ+DyUgO5e6F\n\
-----END CERTIFICATE-----\n\n";

#[test]
fn authorities_of_mail_servers() {
    let said = |smtp: &str, pem: &str| {
        let text = format!(
            "name: a\nconnections: {{ office: {{ smtp: {{ host: mail.example, {smtp} }} }} }}"
        );
        Folder::new(&text).file("ca.pem", pem).rendered()
    };
    assert_eq!(said("ca: ca.pem", AUTHORITY), "");
    expect![[r#"
        stepbus.yaml:2:58: error: `ca.pme` does not exist
          2 | connections: { office: { smtp: { host: mail.example, ca: ca.pme } } }
            |                                                          ^
          hint: did you mean `ca.pem`?
    "#]]
    .assert_eq(&said("ca: ca.pme", ""));
    expect![[r#"
        stepbus.yaml:2:58: error: it holds no certificate in PEM
          2 | connections: { office: { smtp: { host: mail.example, ca: ca.pem } } }
            |                                                          ^
    "#]]
    .assert_eq(&said("ca: ca.pem", "no certificate"));
    expect![[r#"
        stepbus.yaml:2:58: error: there is no TLS by which a certificate could be checked
          2 | connections: { office: { smtp: { host: mail.example, ca: ca.pem, tls: none } } }
            |                                                          ^
    "#]]
    .assert_eq(&said("ca: ca.pem, tls: none", "-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_good_one() {
    let text = format!(
        r#"
name: test
subscriptions:
  s:
    bus: catalog
    pattern: {{ source: [a] }}
    target: {{ destination: crm }}
    input_transformer: {{ paths: {{ sku: $.detail.sku }}, template: '"<sku> changed"' }}
    path_parameters: {{ sku: $.detail.sku }}
    header_parameters: {{ X-Source: "{{% $event.source %}}" }}
    query_parameters: {{ n: 1 }}
{REST}"#
    );
    let project = Folder::new(&text).good();
    let spec = &project.declared.subscriptions[0];
    let paths = json!({ "sku": "$.detail.sku" }).as_object().unwrap().clone();
    let template = "\"<sku> changed\"".to_owned();
    assert_eq!(spec.input, Some(InputSpec::Transformer { paths, template }));
    assert_eq!(
        serde_json::to_value(&spec.parameters).unwrap(),
        json!({
            "path": { "sku": "$.detail.sku" },
            "headers": { "X-Source": "{% $event.source %}" },
            "query": { "n": "1" },
        })
    );
}
