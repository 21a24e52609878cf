//! An event pattern and an event, with a unit separator between them: one pattern by itself, the
//! machine for many and the explanation agree.

use std::collections::BTreeSet;

use serde_json::Value;
use stepbus_pattern::{Matcher, Pattern, Scratch};

pub fn run(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0x1f);
    let text = parts.next().unwrap_or_default();
    let event = parts.next().unwrap_or(b"{}");
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let other = Pattern::parse(br#"{"a":[{"prefix":"b"}],"c":["d",1]}"#).expect("it is one");
    let matcher = Matcher::new();
    matcher.add_all([(1, &pattern), (2, &other)]);
    let mut scratch = Scratch::new();
    let many = matcher.matches(event, &mut scratch).map(|found| found.contains(&1));
    let one = pattern.matches(event);
    let told = pattern.explain(event).map(|explanation| explanation.matched);
    // The machine passes over what no pattern asks for and sees no fault in there.
    if let Ok(one) = one {
        let many = many.expect("what one pattern reads, the machine reads");
        assert!(many == one || gives_a_field_twice(event), "the machine differs");
        assert!(told.expect("so does the explanation") == one, "the explanation differs");
    }
    assert!(matcher.remove(1), "it was there");
    if let Ok(found) = matcher.matches(event, &mut scratch) {
        assert!(!found.contains(&1), "it is gone and matches");
    }
}

/// Which of two values of one field counts is not defined.
fn gives_a_field_twice(event: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(event) else { return true };
    let mut quoted = false;
    let mut escaped = false;
    let colons = event.iter().filter(|byte| {
        let here = !quoted && **byte == b':';
        quoted ^= **byte == b'"' && !escaped;
        escaped = **byte == b'\\' && !escaped;
        here
    });
    let mut members = 0;
    let unique = fields(&value, "", &mut members).is_some();
    !unique || members != colons.count()
}

/// The dotted names below a value; nothing when two members of an object share one.
fn fields(value: &Value, name: &str, members: &mut usize) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    match value {
        Value::Object(object) => {
            *members += object.len();
            for (key, member) in object {
                let name = format!("{name}.{key}");
                let mut inside = fields(member, &name, members)?;
                inside.insert(name);
                let parts = inside.len() + all.len();
                all.extend(inside);
                if all.len() < parts {
                    return None;
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                all.extend(fields(item, name, members)?);
            }
        }
        _ => {}
    }
    Some(all)
}
