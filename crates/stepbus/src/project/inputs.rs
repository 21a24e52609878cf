//! What of an event a subscription sends, in EventBridge's own terms: `input`, `input_path`,
//! `input_transformer` and the parameters of a call.

use serde_json::{Map, Value};
use stepbus_document::{Position, join};
use stepbus_expr::TargetInputError;
use stepbus_runtime::{HttpParameters, InputSpec};

use super::Reader;

/// Ways to say what is sent; there is one at most.
const INPUTS: [&str; 4] = ["transform", "input", "input_path", "input_transformer"];
const PARAMETERS: [(&str, &str); 3] =
    [("path", "path_parameters"), ("headers", "header_parameters"), ("query", "query_parameters")];

impl Reader<'_> {
    /// `Err` when there is something wrong with it.
    pub(super) fn input(&mut self, value: &Value, at: &str) -> Result<Option<InputSpec>, ()> {
        let given: Vec<&str> =
            INPUTS.into_iter().filter(|field| value.get(field).is_some()).collect();
        if let [_, second, ..] = given.as_slice() {
            let inside = join(at, second);
            let position = self.document.position(&inside);
            let message = match given.contains(&"transform") {
                true => format!("only one of `{}` may be given", INPUTS.join("`, `")),
                false => TargetInputError::MoreThanOne.message(target_of(at)),
            };
            self.problems.error(self.source, position, &inside, message);
            return Err(());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let Some(field) = given.first().filter(|field| **field != "transform") else {
            return Ok(None);
        };
        let Some((input, inside)) = self.field(value, at, field) else { return Err(()) };
        let spec = match *field {
            "input" => InputSpec::Constant(text(input)),
            "input_path" => InputSpec::Path(text(input)),
            _ => InputSpec::Transformer {
                paths: input.get("paths").and_then(Value::as_object).cloned().unwrap_or_default(),
                template: input.get("template").map(text).unwrap_or_default(),
            },
        };
        match spec.compile() {
            Ok(_) => Ok(Some(spec)),
            Err(error) => {
                let (inside, position) = self.place_of(&error, &spec, &inside);
                let message = error.message(target_of(at));
                self.problems.error(self.source, position, &inside, message);
                Err(())
            }
        }
    }

    fn place_of(&self, error: &TargetInputError, spec: &InputSpec, at: &str) -> (String, Position) {
        let InputSpec::Transformer { paths, template } = spec else {
            return (at.to_owned(), self.document.value_position(at));
        };
        let variable = |name: &str| {
            let inside = join(&join(at, "paths"), name);
            let position = self.document.value_position(&inside);
            (inside, position)
        };
        let in_template = |name: Option<&str>| {
            let inside = join(at, "template");
            let found = name.and_then(|name| template.find(&format!("<{name}>")));
            let position = match found {
                Some(byte) => {
                    let character = template[..byte].chars().count();
                    self.document.position_within(&inside, character)
                }
                None => self.document.value_position(&inside),
            };
            (inside, position)
        };
        match error {
            TargetInputError::Variable { name, .. } => variable(name),
            TargetInputError::InputPath { path, .. } => match named(paths, path) {
                Some(name) => variable(name),
                None => variable(""),
            },
            TargetInputError::UnknownVariable(name) => in_template(Some(name)),
            TargetInputError::OnlyInJson(name) => in_template(Some(name)),
            _ => in_template(None),
        }
    }

    /// The parameters of the call; what is wrong with them is noted.
    pub(super) fn parameters(&mut self, value: &Value, at: &str) -> HttpParameters {
        let mut parameters = HttpParameters::default();
        for (part, field) in PARAMETERS {
            let Some((Value::Object(values), inside)) = self.field(value, at, field) else {
                continue;
            };
            let calls = value.pointer("/target/destination").is_some();
            if !calls && value.get("target").is_some() {
                let position = self.document.position(&inside);
                let message = format!("`{field}` belongs to a call over HTTP");
                let problem = self.problems.error(self.source, position, &inside, message);
                problem.hint("give it a `destination` as its target");
            }
            let values = values
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
            let values = values.collect();
            match part {
                "path" => parameters.path = values,
                "headers" => parameters.headers = values,
                _ => parameters.query = values,
            }
        }
        for problem in parameters.check().err().into_iter().flatten() {
            let field = PARAMETERS.iter().find(|(part, _)| *part == problem.part);
            let field = field.map_or(problem.part, |(_, field)| field);
            self.wrong(&join(&join(at, field), &problem.name), problem.message);
        }
        parameters
    }
}

/// AWS's texts name the target by its id; a subscription has one target and is its id.
fn target_of(at: &str) -> &str {
    at.rsplit('/').next().unwrap_or(at)
}

fn named<'p>(paths: &'p Map<String, Value>, path: &str) -> Option<&'p str> {
    let member = paths.iter().find(|(_, value)| value.as_str() == Some(path));
    member.map(|(name, _)| name.as_str())
}
