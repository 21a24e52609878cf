//! What is delivered: JSON bytes, of which single fields are read without parsing the rest.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// A JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// The caller vouches that the bytes are JSON; they are sent as they are.
    #[must_use]
    pub fn from_bytes(json: Bytes) -> Self {
        Payload(json)
    }

    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The top-level field's text when it is a string, a number or a boolean.
    pub(crate) fn field(&self, name: &str) -> Field {
        let mut json = serde_json::Deserializer::from_slice(&self.0);
        json.deserialize_any(Pick(name)).unwrap_or(Field::NoObject)
    }
}

impl From<&Value> for Payload {
    fn from(value: &Value) -> Self {
        Payload(Bytes::from(value.to_string()))
    }
}

/// What a payload has under a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Text(String),
    /// Null, an array or an object.
    NoText,
    Absent,
    /// The payload has no fields at all.
    NoObject,
}

struct Pick<'n>(&'n str);

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Field, A::Error> {
        let mut found = Field::Absent;
        while let Some(name) = members.next_key::<std::borrow::Cow<'de, str>>()? {
            if name != self.0 {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            found = match members.next_value::<Value>()? {
                Value::String(text) => Field::Text(text),
                Value::Number(number) => Field::Text(number.to_string()),
                Value::Bool(flag) => Field::Text(flag.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => Field::NoText,
            };
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_a_top_level_field() {
        let check = |json: &'static str, expected: Field| {
            let payload = Payload::from_bytes(Bytes::from_static(json.as_bytes()));
            assert_eq!(payload.field("sku"), expected, "{json}");
        };
        let text = |text: &str| Field::Text(text.to_owned());
        check(r#"{"a":{"sku":"no"},"sku":"A-1","z":[1]}"#, text("A-1"));
        check(r#"{"sku":17.50}"#, text("17.5"));
        check(r#"{"s\u006bu":true}"#, text("true"));
        check(r#"{"sku":null}"#, Field::NoText);
        check(r#"{"sku":["x"]}"#, Field::NoText);
        check(r#"{"other":1}"#, Field::Absent);
        check("[1]", Field::NoObject);
        check("no json", Field::NoObject);
    }
}
