use expect_test::expect;

use stepbus_connect::BucketPlace;

use super::{Folder, check};

#[test]
fn connections() {
    check(
        "connections: { crm: { auth: { basic: { username: a } } } }",
        expect![[r#"
        stepbus.yaml:1:31: error: `password` is missing
          1 | connections: { crm: { auth: { basic: { username: a } } } }
            |                               ^
          hint: The password, as `${VAR}` or `${file:PATH}`.
    "#]],
    );
    check(
        "connections: { crm: { auth: {} } }",
        expect![[r#"
        stepbus.yaml:1:23: error: one of `basic`, `api_key`, `oauth` is missing
          1 | connections: { crm: { auth: {} } }
            |                       ^
          hint: give exactly one
    "#]],
    );
    check(
        "connections: { crm: { auth: { bearer: {} } } }",
        expect![[r#"
        stepbus.yaml:1:31: error: unknown field `bearer`
          1 | connections: { crm: { auth: { bearer: {} } } }
            |                               ^
          hint: known: basic, api_key, oauth
    "#]],
    );
    check(
        "connections: { crm: { auth: { basic: { username: a, password: \"${PASSWORD}\" }, api_key: { \
         header: X, value: \"${PASSWORD}\" } } } }",
        expect![[r#"
            stepbus.yaml:1:80: error: only one of `basic`, `api_key`, `oauth` may be given
              1 | …ns: { crm: { auth: { basic: { username: a, password: "${PASSWORD}" }, api_key: { header: X, value: "${PASSWORD}" } } } }
                |                                                                        ^
        "#]],
    );
    check(
        "connections: { crm: { auth: { api_key: { value: \"${PASSWORD}\" } } } }",
        expect![[r#"
        stepbus.yaml:1:31: error: one of `header`, `query` is missing
          1 | connections: { crm: { auth: { api_key: { value: "${PASSWORD}" } } } }
            |                               ^
          hint: give exactly one
    "#]],
    );
}

#[test]
fn what_a_connection_bears() {
    check(
        "connections: { crm: { concurrency: 0 } }",
        expect![[r#"
        stepbus.yaml:1:36: error: 0 is out of range
          1 | connections: { crm: { concurrency: 0 } }
            |                                    ^
          hint: from 1 to 100000
    "#]],
    );
    check(
        "connections: { crm: { concurrency: many } }",
        expect![[r#"
        stepbus.yaml:1:36: error: expected a whole number, found a text
          1 | connections: { crm: { concurrency: many } }
            |                                    ^
    "#]],
    );
    check(
        "connections: { crm: { concurrency: 1.5 } }",
        expect![[r#"
        stepbus.yaml:1:36: error: expected a whole number, found 1.5
          1 | connections: { crm: { concurrency: 1.5 } }
            |                                    ^
    "#]],
    );
    check(
        "connections: { crm: { rate: 300 } }",
        expect![[r#"
        stepbus.yaml:1:29: error: expected a text, found a number
          1 | connections: { crm: { rate: 300 } }
            |                             ^
          hint: for example 300/s
    "#]],
    );
    check(
        "connections: { crm: { rate: 300/x } }",
        expect![[r#"
        stepbus.yaml:1:29: error: `300/x` is no rate: the unit must be s, min, h or day; write for example 300/s, 10/min or `5/s burst 20`
          1 | connections: { crm: { rate: 300/x } }
            |                             ^
    "#]],
    );
}

#[test]
fn what_a_connection_sends() {
    check(
        "connections: { crm: { headers: { X-A: [1] } } }",
        expect![[r#"
        stepbus.yaml:1:39: error: expected a text, found a list
          1 | connections: { crm: { headers: { X-A: [1] } } }
            |                                       ^
          hint: header and query values are text
    "#]],
    );
    check(
        "connections: { crm: { auth: { oauth: { token_url: crm.example/token, client_id: x, \
         client_secret: \"${PASSWORD}\", style: xml, scopes: all } } } }",
        expect![[r#"
            stepbus.yaml:1:51: error: `crm.example/token` is no URL: it must start with http:// or https://
              1 | connections: { crm: { auth: { oauth: { token_url: crm.example/token, client_id: x, client_secret: "${PASSWORD}", style: …
                |                                                   ^
              hint: for example https://crm.example/products/{sku}
            stepbus.yaml:1:121: error: `xml` is not known here
              1 | …th: { oauth: { token_url: crm.example/token, client_id: x, client_secret: "${PASSWORD}", style: xml, scopes: all } } } }
                |                                                                                                  ^
              hint: known: form, basic, json
            stepbus.yaml:1:134: error: expected a list, found a text
              1 | …th: { oauth: { token_url: crm.example/token, client_id: x, client_secret: "${PASSWORD}", style: xml, scopes: all } } } }
                |                                                                                                               ^
        "#]],
    );
}

#[test]
fn secrets_never_stand_in_the_file() {
    check(
        "connections: { crm: { auth: { basic: { username: a, password: hunter2 } }, x: 1 } }",
        expect![[r#"
            stepbus.yaml:1:63: error: a secret stands here in clear
              1 | connections: { crm: { auth: { basic: { username: a, password: ******* } }, x: 1 } }
                |                                                               ^
              hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
            stepbus.yaml:1:76: error: unknown field `x`
              1 | connections: { crm: { auth: { basic: { username: a, password: ******* } }, x: 1 } }
                |                                                                            ^
              hint: known: smtp, auth, concurrency, rate, headers, query
        "#]],
    );
    check(
        "connections: { crm: { auth: { basic: { username: a, password: 123456 } } } }",
        expect![[r#"
        stepbus.yaml:1:63: error: expected a text, found a number
          1 | connections: { crm: { auth: { basic: { username: a, password: ****** } } } }
            |                                                               ^
          hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
    "#]],
    );
    check(
        "connections: { crm: { headers: { Authorization: Bearer abc } } }",
        expect![[r#"
        stepbus.yaml:1:49: error: a secret stands here in clear
          1 | connections: { crm: { headers: { Authorization: ********** } } }
            |                                                 ^
          hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
    "#]],
    );
    check(
        "connections: { crm: { query: { api_key: abc } } }",
        expect![[r#"
        stepbus.yaml:1:41: error: a secret stands here in clear
          1 | connections: { crm: { query: { api_key: *** } } }
            |                                         ^
          hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
    "#]],
    );
}

#[test]
fn secrets_from_outside() {
    check(
        "connections: { crm: { auth: { basic: { username: a, password: \"${EMPTY}\" } } } }",
        expect![[r#"
            stepbus.yaml:1:63: error: `${EMPTY}` is empty
              1 | connections: { crm: { auth: { basic: { username: a, password: "${EMPTY}" } } } }
                |                                                               ^
              hint: a secret must not be empty
        "#]],
    );
    check(
        "connections: { crm: { auth: { basic: { username: a, password: \"${file:nothing}\" } } } }"
            .replace("nothing", "/nowhere/at/all")
            .as_str(),
        expect![[r#"
            stepbus.yaml:1:64: error: the file `/nowhere/at/all` cannot be read: No such file or directory (os error 2)
              1 | connections: { crm: { auth: { basic: { username: a, password: "${file:/nowhere/at/all}" } } } }
                |                                                                ^
              hint: the file is looked for at /nowhere/at/all
        "#]],
    );
    check(
        "destinations: { crm: { url: \"https://a:b@crm.example/\" } }",
        expect![[r#"
        stepbus.yaml:1:29: error: credentials do not belong in a URL; put them in the connection's auth
          1 | destinations: { crm: { url: "https://a:b@crm.example/" } }
            |                             ^
          hint: for example https://crm.example/products/{sku}
    "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}/?access_token=${PASSWORD}\" } }",
        expect![[r#"
        stepbus.yaml:1:29: error: the URL carries `access_token`; put it in the connection's auth, as api_key: { query: access_token, value: … }
          1 | destinations: { crm: { url: "${URL}/?access_token=${PASSWORD}" } }
            |                             ^
          hint: for example https://crm.example/products/{sku}
    "#]],
    );
}

#[test]
fn what_comes_from_outside_is_not_shown() {
    check(
        "destinations: { crm: { url: \"${PASSWORD}\" } }",
        expect![[r#"
        stepbus.yaml:1:29: error: `${PASSWORD}` is no URL: it must start with http:// or https://
          1 | destinations: { crm: { url: "${PASSWORD}" } }
            |                             ^
          hint: for example https://crm.example/products/{sku}
    "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}/{\" } }",
        expect![[r#"
        stepbus.yaml:1:29: error: `${URL}/{` has a `{` that belongs to no placeholder; write `{name}` for a placeholder and `{{` for the brace
          1 | destinations: { crm: { url: "${URL}/{" } }
            |                             ^
    "#]],
    );
}

#[test]
fn destinations() {
    check(
        "destinations: { crm: { connection: cmr, url: \"${URL}/\" } }",
        expect![[r#"
        stepbus.yaml:1:36: error: no connection is named `cmr`
          1 | destinations: { crm: { connection: cmr, url: "${URL}/" } }
            |                                    ^
          hint: did you mean `crm`?
    "#]],
    );
    check(
        "destinations: { crm: { method: PUT } }",
        expect![[r#"
        stepbus.yaml:1:17: error: one of `url`, `upsert` is missing
          1 | destinations: { crm: { method: PUT } }
            |                 ^
          hint: give exactly one
    "#]],
    );
    check(
        "destinations: { crm: { url: crm.example } }",
        expect![[r#"
        stepbus.yaml:1:29: error: `crm.example` is no URL: it must start with http:// or https://
          1 | destinations: { crm: { url: crm.example } }
            |                             ^
          hint: for example https://crm.example/products/{sku}
    "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}\", method: put } }",
        expect![[r#"
        stepbus.yaml:1:47: error: `put` is no HTTP method; write for example PUT
          1 | destinations: { crm: { url: "${URL}", method: put } }
            |                                               ^
    "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}\", timeout: 5 } }",
        expect![[r#"
        stepbus.yaml:1:48: error: expected a text, found a number
          1 | destinations: { crm: { url: "${URL}", timeout: 5 } }
            |                                                ^
          hint: for example 5s
    "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}\", timeout: soon } }",
        expect![[r#"
        stepbus.yaml:1:48: error: `soon` is no span of time; write for example 250ms, 5s, 24h or 30d
          1 | destinations: { crm: { url: "${URL}", timeout: soon } }
            |                                                ^
    "#]],
    );
}

#[test]
fn expressions_of_destinations() {
    check(
        "destinations: { crm: { url: \"${URL}\", outcome: { success: \"$response.ok\" } } }",
        expect![[r#"
            stepbus.yaml:1:59: error: expected an expression, found plain text
              1 | destinations: { crm: { url: "${URL}", outcome: { success: "$response.ok" } } }
                |                                                           ^
              hint: write "{% … %}"
        "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}\", outcome: { success: \"{% $respons.ok %}\" } } }",
        expect![[r#"
            stepbus.yaml:1:63: error: `$respons` has no value here
              1 | destinations: { crm: { url: "${URL}", outcome: { success: "{% $respons.ok %}" } } }
                |                                                               ^
              hint: did you mean `$response`?
        "#]],
    );
    check(
        "destinations: { crm: { url: \"${URL}\", body: { a: [ \"{% $payload. %}\" ] } } }",
        expect![[r#"
            stepbus.yaml:1:65: error: this is no JSONata: S0207: Unexpected end of expression (at character 10)
              1 | destinations: { crm: { url: "${URL}", body: { a: [ "{% $payload. %}" ] } } }
                |                                                                 ^
        "#]],
    );
}

#[test]
fn upserts() {
    let call = "{ method: GET, url: \"${URL}\" }";
    check(
        &format!(
            "destinations:\n  crm:\n    headers: {{ A: b }}\n    upsert:\n      find: {call}\n      \
             create: {call}\n      update: {call}\n      id: \"{{% $response.body.id %}}\""
        ),
        expect![[r#"
            stepbus.yaml:3:5: error: `headers` belongs to a call, and an upsert has three
              3 |     headers: { A: b }
                |     ^
              hint: move it into find, create or update
        "#]],
    );
    check(
        "destinations:\n  crm:\n    upsert: { find: 1, id: x }",
        expect![[r#"
        stepbus.yaml:3:5: error: `create` is missing
          3 |     upsert: { find: 1, id: x }
            |     ^
          hint: Makes what is not there.
        stepbus.yaml:3:5: error: `update` is missing
          3 |     upsert: { find: 1, id: x }
            |     ^
          hint: Changes what is there.
        stepbus.yaml:3:21: error: expected an object, found a number
          3 |     upsert: { find: 1, id: x }
            |                     ^
          hint: its fields: method, url, headers, query, body
        stepbus.yaml:3:28: error: expected an expression, found plain text
          3 |     upsert: { find: 1, id: x }
            |                            ^
          hint: write "{% … %}"
    "#]],
    );
}

#[test]
fn buckets() {
    check(
        "buckets: { files: {} }",
        expect![[r#"
        stepbus.yaml:1:12: error: one of `path`, `s3` is missing
          1 | buckets: { files: {} }
            |            ^
          hint: give exactly one
    "#]],
    );
    check(
        "buckets: { files: { pth: ./data } }",
        expect![[r#"
        stepbus.yaml:1:21: error: unknown field `pth`
          1 | buckets: { files: { pth: ./data } }
            |                     ^
          hint: did you mean `path`?
    "#]],
    );
    check(
        "buckets: { files: { path: ./data, s3: {} } }",
        expect![[r#"
        stepbus.yaml:1:35: error: only one of `path`, `s3` may be given
          1 | buckets: { files: { path: ./data, s3: {} } }
            |                                   ^
    "#]],
    );
    check(
        "buckets: { files: { s3: { endpoint: localhost } } }",
        expect![[r#"
        stepbus.yaml:1:37: error: `localhost` is no URL: it must start with http:// or https://
          1 | buckets: { files: { s3: { endpoint: localhost } } }
            |                                     ^
          hint: for example http://127.0.0.1:9000
    "#]],
    );
    check(
        "buckets: { files: { s3: { access_key: AKIA, secret_key: x } } }",
        expect![[r#"
        stepbus.yaml:1:39: error: a secret stands here in clear
          1 | buckets: { files: { s3: { access_key: ****, secret_key: * } } }
            |                                       ^
          hint: take it from the environment, "${NAME}", or from a file, "${file:PATH}"
          also at stepbus.yaml:1:57
    "#]],
    );
    check(
        "buckets: { files: { s3: { access_key: \"${PASSWORD}\" } } }",
        expect![[r#"
        stepbus.yaml:1:25: error: `access_key` and `secret_key` go together
          1 | buckets: { files: { s3: { access_key: "${PASSWORD}" } } }
            |                         ^
    "#]],
    );
    check(
        "buckets: { files: { s3: { style: host } } }",
        expect![[r#"
        stepbus.yaml:1:34: error: `host` is not known here
          1 | buckets: { files: { s3: { style: host } } }
            |                                  ^
          hint: known: path, virtual
    "#]],
    );
}

#[test]
fn a_folder_is_seen_from_the_project_file() {
    let folder = Folder::new("name: a\nbuckets: { files: { path: ./data } }\n");
    let bucket = folder.good().declared.buckets.remove(0);
    let BucketPlace::Path(path) = bucket.place else { panic!("a folder") };
    assert!(path.is_absolute() && path.ends_with("data"), "{}", path.display());
}

#[test]
fn functions() {
    check(
        "functions: { price: { timeout: 5s } }",
        expect![[r#"
        stepbus.yaml:1:14: error: `url` is missing
          1 | functions: { price: { timeout: 5s } }
            |              ^
          hint: Where the payload is POSTed as JSON.
    "#]],
    );
    check(
        "functions: { price: { urll: \"http://x\", url: \"http://x\" } }",
        expect![[r#"
        stepbus.yaml:1:23: error: unknown field `urll`
          1 | functions: { price: { urll: "http://x", url: "http://x" } }
            |                       ^
          hint: did you mean `url`?
    "#]],
    );
    check(
        "functions: { price: { url: price, timeout: soon } }",
        expect![[r#"
        stepbus.yaml:1:28: error: `price` is no URL: it must start with http:// or https://
          1 | functions: { price: { url: price, timeout: soon } }
            |                            ^
          hint: for example http://127.0.0.1:9000/price
        stepbus.yaml:1:44: error: `soon` is no span of time; write for example 250ms, 5s, 24h or 30d
          1 | functions: { price: { url: price, timeout: soon } }
            |                                            ^
    "#]],
    );
    check(
        "functions: { price: { url: \"http://x\", connection: crn } }",
        expect![[r#"
        stepbus.yaml:1:52: error: no connection is named `crn`
          1 | functions: { price: { url: "http://x", connection: crn } }
            |                                                    ^
          hint: did you mean `crm`?
    "#]],
    );
    let text = "functions: { price: { url: \"${URL}/price\", connection: crm, timeout: 1500ms } }";
    let project =
        Folder::new(&format!("name: test\nconnections: {{ crm: {{}} }}\n{text}\n")).good();
    let function = &project.declared.functions[0];
    assert_eq!((&*function.name, &*function.url), ("price", "https://crm.example/price"));
    assert_eq!((function.connection.as_deref(), function.timeout_ms), (Some("crm"), Some(1_500)));
}
