//! JSON and YAML texts: every place can be asked for, and JSON means what it means elsewhere.

use serde_json::Value;
use stepbus_document::Document;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    visit(&document, document.value(), &mut String::new());
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    if json.trim_start().starts_with(['{', '['])
        && let Ok(elsewhere) = serde_json::from_str::<Value>(json)
    {
        assert!(*document.value() == elsewhere, "JSON is read as something else");
    }
}

fn visit(document: &Document, value: &Value, pointer: &mut String) {
    let at = document.position(pointer);
    assert!(at.line >= 1 && at.column >= 1);
    let _ = document.value_position(pointer);
    let _ = document.pointer_at(at);
    let _ = document.position_within(pointer, 3);
    let length = pointer.len();
    let mut down = |segment: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
        visit(document, value, pointer);
        pointer.truncate(length);
    };
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| down(&index.to_string(), item));
        }
        Value::Object(members) => members.iter().for_each(|(name, member)| down(name, member)),
        _ => {}
    }
}
