//! A JSONPath or intrinsic function and the data it is taken from, with a unit separator between
//! them; what a reference path has set, it finds.

use serde_json::{Value, json};
use stepbus_expr::{Env, Path, PayloadTemplate, Roots, Source};
use stepbus_model::Timestamp;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, input) = text.split_once('\u{1f}').unwrap_or((text, "{\"a\":[1,2]}"));
    let input = serde_json::from_str::<Value>(input).unwrap_or(Value::Null);
    let context = json!({ "State": { "Name": "S" }, "Map": { "Item": { "Index": 1 } } });
    let roots = Roots::new(&input, &context);
    let env = Env::new(Timestamp(1_700_000_000_000), 1);
    if let Ok(source) = Source::parse(source) {
        let _ = source.eval(roots, env).map_err(|error| error.to_string());
    }
    if let Ok(path) = Path::parse(source) {
        let _ = path.select_in(roots).map_err(|error| error.to_string());
        let mut changed = input.clone();
        if path.set(&mut changed, json!("set")).is_ok() {
            let found = path.select(&changed).expect("what was set is there");
            assert!(*found == json!("set"), "{path} set one thing and finds {found}");
        }
    }
    let template = json!({ "a.$": source, "b": [{ "c.$": source }] });
    if let Ok(template) = PayloadTemplate::compile(&template) {
        let _ = template.eval(roots, env);
    }
}
