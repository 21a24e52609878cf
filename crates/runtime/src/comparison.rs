//! What of a payload counts when it is compared with the last one delivered.

use serde_json::Value;
use stepbus_expr::{Env, EvalError, Scope, Template};

use crate::event::EventBody;

/// A place in a payload, taken apart. In arrays, a name stands for it in every element.
pub(crate) type Place = Vec<String>;

/// Takes a place apart: `meta.updated_at`, `prices.*.stamp`, or a JSON pointer where a name has a
/// dot in it.
///
/// # Errors
/// When a part of it is empty.
pub fn place(text: &str) -> Result<Place, String> {
    let parts: Place = match text.strip_prefix('/') {
        Some(pointer) => {
            pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
        }
        None => text.split('.').map(str::to_owned).collect(),
    };
    if parts.iter().any(String::is_empty) {
        return Err(format!("`{text}` names no place; write for example `meta.updated_at`"));
    }
    Ok(parts)
}

#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) ignore: Vec<Place>,
    pub(crate) by: Option<Template>,
}

impl Compared {
    /// What is compared of a payload.
    pub(crate) fn of(&self, mut payload: Value, event: &EventBody) -> Result<Value, EvalError> {
        for place in &self.ignore {
            remove(&mut payload, place);
        }
        let Some(by) = &self.by else { return Ok(payload) };
        let mut scope = Scope::new(Env { now: event.row.at, seed: event.row.id.0 });
        scope.bind("payload", &payload);
        scope.bind("event", event.value());
        Ok(by.eval(&scope)?.unwrap_or(Value::Null))
    }
}

fn remove(value: &mut Value, place: &[String]) {
    let Some((first, rest)) = place.split_first() else { return };
    match value {
        Value::Object(members) if first == "*" => {
            if rest.is_empty() {
                members.clear();
            }
            members.values_mut().for_each(|member| remove(member, rest));
        }
        Value::Object(members) if rest.is_empty() => {
            members.remove(first);
        }
        Value::Object(members) => {
            if let Some(member) = members.get_mut(first) {
                remove(member, rest);
            }
        }
        Value::Array(items) => {
            let index = first.parse::<usize>().ok();
            match index {
                _ if first == "*" && rest.is_empty() => items.clear(),
                _ if first == "*" => items.iter_mut().for_each(|item| remove(item, rest)),
                // Nulled, so that those after it keep their index.
                Some(index) if rest.is_empty() => {
                    if let Some(item) = items.get_mut(index) {
                        *item = Value::Null;
                    }
                }
                Some(index) => {
                    if let Some(item) = items.get_mut(index) {
                        remove(item, rest);
                    }
                }
                None => items.iter_mut().for_each(|item| remove(item, place)),
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_taken_out() {
        let check = |text: &str, expected: Value| {
            let mut value = json!({
                "sku": "P",
                "meta": { "at": 1, "by": { "at": 2, "a.b": 3 } },
                "prices": [{ "at": 4, "n": 5 }, { "n": 6 }],
                "tags": ["x", "y"],
            });
            remove(&mut value, &place(text).unwrap());
            for (name, expected) in expected.as_object().unwrap() {
                assert_eq!(&value[name], expected, "{text}");
            }
        };
        check("sku", json!({ "sku": null }));
        check("meta.at", json!({ "meta": { "by": { "at": 2, "a.b": 3 } } }));
        check("meta.*.at", json!({ "meta": { "at": 1, "by": { "a.b": 3 } } }));
        check("/meta/by/a.b", json!({ "meta": { "at": 1, "by": { "at": 2 } } }));
        check("prices.at", json!({ "prices": [{ "n": 5 }, { "n": 6 }] }));
        check("prices.*.n", json!({ "prices": [{ "at": 4 }, {}] }));
        check("prices.1.n", json!({ "prices": [{ "at": 4, "n": 5 }, {}] }));
        check("tags.*", json!({ "tags": [] }));
        check("tags.0", json!({ "tags": [null, "y"] }));
        check("sku.deeper", json!({ "sku": "P" }));
        check("absent.at", json!({ "sku": "P" }));
    }

    #[test]
    fn an_empty_part_names_nothing() {
        for text in ["", ".", "a.", "/", "a..b", "/a//b"] {
            assert!(place(text).unwrap_err().contains("names no place"), "{text}");
        }
    }
}
