//! JSON values to and from the evaluator's.

use jsonata_core::value::{JArray, JMap, JValue, with_stack};
use serde_json::{Map, Number, Value};

/// Why a result is not a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoJson {
    Function,
    TooDeep,
    TooLarge,
}

/// `size` grows by what the evaluator may have to walk: a unit a value and one a byte of text.
pub(crate) fn to_evaluator(value: &Value, size: &mut u64) -> JValue {
    *size += 1;
    match value {
        Value::Null => JValue::Null,
        Value::Bool(flag) => JValue::Bool(*flag),
        Value::Number(number) => JValue::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => {
            *size += text.len() as u64;
            JValue::string(text.as_str())
        }
        Value::Array(items) => with_stack(|| {
            let flat = !items.iter().any(Value::is_array);
            let items = items.iter().map(|item| to_evaluator(item, size)).collect();
            JValue::Array(JArray::new_flat(items, flat))
        }),
        Value::Object(members) => with_stack(|| {
            let members: JMap = members
                .iter()
                .map(|(name, value)| {
                    *size += name.len() as u64;
                    (name.clone(), to_evaluator(value, size))
                })
                .collect();
            JValue::Object(members.into())
        }),
    }
}

/// Bounds of a result.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) depth: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), NoJson> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(NoJson::TooLarge)?;
        Ok(())
    }

    fn enter(&mut self) -> Result<(), NoJson> {
        self.depth = self.depth.checked_sub(1).ok_or(NoJson::TooDeep)?;
        self.take(2)
    }
}

/// The JSON value of a result; `None` for undefined. Members that are undefined or functions are
/// left out, and such items are null, as `JSON.stringify` has it.
pub(crate) fn from_evaluator(value: &JValue, room: &mut Room) -> Result<Option<Value>, NoJson> {
    match value {
        JValue::Undefined => Ok(None),
        JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => Err(NoJson::Function),
        value => data(value, room),
    }
}

fn data(value: &JValue, room: &mut Room) -> Result<Option<Value>, NoJson> {
    Ok(Some(match value {
        JValue::Undefined | JValue::Lambda(_) | JValue::Builtin { .. } | JValue::Regex { .. } => {
            return Ok(None);
        }
        JValue::Null => {
            room.take(4)?;
            Value::Null
        }
        JValue::Bool(flag) => {
            room.take(4)?;
            Value::Bool(*flag)
        }
        JValue::Number(number) => {
            room.take(1)?;
            from_f64(*number)
        }
        JValue::String(text) => {
            room.take(text.len() + 2)?;
            Value::String(text.to_string())
        }
        JValue::Array(items) => {
            room.enter()?;
            let mut list = Vec::with_capacity(items.len());
            for item in items {
                room.take(1)?;
                list.push(data(item, room)?.unwrap_or(Value::Null));
            }
            room.depth += 1;
            Value::Array(list)
        }
        JValue::Object(members) => {
            room.enter()?;
            let mut object = Map::with_capacity(members.len());
            for (name, member) in members.as_ref() {
                room.take(name.len() + 4)?;
                if let Some(member) = data(member, room)? {
                    object.insert(name.clone(), member);
                }
            }
            room.depth += 1;
            Value::Object(object)
        }
    }))
}

/// Integral numbers without a fraction, as far as an integer holds them; what is not finite is
/// null, as in `JSON.stringify`.
pub(crate) fn from_f64(number: f64) -> Value {
    // The bounds are exact powers of two: every f64 in between fits.
    const I64_END: f64 = 9_223_372_036_854_775_808.0;
    const U64_END: f64 = 18_446_744_073_709_551_616.0;
    if number.fract() == 0.0 && (-I64_END..I64_END).contains(&number) {
        return Value::from(number as i64);
    }
    if number.fract() == 0.0 && (0.0..U64_END).contains(&number) {
        return Value::from(number as u64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
