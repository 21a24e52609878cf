//! Fields whose values are computed: expressions, templates, paths, numbers and moments.

use std::sync::Arc;

use serde_json::{Map, Value};
use stepbus_expr::{Path, Root};
use stepbus_model::Timestamp;

use super::fields::{Fields, expected, in_quotes, whole};
use super::model::{Language, ResultPath};
use super::variables::Assigned;
use super::{Builder, MAX_SECONDS};
use crate::diagnostic::{At, Problems};
use crate::expression::{self, Expression, Sees, is_expression};

/// What the fields of one state are read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope {
    pub(crate) language: Language,
    pub(crate) sees: Sees,
}

impl Scope {
    pub(super) fn new(language: Language) -> Scope {
        Scope { language, sees: Sees::default() }
    }

    pub(super) fn with_result(self, result: bool) -> Scope {
        Scope { sees: Sees { result, ..self.sees }, ..self }
    }

    pub(super) fn with_error(self) -> Scope {
        Scope { sees: Sees { error: true, ..self.sees }, ..self }
    }
}

/// Characters of a variable's name.
const MAX_VARIABLE: usize = 80;

impl Builder<'_> {
    /// A template: JSON with expressions or `.$` fields anywhere inside.
    pub(super) fn payload(
        &mut self,
        name: &str,
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        let value = fields.get(name)?;
        if scope.language == Language::JsonPath && !value.is_object() && name != "Credentials" {
            self.problems.schema(&fields.at(name), expected("Object", value));
            return None;
        }
        self.template(value, &fields.at(name), scope)
    }

    pub(super) fn template(&mut self, value: &Value, at: &At, scope: Scope) -> Option<Expression> {
        match scope.language {
            Language::Jsonata => expression::jsonata(value, at, scope.sees, &mut self.problems),
            Language::JsonPath => expression::payload(value, at, &mut self.problems),
        }
    }

    pub(super) fn assign(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Expression> {
        let object = fields.object("Assign", &mut self.problems)?;
        for name in object.map.keys() {
            let variable = match scope.language {
                Language::JsonPath => name.strip_suffix(".$").unwrap_or(name),
                Language::Jsonata => name,
            };
            let at = object.at.field(name);
            check_variable(variable, &at, &mut self.problems);
            self.assigned.push(Assigned { name: variable.to_owned(), state: self.current, at });
        }
        self.payload("Assign", fields, scope)
    }

    /// TimeoutSeconds and its kin: 1 to 99,999,999.
    pub(super) fn seconds(
        &mut self,
        name: &str,
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        self.span(name, 1, fields, scope)
    }

    pub(super) fn span(
        &mut self,
        name: &str,
        least: u64,
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        self.number(name, (least, MAX_SECONDS), fields, scope)
    }

    /// A whole number, an expression for one, or the path to one under `namePath`.
    pub(super) fn number(
        &mut self,
        name: &str,
        (least, most): (u64, u64),
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        if let Some(path) = self.path_twin(name, fields) {
            return path;
        }
        let value = fields.get(name)?;
        if scope.language == Language::Jsonata && value.as_str().is_some_and(is_expression) {
            return self.template(value, &fields.at(name), scope);
        }
        if whole(value).is_none() {
            self.problems.schema(&fields.at(name), expected("Integer", value)).hint =
                in_quotes(value);
            return None;
        }
        fields
            .whole(name, least, most, &mut self.problems)
            .map(|number| Expression::constant(Value::from(number)))
    }

    /// A number that may have a fraction, as a percentage.
    pub(super) fn fraction(
        &mut self,
        name: &str,
        (least, most): (f64, f64),
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        if let Some(path) = self.path_twin(name, fields) {
            return path;
        }
        let value = fields.get(name)?;
        if scope.language == Language::Jsonata && value.as_str().is_some_and(is_expression) {
            return self.template(value, &fields.at(name), scope);
        }
        let Some(number) = value.as_f64() else {
            self.problems.schema(&fields.at(name), expected("Number", value)).hint =
                in_quotes(value);
            return None;
        };
        if number < least || number > most {
            let message = format!("The value must be between {least} and {most}");
            self.problems.schema(&fields.at(name), message);
            return None;
        }
        Some(Expression::constant(value.clone()))
    }

    /// `namePath`, when it is given instead of `name`.
    #[expect(clippy::option_option, reason = "given but unusable is not the same as not given")]
    fn path_twin(&mut self, name: &str, fields: &Fields<'_>) -> Option<Option<Expression>> {
        let twin = format!("{name}Path");
        if !fields.has(&twin) {
            return None;
        }
        if fields.has(name) {
            let message = format!("'{name}' and '{twin}' can not both be given");
            self.problems.schema(&fields.at, message);
        }
        Some(self.path(&twin, fields))
    }

    /// Error and Cause: text, an expression for it, or a path or intrinsic under `namePath`.
    pub(super) fn text_or_path(
        &mut self,
        name: &str,
        fields: &Fields<'_>,
        scope: Scope,
    ) -> Option<Expression> {
        if scope.language == Language::JsonPath {
            let twin = format!("{name}Path");
            if fields.has(&twin) {
                if fields.has(name) {
                    let message = format!("'{name}' and '{twin}' can not both be given");
                    self.problems.schema(&fields.at, message);
                }
                let text = fields.text(&twin, &mut self.problems)?;
                return expression::path_or_intrinsic(text, &fields.at(&twin), &mut self.problems);
            }
        }
        let text = fields.text(name, &mut self.problems)?;
        let value = Value::String(text.to_owned());
        match scope.language {
            Language::Jsonata => self.template(&value, &fields.at(name), scope),
            Language::JsonPath => Some(Expression::constant(value)),
        }
    }

    /// A JSONPath, or null where that is allowed.
    pub(super) fn path(&mut self, name: &str, fields: &Fields<'_>) -> Option<Expression> {
        match fields.get(name)? {
            Value::Null => Some(Expression::constant(Value::Object(Map::new()))),
            Value::String(text) => {
                let path = expression::path(text, &fields.at(name), &mut self.problems)?;
                let whole = matches!(&path, Expression::Path(path) if path.is_input());
                let drops = matches!(name, "InputPath" | "OutputPath" | "ItemsPath");
                (!whole || !drops).then_some(path)
            }
            other => {
                self.problems.schema(&fields.at(name), expected("String", other));
                None
            }
        }
    }

    pub(super) fn timestamp(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Expression> {
        if fields.has("TimestampPath") {
            return self.path("TimestampPath", fields);
        }
        let text = fields.text("Timestamp", &mut self.problems)?;
        let at = fields.at("Timestamp");
        let value = Value::String(text.to_owned());
        if scope.language == Language::Jsonata && is_expression(text) {
            return self.template(&value, &at, scope);
        }
        if timestamp(text).is_none() {
            self.problems
                .schema(&at, "String does not match RFC3339 timestamp")
                .hint("write it as `2026-11-23T07:00:00Z`, with `T` and an offset");
            return None;
        }
        Some(Expression::constant(value))
    }

    pub(super) fn result_path(&mut self, fields: &Fields<'_>) -> ResultPath {
        match fields.get("ResultPath") {
            None => ResultPath::Replace,
            Some(Value::Null) => ResultPath::Discard,
            Some(Value::String(text)) => match Path::parse(text) {
                Ok(path) if path.is_reference() && *path.root() == Root::Input => {
                    if path.is_root() { ResultPath::Replace } else { ResultPath::Into(path) }
                }
                _ => {
                    let message = format!(
                        "Value is not a Reference Path: Illegal character or operator in '{text}'"
                    );
                    self.problems
                        .schema(&fields.at("ResultPath"), message)
                        .hint("a reference path names one place, as `$.result` or `$.items[0]`");
                    ResultPath::Replace
                }
            },
            Some(other) => {
                self.problems.schema(&fields.at("ResultPath"), expected("String", other));
                ResultPath::Replace
            }
        }
    }
}

/// RFC 3339 with an offset, as States Language wants it: `T` between date and time.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shaped = bytes.len() > 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T';
    let zoned = bytes.ends_with(b"Z") || bytes.iter().skip(10).any(|byte| b"+-".contains(byte));
    if !shaped || !zoned || text.contains('[') {
        return None;
    }
    Timestamp::parse(text).ok()
}

fn check_variable(name: &str, at: &At, problems: &mut Problems<'_>) {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if !first || !characters.all(|c| c.is_alphanumeric() || c == '_') {
        problems
            .schema(at, format!("Variable name '{name}' is not valid"))
            .hint("a variable's name is letters, digits and `_`, and starts with no digit");
    } else if name.chars().count() > MAX_VARIABLE {
        problems.schema(at, format!("Variable name must have at most {MAX_VARIABLE} characters"));
    } else if name == "states" {
        problems.schema(at, "Variable name 'states' is reserved");
    }
}

impl Expression {
    pub(crate) fn constant(value: Value) -> Expression {
        Expression::Constant(Arc::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_a_zone_and_other_texts_are_none() {
        let check = |text: &str, expected: bool| {
            assert_eq!(timestamp(text).is_some(), expected, "{text}");
        };
        check("2024-01-01T00:00:00Z", true);
        check("2024-01-01T00:00:00+01:00", true);
        check("2024-01-01T00:00:00", false);
        check("2024-01-01 00:00:00Z", false);
        // A character over the place where the time begins.
        check("{% $é$.eé %}", false);
    }
}
