//! A body as a form: `Transform` of an HTTP Task.

use serde_json::{Map, Value};

/// How an array stands in a form: `RequestEncodingOptions.ArrayFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArrayFormat {
    Indices,
    Repeat,
    Commas,
    Brackets,
}

const FORMATS: [(&str, ArrayFormat); 4] = [
    ("INDICES", ArrayFormat::Indices),
    ("REPEAT", ArrayFormat::Repeat),
    ("COMMAS", ArrayFormat::Commas),
    ("BRACKETS", ArrayFormat::Brackets),
];

/// The form that a task's `Transform` asks for; none when the body stays JSON.
pub(super) fn wanted(transform: Option<&Value>) -> Result<Option<ArrayFormat>, String> {
    let Some(transform) = transform else { return Ok(None) };
    match transform.get("RequestBodyEncoding").map(|encoding| encoding.as_str()) {
        None | Some(Some("NONE")) => return Ok(None),
        Some(Some("URL_ENCODED")) => {}
        Some(_) => return Err("`RequestBodyEncoding` is NONE or URL_ENCODED".to_owned()),
    }
    match transform.pointer("/RequestEncodingOptions/ArrayFormat") {
        None => Ok(Some(ArrayFormat::Indices)),
        Some(given) => {
            let known = FORMATS.iter().find(|(name, _)| given == name);
            let names = FORMATS.map(|(name, _)| name).join(", ");
            known.map(|(_, format)| Some(*format)).ok_or(format!("`ArrayFormat` is one of {names}"))
        }
    }
}

/// Members in order, those of inner objects as `outer[inner]`.
pub(super) fn encode(members: &Map<String, Value>, format: ArrayFormat) -> String {
    let mut pairs = Vec::new();
    for (name, value) in members {
        put(name.clone(), value, format, &mut pairs);
    }
    serde_urlencoded::to_string(pairs).unwrap_or_default()
}

fn put(name: String, value: &Value, format: ArrayFormat, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (inner, value) in members {
                put(format!("{name}[{inner}]"), value, format, pairs);
            }
        }
        Value::Array(items) if format == ArrayFormat::Commas => {
            let texts: Vec<String> = items.iter().map(text).collect();
            pairs.push((name, texts.join(",")));
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let name = match format {
                    ArrayFormat::Indices => format!("{name}[{index}]"),
                    ArrayFormat::Brackets => format!("{name}[]"),
                    ArrayFormat::Repeat | ArrayFormat::Commas => name.clone(),
                };
                put(name, item, format, pairs);
            }
        }
        value => pairs.push((name, text(value))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(transform: Value, body: Value, expected: &str) {
        let format = wanted(Some(&transform)).unwrap().expect("a form");
        let encoded = encode(body.as_object().unwrap(), format);
        // As people write it.
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&encoded).unwrap();
        let plain: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(plain.join("&"), expected);
    }

    fn arrays(format: &str) -> Value {
        json!({
            "RequestBodyEncoding": "URL_ENCODED",
            "RequestEncodingOptions": { "ArrayFormat": format },
        })
    }

    #[test]
    fn arrays_in_a_form() {
        let body = json!({ "array": ["a", "b", "c"] });
        let default = json!({ "RequestBodyEncoding": "URL_ENCODED" });
        check(default, body.clone(), "array[0]=a&array[1]=b&array[2]=c");
        check(arrays("INDICES"), body.clone(), "array[0]=a&array[1]=b&array[2]=c");
        check(arrays("REPEAT"), body.clone(), "array=a&array=b&array=c");
        check(arrays("COMMAS"), body.clone(), "array=a,b,c");
        check(arrays("BRACKETS"), body, "array[]=a&array[]=b&array[]=c");
        let nested = json!({ "a": { "b": [1, { "c": "x & y" }], "n": null }, "t": true });
        check(arrays("INDICES"), nested.clone(), "a[b][0]=1&a[b][1][c]=x & y&a[n]=&t=true");
        check(arrays("BRACKETS"), nested.clone(), "a[b][]=1&a[b][][c]=x & y&a[n]=&t=true");
        check(arrays("COMMAS"), nested, "a[b]=1,{\"c\":\"x & y\"}&a[n]=&t=true");
    }

    #[test]
    fn what_escapes_is_escaped() {
        let body = json!({ "ü": ["a&b=c d"] });
        let encoded = encode(body.as_object().unwrap(), ArrayFormat::Brackets);
        assert_eq!(encoded, "%C3%BC%5B%5D=a%26b%3Dc+d");
    }

    #[test]
    fn other_transforms() {
        assert_eq!(wanted(None), Ok(None));
        assert_eq!(wanted(Some(&json!({ "RequestBodyEncoding": "NONE" }))), Ok(None));
        assert_eq!(wanted(Some(&json!({}))), Ok(None));
        let refused = wanted(Some(&json!({ "RequestBodyEncoding": "BASE64" }))).unwrap_err();
        assert_eq!(refused, "`RequestBodyEncoding` is NONE or URL_ENCODED");
        let refused = wanted(Some(&arrays("indices"))).unwrap_err();
        assert_eq!(refused, "`ArrayFormat` is one of INDICES, REPEAT, COMMAS, BRACKETS");
    }
}
