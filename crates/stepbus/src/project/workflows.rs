//! Workflows: their definitions, and what these refer to.

use serde_json::Value;
use stepbus_asl::{Diagnostic, Program, Severity, WorkflowType};
use stepbus_document::Document;
use stepbus_runtime::WorkflowSpec;

use super::problem::{self, Source};
use super::vars::{Fill, Unfilled, is_name};
use super::{Reader, format};

/// A definition and where it was found.
pub(super) struct Definition {
    pub(super) source: Source,
    pub(super) document: Document,
    /// What goes before a pointer into the document: empty for a file of its own.
    pub(super) prefix: String,
    /// The text as it stands in its own file.
    text: Option<String>,
}

impl Reader<'_> {
    pub(super) fn workflows(&mut self) -> Vec<WorkflowSpec> {
        let mut workflows = Vec::new();
        for (name, value, at) in self.members("workflows") {
            let kind = match value.get("type").and_then(Value::as_str) {
                Some("EXPRESS") => WorkflowType::Express,
                _ => WorkflowType::Standard,
            };
            let (definition, place) = match value {
                Value::String(_) if self.is_sound(&at) => (value, at.clone()),
                _ => match self.field(value, &at, "definition") {
                    Some(field) => field,
                    None => continue,
                },
            };
            let Some(definition) = self.definition(definition, &place) else { continue };
            let Some(text) = self.checked(definition, kind) else { continue };
            let in_flight_at_crash = self.in_flight_at_crash(value, &at, (&text, kind));
            if text.len() > self.limits.definition_bytes {
                let (size, limit) = (text.len(), self.limits.definition_bytes);
                self.wrong(&place, format!("the definition has {size} bytes; at most {limit} fit"));
                continue;
            }
            let name = name.to_owned();
            workflows.push(WorkflowSpec { name, definition: text, kind, in_flight_at_crash });
        }
        workflows
    }

    fn definition(&mut self, value: &Value, at: &str) -> Option<Definition> {
        let Value::String(path) = value else {
            let (source, document) = (self.source.clone(), self.document.part(at)?);
            return Some(Definition { source, document, prefix: at.to_owned(), text: None });
        };
        let source = self.file(path, at)?;
        let document = self.parse(&source)?;
        let text = Some(source.text.clone());
        Some(Definition { source, document, prefix: String::new(), text })
    }

    /// The text to be kept, when nothing is wrong with it.
    fn checked(&mut self, definition: Definition, kind: WorkflowType) -> Option<String> {
        let (definition, changed) = match self.substituted(&definition) {
            Some((document, changed)) => (Definition { document, ..definition }, Some(changed)),
            None => (definition, None),
        };
        let sound = match Program::parse(&definition.document, kind) {
            Ok(program) => {
                self.diagnosed(program.warnings(), &definition);
                true
            }
            Err(diagnostics) => {
                self.diagnosed(&diagnostics, &definition);
                false
            }
        };
        self.references(definition.document.value(), "", &definition);
        match (changed, definition.text) {
            _ if !sound => None,
            (None, _) => None,
            (Some(false), Some(text)) => Some(text),
            _ => serde_json::to_string_pretty(definition.document.value()).ok(),
        }
    }

    fn diagnosed(&mut self, diagnostics: &[Diagnostic], definition: &Definition) {
        for diagnostic in diagnostics {
            let location = diagnostic.location.as_deref().unwrap_or("").trim_end_matches('/');
            let location = format!("{}{location}", definition.prefix);
            let message = format!("{}: {}", diagnostic.code, diagnostic.message);
            let position = diagnostic.position;
            let noted = self.problems.error(&definition.source, position, &location, message);
            noted.hint.clone_from(&diagnostic.hint);
            if diagnostic.severity == Severity::Warning {
                noted.severity = problem::Severity::Warning;
            }
        }
    }

    /// The document with each `${NAME}` filled in. JSONata has no meaning for these characters,
    /// so they may stand inside an expression's texts too.
    fn substituted(&mut self, definition: &Definition) -> Option<(Document, bool)> {
        let mut changed = false;
        let mut wrong = Vec::new();
        let folder = std::path::Path::new("");
        let fill = Fill { vars: self.vars, folder };
        let document = definition.document.map_texts(|pointer, text| {
            let mut filled = String::new();
            let mut rest = text;
            while let Some((before, name, after)) = next_reference(rest) {
                filled.push_str(before);
                let start = text.len() - rest.len() + before.len();
                let character = text[..start].chars().count();
                match value_of(fill, name, text.starts_with("{%")) {
                    Ok(value) => filled.push_str(&value),
                    Err(problem) => {
                        wrong.push((pointer.to_owned(), Unfilled { character, ..problem }));
                    }
                }
                rest = after;
            }
            (rest.len() != text.len()).then(|| {
                changed = true;
                filled.push_str(rest);
                filled
            })
        });
        let sound = wrong.is_empty();
        for (pointer, problem) in wrong {
            let position = definition.document.position_within(&pointer, problem.character);
            let location = format!("{}{pointer}", definition.prefix);
            let open = self.vars.open;
            self.problems.unfilled(&definition.source, position, &location, problem, open);
        }
        sound.then_some((document, changed))
    }
}

/// What stands before the next `${NAME}`, its name, and the rest.
pub(crate) fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("${")?;
        let inside = &text[start + 2..];
        let end = inside.find('}')?;
        if is_name(&inside[..end]) {
            return Some((&text[..start], &inside[..end], &inside[end + 1..]));
        }
        from = start + 2;
    }
}

fn value_of(fill: Fill<'_>, name: &str, expression: bool) -> Result<String, Unfilled> {
    if format::names_a_secret(name) || name.to_ascii_lowercase().ends_with("key") {
        return Err(Unfilled::broken(
            format!("`{name}` looks like a secret, and definitions are kept and shown"),
            "put it into a connection, which a task names as its Authentication",
        ));
    }
    let value = fill.variable(name)?;
    if expression && value.contains(['"', '\'', '\\', '\n']) {
        return Err(Unfilled::broken(
            format!(
                "the value of `{name}` has quotes or line breaks, which would change the expression"
            ),
            "put it into a text of its own",
        ));
    }
    Ok(value)
}
