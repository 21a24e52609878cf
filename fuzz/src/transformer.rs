//! An input transformer's template, its paths and an event, with unit separators between them: a body
//! keeps its bound.

use serde_json::{Map, Value};
use stepbus_expr::{InputTransformer, RuleContext};
use stepbus_model::Timestamp;

const MOST: usize = 64 * 1024;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, '\u{1f}');
    let template = parts.next().unwrap_or_default();
    let mut json = || serde_json::from_str(parts.next().unwrap_or("{}"));
    let paths: Map<String, Value> = json().unwrap_or_default();
    let event: Value = parts.next().and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
    let transformer = match InputTransformer::parse(&paths, template) {
        Ok(transformer) => transformer,
        Err(error) => {
            let _ = error.message("target");
            return;
        }
    };
    let context = RuleContext {
        rule_arn: "arn:aws:events:local:000000000000:rule/r",
        rule_name: "r",
        ingestion_time: Timestamp(1_700_000_000_000),
    };
    if let Ok(body) = transformer.render(&event, &context, MOST) {
        assert!(body.len() <= MOST);
    }
}
