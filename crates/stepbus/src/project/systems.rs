//! Connections, destinations, functions and buckets.

use serde::de::DeserializeOwned;
use serde_json::Value;
use stepbus_connect::{
    Action, Auth, BucketPlace, BucketSpec, CallSpec, ConnectionSpec, DestinationSpec, ParamValue,
    Params, Secret, SpecError,
};
use stepbus_document::join;
use stepbus_runtime::{FunctionSpec, function_destination};

use super::Reader;
use super::format;

const CALL_FIELDS: [&str; 4] = ["method", "headers", "query", "body"];

impl Reader<'_> {
    pub(super) fn connections(&mut self) -> Vec<ConnectionSpec> {
        let mut connections = Vec::new();
        for (name, value, at) in self.sound("connections") {
            let Some(mut spec) = self.spec::<ConnectionSpec>(value.clone(), &at) else { continue };
            spec.name = name.to_owned();
            if let Some(smtp) = &mut spec.smtp
                && let Some(path) = smtp.ca.take()
            {
                // What is wrong with it is noted there.
                let Some(file) = self.file(&path, &format!("{at}/smtp/ca")) else { continue };
                smtp.ca = Some(file.text);
            }
            self.seal(&mut spec.headers, &at, "headers");
            self.seal(&mut spec.query, &at, "query");
            if let Auth::OAuth(oauth) = &mut spec.auth {
                self.seal(&mut oauth.params, &format!("{at}/auth/oauth"), "params");
            }
            let checked = spec.check();
            self.refused(checked, &at);
            connections.push(spec);
        }
        connections
    }

    pub(super) fn destinations(&mut self) -> Vec<DestinationSpec> {
        let mut destinations = Vec::new();
        for (name, value, at) in self.sound("destinations") {
            if value.get("upsert").is_some() && self.call_beside_upsert(value, &at) {
                continue;
            }
            let mut value = value.clone();
            if let Some(timeout) = value.get_mut("timeout")
                && let Some(span) = timeout.as_str().and_then(|text| format::duration(text).ok())
            {
                *timeout = Value::from(format!("{}ms", span.as_millis()));
            }
            let Some(mut spec) = self.spec::<DestinationSpec>(value, &at) else { continue };
            spec.name = name.to_owned();
            match &mut spec.action {
                Action::Call(call) => self.seal_call(call, &at),
                Action::Upsert(upsert) => {
                    let at = join(&at, "upsert");
                    self.seal_call(&mut upsert.find, &join(&at, "find"));
                    self.seal_call(&mut upsert.create, &join(&at, "create"));
                    self.seal_call(&mut upsert.update, &join(&at, "update"));
                }
            }
            let checked = spec.check();
            self.refused(checked, &at);
            destinations.push(spec);
        }
        destinations
    }

    pub(super) fn functions(&mut self) -> Vec<FunctionSpec> {
        let mut functions = Vec::new();
        for (name, value, at) in self.sound("functions") {
            let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
            let timeout = text("timeout").and_then(|text| format::duration(&text).ok());
            let timeout_ms = timeout.map(|span| u64::try_from(span.as_millis()));
            let spec = FunctionSpec {
                name: name.to_owned(),
                url: text("url").unwrap_or_default(),
                connection: text("connection"),
                timeout_ms: timeout_ms.and_then(Result::ok),
            };
            let checked = function_destination(&spec).check();
            self.refused(checked, &at);
            functions.push(spec);
        }
        functions
    }

    pub(super) fn buckets(&mut self) -> Vec<BucketSpec> {
        let mut buckets = Vec::new();
        for (name, value, at) in self.sound("buckets") {
            let Some(mut spec) = self.spec::<BucketSpec>(value.clone(), &at) else { continue };
            spec.name = name.to_owned();
            if let BucketPlace::Path(path) = &mut spec.place {
                *path = self.full_path(&path);
            }
            let checked = spec.check();
            self.refused(checked, &at);
            buckets.push(spec);
        }
        buckets
    }

    fn call_beside_upsert(&mut self, value: &Value, at: &str) -> bool {
        let beside: Vec<&str> =
            CALL_FIELDS.into_iter().filter(|field| value.get(field).is_some()).collect();
        for field in &beside {
            let inside = join(at, field);
            let position = self.document.position(&inside);
            let message = format!("`{field}` belongs to a call, and an upsert has three");
            self.problems
                .error(self.source, position, &inside, message)
                .hint("move it into find, create or update");
        }
        !beside.is_empty()
    }

    fn spec<T: DeserializeOwned>(&mut self, value: Value, at: &str) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(spec) => Some(spec),
            Err(error) => {
                let message = self.unfilled(&error.to_string());
                self.wrong(at, message);
                None
            }
        }
    }

    fn refused(&mut self, checked: Result<(), Vec<SpecError>>, at: &str) {
        for error in checked.err().into_iter().flatten() {
            let message = self.unfilled(&error.message);
            self.wrong(&format!("{at}{}", error.pointer), message);
        }
    }

    fn seal_call(&self, call: &mut CallSpec, at: &str) {
        self.seal(&mut call.headers, at, "headers");
        self.seal(&mut call.query, at, "query");
    }

    /// What came from outside may be secret, whatever its name.
    fn seal(&self, params: &mut Params, at: &str, field: &str) {
        let at = join(at, field);
        for (name, value) in &mut params.0 {
            if let ParamValue::Plain(text) = value
                && self.filled.contains_key(&join(&at, name))
            {
                *value = ParamValue::Secret(Secret::new(std::mem::take(text)));
            }
        }
    }

    /// A message in which each value from outside is shown as its reference.
    fn unfilled(&self, message: &str) -> String {
        const SHORTEST: usize = 3;
        let filled = self.filled.values().filter(|(_, text)| text.len() >= SHORTEST);
        filled.fold(message.to_owned(), |message, (written, text)| message.replace(text, written))
    }
}
