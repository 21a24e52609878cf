//! Values as `States.Format` writes them.

use std::fmt::Write as _;

use serde_json::Value;

/// The template with each `{}` replaced, in turn, by an argument.
pub(super) fn format(template: &str, arguments: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut remaining = arguments.iter();
    let mut characters = template.chars().peekable();
    let mut places = 0;
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.peek() {
                Some('\'' | '\\' | '{' | '}') => text.extend(characters.next()),
                _ => text.push('\\'),
            },
            '{' if characters.peek() == Some(&'}') => {
                characters.next();
                places += 1;
                if let Some(argument) = remaining.next() {
                    write(argument, &mut text);
                }
            }
            other => text.push(other),
        }
    }
    if places == arguments.len() {
        return Ok(text);
    }
    Err(format!(
        "Invalid arguments in States.Format: the number of arguments ({}) does not match the \
         occurrences of '{{}}' ({places})",
        arguments.len()
    ))
}

/// As Java's `toString` has it: text without quotes, objects as `{name=value, …}`.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::String(part) => text.push_str(part),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                text.push_str(name);
                text.push('=');
                write(member, text);
            }
            text.push('}');
        }
        scalar => {
            let _ = write!(text, "{scalar}");
        }
    }
}
