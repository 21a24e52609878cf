//! The size of a value as JSON, counted without writing it.

use serde_json::{Number, Value};

/// Arrays and objects inside one another. What is deeper could be written but not read again.
pub(crate) const MAX_DEPTH: usize = 100;

/// What a value has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Bytes,
    Depth,
}

/// Whether the value's compact JSON text has more than `most` bytes, or the value is nested too
/// deep. Stops counting there.
pub(crate) fn excess(value: &Value, most: usize) -> Option<Excess> {
    // Most values are far from it, which shows without a look into their texts.
    if fits::<AtMost>(value, &mut { most }, MAX_DEPTH).is_ok() {
        return None;
    }
    fits::<Exact>(value, &mut { most }, MAX_DEPTH).err()
}

/// The bytes of the value's compact JSON text; nothing when it is nested too deep.
pub(crate) fn measured(value: &Value) -> Option<u64> {
    let mut room = usize::MAX;
    fits::<Exact>(value, &mut room, MAX_DEPTH).ok()?;
    Some((usize::MAX - room) as u64)
}

/// The bytes of the value's compact JSON text.
pub(crate) fn bytes(value: &Value) -> u64 {
    let mut room = usize::MAX;
    // Deeper than text may go, so that only a missing room could end the count.
    let _ = fits::<Exact>(value, &mut room, usize::MAX);
    (usize::MAX - room) as u64
}

/// How long texts and numbers are.
trait Lengths {
    fn text(text: &str) -> usize;
    fn number(number: &Number) -> usize;
}

struct Exact;

/// No character has more than six bytes, and no number more than 24.
struct AtMost;

impl Lengths for AtMost {
    fn text(text: &str) -> usize {
        6 * text.len() + 2
    }

    fn number(_: &Number) -> usize {
        24
    }
}

fn fits<L: Lengths>(value: &Value, room: &mut usize, depth: usize) -> Result<(), Excess> {
    match value {
        Value::Null | Value::Bool(true) => spend(room, 4),
        Value::Bool(false) => spend(room, 5),
        Value::Number(number) => spend(room, L::number(number)),
        Value::String(text) => spend(room, L::text(text)),
        Value::Array(items) => {
            let depth = depth.checked_sub(1).ok_or(Excess::Depth)?;
            spend(room, 1 + items.len().max(1))?;
            items.iter().try_for_each(|item| fits::<L>(item, room, depth))
        }
        Value::Object(members) => {
            let depth = depth.checked_sub(1).ok_or(Excess::Depth)?;
            spend(room, 1 + members.len().max(1))?;
            members.iter().try_for_each(|(name, value)| {
                spend(room, L::text(name) + 1)?;
                fits::<L>(value, room, depth)
            })
        }
    }
}

fn spend(room: &mut usize, bytes: usize) -> Result<(), Excess> {
    *room = room.checked_sub(bytes).ok_or(Excess::Bytes)?;
    Ok(())
}

impl Lengths for Exact {
    fn number(number: &Number) -> usize {
        match number.as_u64() {
            Some(whole) => whole.checked_ilog10().unwrap_or(0) as usize + 1,
            None => number.to_string().len(),
        }
    }

    fn text(text: &str) -> usize {
        // Most texts have nothing to escape, which is seen many bytes at a time.
        let escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        if !text.bytes().fold(false, |any, byte| any | escaped(byte)) {
            return text.len() + 2;
        }
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
            json!([f64::MIN, -f64::MIN_POSITIVE, -f64::MIN_POSITIVE / 3.0, i64::MIN, u64::MAX]),
            json!(["\u{1}", "\u{1f}\u{7f}"]),
            json!({"a": {"b": ["ü\n\"\u{1}", 0, 1_000_000]}, "": null}),
        ] {
            let length = value.to_string().len();
            assert!(fits::<AtMost>(&value, &mut { length - 1 }, MAX_DEPTH).is_err(), "{value}");
            assert_eq!(excess(&value, length), None, "{value}");
            assert_eq!(excess(&value, length - 1), Some(Excess::Bytes), "{value}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels| (0..levels).fold(json!(1), |inside, _| json!([inside]));
        assert_eq!(excess(&nested(MAX_DEPTH), usize::MAX), None);
        assert_eq!(excess(&nested(MAX_DEPTH + 1), usize::MAX), Some(Excess::Depth));
    }
}
