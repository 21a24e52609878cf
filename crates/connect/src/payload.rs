//! What is delivered: JSON, of which single fields are read without parsing the rest, or text.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// A body on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// The caller vouches that the bytes are JSON; they are sent as they are.
    Json(Bytes),
    /// Text that is no JSON.
    Text(Bytes),
}

impl Payload {
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Payload::Json(bytes) | Payload::Text(bytes) => bytes,
        }
    }

    /// The `Content-Type` it goes under.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Payload::Json(_) => "application/json",
            Payload::Text(_) => "text/plain; charset=utf-8",
        }
    }

    /// As JSON text; a text becomes a string.
    #[must_use]
    pub fn json(&self) -> Bytes {
        match self {
            Payload::Json(bytes) => bytes.clone(),
            Payload::Text(bytes) => {
                Bytes::from(Value::from(String::from_utf8_lossy(bytes)).to_string())
            }
        }
    }

    /// The top-level field's text when it is a string, a number or a boolean.
    pub(crate) fn field(&self, name: &str) -> Field {
        let Payload::Json(bytes) = self else { return Field::NoObject };
        let mut json = serde_json::Deserializer::from_slice(bytes);
        json.deserialize_any(Pick(name)).unwrap_or(Field::NoObject)
    }
}

impl From<&Value> for Payload {
    fn from(value: &Value) -> Self {
        Payload::Json(Bytes::from(value.to_string()))
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
            let payload = Payload::Json(Bytes::from_static(json.as_bytes()));
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
