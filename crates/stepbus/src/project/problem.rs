//! What is wrong with a project, and where.

use std::path::PathBuf;

use serde::Serialize;
use stepbus_document::Position;

use super::vars::Unfilled;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong, or, as a warning, probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub severity: Severity,
    pub file: PathBuf,
    /// None when the file as a whole is meant, as when it is not there.
    pub position: Option<Position>,
    /// RFC 6901, as in `/subscriptions/load-crm/retry`.
    pub location: String,
    pub message: String,
    pub hint: Option<String>,
    /// The source line, without secrets.
    pub excerpt: Option<String>,
}

impl Problem {
    pub(super) fn hint(&mut self, hint: impl Into<String>) -> &mut Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// One text that belongs to the project.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// As the user would write it: relative to where the command runs.
    pub(super) file: PathBuf,
    pub(super) text: String,
}

impl Source {
    fn line(&self, number: u32) -> Option<String> {
        let line = self.text.lines().nth(number as usize - 1)?;
        Some(line.replace('\t', " ").trim_end().to_owned())
    }
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    /// Secrets that stand in a file in clear; no excerpt may show them.
    clear: Vec<String>,
}

impl Problems {
    pub(super) fn error(
        &mut self,
        source: &Source,
        position: impl Into<Option<Position>>,
        location: &str,
        message: impl Into<String>,
    ) -> &mut Problem {
        let position = position.into();
        self.found.push(Problem {
            severity: Severity::Error,
            file: source.file.clone(),
            position,
            location: location.to_owned(),
            message: message.into(),
            hint: None,
            excerpt: position.and_then(|position| source.line(position.line)),
        });
        self.found.last_mut().expect("just pushed")
    }

    /// A reference that could not be filled in.
    pub(super) fn unfilled(
        &mut self,
        source: &Source,
        position: Position,
        location: &str,
        problem: Unfilled,
        open: bool,
    ) {
        let noted = self.error(source, position, location, problem.message);
        noted.hint(problem.hint);
        if open && problem.absent {
            noted.severity = Severity::Warning;
        }
    }

    pub(super) fn hide(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.clear.push(secret.to_owned());
        }
    }

    /// Whether anything is wrong at this pointer of the project file or inside it.
    pub(super) fn any_within(&self, source: &Source, pointer: &str) -> bool {
        self.found.iter().any(|problem| {
            problem.file == source.file
                && problem
                    .location
                    .strip_prefix(pointer)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Errors and warnings by file, the project file's first, then by place.
    pub(super) fn finish(mut self, first: &Source) -> (Vec<Problem>, Vec<Problem>) {
        // Longest first, so that no part of a secret is left beside a shorter one.
        self.clear.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for problem in &mut self.found {
            if let Some(excerpt) = &mut problem.excerpt {
                for secret in &self.clear {
                    *excerpt = excerpt.replace(secret, &"*".repeat(secret.chars().count()));
                }
            }
        }
        self.found.sort_by(|a, b| {
            let key = |problem: &Problem| (problem.file != first.file, problem.file.clone());
            key(a).cmp(&key(b)).then(a.position.cmp(&b.position))
        });
        self.found.into_iter().partition(|problem| problem.severity == Severity::Error)
    }
}

/// "did you mean" for a name that is not known, else what is known.
pub(crate) fn suggest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let lower = written.to_lowercase();
    let closest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance);
    match closest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("known: {}", known.join(", ")),
    }
}
