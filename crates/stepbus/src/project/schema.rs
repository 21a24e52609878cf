//! The JSON Schema of the project file, from its layout.

use serde_json::{Map, Value, json};

use super::format::NAME_PATTERN;
use super::layout::PROJECT;
use super::shape::{Inline, Object, Shape, Text};

/// For editors: what a project file may hold, with a sentence on each field.
#[must_use]
pub(crate) fn schema() -> Value {
    let mut schema = object(&PROJECT);
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Stepbus project file".into());
    Value::Object(schema)
}

/// A text that takes its value from outside fits everywhere.
const REFERENCE: &str = r"\$\{[^}]+\}";

fn object(object: &Object) -> Map<String, Value> {
    let mut properties = Map::new();
    for field in object.fields {
        let mut property = shape(&field.shape);
        property.insert("description".into(), field.about.into());
        properties.insert(field.name.into(), property.into());
    }
    let mut schema = typed("object");
    schema.insert("properties".into(), properties.into());
    schema.insert("additionalProperties".into(), false.into());
    let required: Vec<&str> =
        object.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    if !object.one_of.is_empty() {
        let one = object.one_of.iter().map(|name| json!({ "required": [name] }));
        schema.insert("oneOf".into(), one.collect());
    }
    schema
}

fn shape(shape: &Shape) -> Map<String, Value> {
    match shape {
        Shape::Object(inner) => object(inner),
        Shape::Named(inner) => {
            let mut schema = typed("object");
            let nullable = matches!(inner, Shape::Object(object) if has_no_required(object));
            let inner = self::shape(inner);
            let inner = if nullable { any_of([typed("null"), inner]) } else { inner };
            schema.insert("additionalProperties".into(), inner.into());
            schema.insert("propertyNames".into(), json!({ "pattern": whole(NAME_PATTERN) }));
            schema
        }
        Shape::List(inner) => {
            let mut schema = typed("array");
            schema.insert("items".into(), self::shape(inner).into());
            schema
        }
        Shape::Text(inner) => text(inner),
        Shape::Name(_) => pattern(NAME_PATTERN),
        Shape::Count(least, most) => {
            let mut count = typed("integer");
            count.insert("minimum".into(), (*least).into());
            count.insert("maximum".into(), (*most).into());
            any_of([count, reference()])
        }
        Shape::Flag => any_of([typed("boolean"), reference()]),
        Shape::FlagOr(inner) => any_of([typed("boolean"), reference(), object(inner)]),
        Shape::Word(words) => {
            let mut word = Map::new();
            word.insert("enum".into(), words.iter().copied().collect());
            any_of([word, reference()])
        }
        Shape::Size => {
            let mut bytes = typed("integer");
            bytes.insert("minimum".into(), 1.into());
            any_of([bytes, pattern(r"\s*[0-9]+\s*(B|KiB|MiB)?\s*")])
        }
        Shape::Plain(example) => {
            let mut schema = typed("string");
            schema.insert("examples".into(), json!([example]));
            schema
        }
        Shape::Params | Shape::Values(_) => {
            let mut schema = typed("object");
            let scalar = json!({ "type": ["string", "number", "boolean"] });
            schema.insert("additionalProperties".into(), scalar);
            schema
        }
        Shape::FileOr(example, inline) => {
            let mut path = typed("string");
            path.insert("examples".into(), json!([example]));
            let inline = match inline {
                Inline::Foreign | Inline::Template(_) => typed("object"),
                Inline::Object(inner) => object(inner),
            };
            any_of([path, inline])
        }
        Shape::Template(_) => Map::new(),
        Shape::Expression(_) => {
            let mut schema = typed("string");
            schema.insert("pattern".into(), r"^\{%[\s\S]*%\}$".into());
            schema
        }
    }
}

fn text(text: &Text) -> Map<String, Value> {
    let mut schema = if text.secret {
        reference()
    } else if text.pattern.is_empty() {
        typed("string")
    } else {
        pattern(text.pattern)
    };
    if !text.example.is_empty() {
        schema.insert("examples".into(), json!([text.example]));
    }
    schema
}

fn pattern(pattern: &str) -> Map<String, Value> {
    let mut schema = typed("string");
    schema.insert("pattern".into(), format!("{}|{REFERENCE}", whole(pattern)).into());
    schema
}

fn reference() -> Map<String, Value> {
    let mut schema = typed("string");
    schema.insert("pattern".into(), REFERENCE.into());
    schema
}

fn whole(pattern: &str) -> String {
    format!("^({pattern})$")
}

fn typed(name: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), name.into())])
}

fn any_of<const N: usize>(schemas: [Map<String, Value>; N]) -> Map<String, Value> {
    let schemas: Vec<Value> = schemas.into_iter().map(Value::Object).collect();
    Map::from_iter([("anyOf".to_owned(), schemas.into())])
}

fn has_no_required(object: &Object) -> bool {
    object.one_of.is_empty() && object.fields.iter().all(|field| !field.required)
}
