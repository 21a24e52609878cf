//! Rules and statuses, as a table.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;

use super::*;

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::try_from(*name).unwrap();
        map.insert(name, value.parse().unwrap());
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: map, body }
}

fn classify(rules: Value, answer: &Answer) -> (Class, Option<String>) {
    let mut errors = Vec::new();
    let rules = Rules::compile(&serde_json::from_value(rules).unwrap(), &mut errors);
    assert_eq!(errors, []);
    rules.classify(&Seen::new(answer, Env::new(Timestamp(0), 0)), Timestamp(0))
}

const SECONDS: fn(u64) -> Option<Duration> = |seconds| Some(Duration::from_secs(seconds));

#[test]
fn the_status_decides_without_rules() {
    let check = |status: u16, after: Option<&str>, expected: Class| {
        let headers: Vec<_> = after.map(|after| ("retry-after", after)).into_iter().collect();
        let (class, broken) = classify(json!({}), &answer(status, &headers, ""));
        assert_eq!((class, broken), (expected, None), "{status} {after:?}");
    };
    check(200, None, Class::Success);
    check(204, None, Class::Success);
    check(301, None, Class::Permanent);
    check(400, None, Class::Permanent);
    check(401, None, Class::Login);
    check(403, None, Class::Permanent);
    check(404, None, Class::Permanent);
    check(407, None, Class::Login);
    check(409, None, Class::Retryable(None));
    check(422, None, Class::Permanent);
    check(429, None, Class::Throttled(None));
    check(429, Some("0"), Class::Throttled(SECONDS(0)));
    check(429, Some("Thu, 01 Jan 1970 00:00:30 GMT"), Class::Throttled(SECONDS(30)));
    check(429, Some("soon"), Class::Throttled(None));
    check(500, None, Class::Retryable(None));
    check(500, Some("9"), Class::Retryable(SECONDS(9)));
    check(503, None, Class::Retryable(None));
    check(503, Some("2"), Class::Throttled(SECONDS(2)));
}

#[test]
fn rules_decide_before_the_status() {
    let check = |rules: Value, status: u16, body: &str, expected: Class| {
        let (class, broken) = classify(rules.clone(), &answer(status, &[], body));
        assert_eq!((class, broken), (expected, None), "{rules} {status} {body}");
    };
    let rpc = json!({ "success": "{% $not($exists($response.body.error)) %}" });
    check(rpc.clone(), 200, r#"{"result":1}"#, Class::Success);
    check(rpc.clone(), 200, r#"{"error":["UserError"]}"#, Class::Permanent);
    check(rpc.clone(), 502, "<h1>Bad gateway</h1>", Class::Retryable(None));
    check(rpc, 413, "", Class::Permanent);

    let duplicate = json!({ "success": "$response.status = 400 and $response.body.code = 'dup'" });
    check(duplicate.clone(), 400, r#"{"code":"dup"}"#, Class::Success);
    check(duplicate.clone(), 400, r#"{"code":"bad"}"#, Class::Permanent);
    check(duplicate, 200, "{}", Class::Permanent);

    let shop = json!({
        "login": "$response.body.errors[0].code = 'FORBIDDEN' ? true",
        "throttled": "$response.body.errors[0].code = 'BUSY' ? 7",
        "success": "$count($response.body.errors) = 0",
        "retryable": "$response.body.errors[0].code = 'LOCKED'",
    });
    let error = |code: &str| format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
    check(shop.clone(), 200, r#"{"data":{}}"#, Class::Success);
    check(shop.clone(), 200, &error("FORBIDDEN"), Class::Login);
    check(shop.clone(), 200, &error("BUSY"), Class::Throttled(SECONDS(7)));
    check(shop.clone(), 200, &error("LOCKED"), Class::Retryable(None));
    check(shop.clone(), 200, &error("OTHER"), Class::Permanent);
    check(shop, 500, "", Class::Retryable(None));

    check(json!({ "retryable": "$response.status = 429" }), 429, "", Class::Retryable(None));
    check(json!({ "permanent": "$response.status = 401" }), 401, "", Class::Permanent);
    check(json!({ "retryable": "false" }), 500, "", Class::Retryable(None));
    check(json!({ "permanent": "false" }), 400, "", Class::Permanent);
    check(json!({ "permanent": "$response.status = 409" }), 409, "", Class::Permanent);
    check(json!({ "retryable": "$response.headers.`x-retry` = '1'" }), 400, "", Class::Permanent);
}

#[test]
fn a_rule_that_fails_makes_no_success() {
    let rules = json!({ "success": "$number($response.body.count) > 0" });
    let (class, broken) = classify(rules.clone(), &answer(200, &[], r#"{"count":"x"}"#));
    assert_eq!(class, Class::Permanent);
    assert!(broken.unwrap().contains("$number($response.body.count)"));
    let (class, _) = classify(rules, &answer(500, &[], r#"{"count":"x"}"#));
    assert_eq!(class, Class::Retryable(None));
}
