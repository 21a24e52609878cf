//! Values of an event in the path, the headers and the query of a destination's call, as
//! EventBridge's HttpParameters have them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepbus_connect::is_header_of_a_call;
use stepbus_expr::{Path, Root, Template};

use crate::event::EventBody;
use crate::expression;

/// By name: a text, a path into the event (`$.detail.sku`) or an expression over `$event`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpParameters {
    /// For `{name}` in the destination's URL, headers and query.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub path: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
}

/// What is wrong with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterProblem {
    /// As in `headers`.
    pub part: &'static str,
    pub name: String,
    pub message: String,
}

impl HttpParameters {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.path.is_empty() && self.headers.is_empty() && self.query.is_empty()
    }

    /// Everything that is wrong with them.
    ///
    /// # Errors
    /// When a name cannot be one or a value does not compile.
    pub fn check(&self) -> Result<(), Vec<ParameterProblem>> {
        Parameters::compile(self).map(drop)
    }

    fn parts(&self) -> [(&'static str, &BTreeMap<String, String>); 3] {
        [("path", &self.path), ("headers", &self.headers), ("query", &self.query)]
    }
}

#[derive(Debug)]
enum Parameter {
    Text(String),
    Path(Path),
    Expression(Template),
}

/// The compiled ones: path, headers, query.
#[derive(Debug, Default)]
pub(crate) struct Parameters([Vec<(String, Parameter)>; 3]);

/// Their values for one event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filled {
    pub(crate) path: BTreeMap<String, String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
}

impl Filled {
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let path = self.path.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let others = self.headers.iter().chain(&self.query);
        path.chain(others.map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

impl Parameters {
    pub(crate) fn compile(spec: &HttpParameters) -> Result<Parameters, Vec<ParameterProblem>> {
        let mut problems = Vec::new();
        let compiled = spec.parts().map(|(part, values)| {
            let mut compiled = Vec::with_capacity(values.len());
            for (name, text) in values {
                let fits = part != "headers" || is_header_of_a_call(name);
                let parameter = match compile(text) {
                    _ if !fits => Err(format!("`{name}` cannot be the name of such a header")),
                    parameter => parameter,
                };
                match parameter {
                    Ok(parameter) => compiled.push((name.clone(), parameter)),
                    Err(message) => {
                        problems.push(ParameterProblem { part, name: name.clone(), message });
                    }
                }
            }
            compiled
        });
        if problems.is_empty() { Ok(Parameters(compiled)) } else { Err(problems) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// One without a value is left out; in a URL's path that is an error of the call.
    pub(crate) fn fill(&self, event: &EventBody) -> Result<Filled, String> {
        let [path, headers, query] = &self.0;
        Ok(Filled {
            path: values(path, event)?.into_iter().collect(),
            headers: values(headers, event)?,
            query: values(query, event)?,
        })
    }
}

fn compile(text: &str) -> Result<Parameter, String> {
    if text.starts_with("{%") {
        let template = Template::compile(&Value::from(text)).map_err(|errors| {
            errors.first().map_or_else(String::new, |(_, error)| error.to_string())
        })?;
        return Ok(Parameter::Expression(template));
    }
    if text == "$" || text.starts_with("$.") || text.starts_with("$[") {
        let path = Path::parse(text).map_err(|error| error.to_string())?;
        return match path.root() {
            Root::Input => Ok(Parameter::Path(path)),
            _ => Err("a path begins with `$.`".to_owned()),
        };
    }
    Ok(Parameter::Text(text.to_owned()))
}

fn values(
    parameters: &[(String, Parameter)],
    event: &EventBody,
) -> Result<Vec<(String, String)>, String> {
    let mut values = Vec::with_capacity(parameters.len());
    for (name, parameter) in parameters {
        let value = match parameter {
            Parameter::Text(text) => Value::from(text.as_str()),
            Parameter::Path(path) => {
                path.select(event.value()).map(Cow::into_owned).unwrap_or_default()
            }
            Parameter::Expression(template) => expression::over_event(template, event)
                .map_err(|error| format!("the parameter `{name}` failed: {error}"))?,
        };
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("the parameter `{name}` is no text, number or boolean"));
            }
        };
        values.push((name.clone(), text));
    }
    Ok(values)
}
