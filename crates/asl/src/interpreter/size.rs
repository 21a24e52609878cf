//! The size of a value as JSON, counted without writing it.

use serde_json::Value;

/// Whether the value's compact JSON text has more than `most` bytes. Stops counting there.
pub(crate) fn exceeds(value: &Value, most: usize) -> bool {
    let mut room = most;
    !fits(value, &mut room)
}

fn fits(value: &Value, room: &mut usize) -> bool {
    match value {
        Value::Null | Value::Bool(true) => spend(room, 4),
        Value::Bool(false) => spend(room, 5),
        Value::Number(number) => spend(room, number_length(number)),
        Value::String(text) => spend(room, text_length(text)),
        Value::Array(items) => {
            spend(room, 1 + items.len().max(1)) && items.iter().all(|item| fits(item, room))
        }
        Value::Object(members) => {
            spend(room, 1 + members.len().max(1))
                && members
                    .iter()
                    .all(|(name, value)| spend(room, text_length(name) + 1) && fits(value, room))
        }
    }
}

fn spend(room: &mut usize, bytes: usize) -> bool {
    match room.checked_sub(bytes) {
        Some(left) => {
            *room = left;
            true
        }
        None => false,
    }
}

fn number_length(number: &serde_json::Number) -> usize {
    match number.as_u64() {
        Some(whole) => whole.checked_ilog10().unwrap_or(0) as usize + 1,
        None => number.to_string().len(),
    }
}

fn text_length(text: &str) -> usize {
    let escapes: usize = text
        .bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
            0..0x20 => 5,
            _ => 0,
        })
        .sum();
    text.len() + escapes + 2
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_what_serde_json_writes() {
        for value in [
            json!(null),
            json!([]),
            json!({}),
            json!([1, 22, -3, 4.5, true, false]),
            json!({"a": {"b": ["ü\n\"\u{1}", 0, 1_000_000]}, "": null}),
        ] {
            let length = value.to_string().len();
            assert!(!exceeds(&value, length), "{value}");
            assert!(exceeds(&value, length - 1), "{value}");
        }
    }
}
