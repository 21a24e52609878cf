//! Shows problems: to people as a compiler does, to programs as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::problem::{Problem, Severity};

/// Longest excerpt, in characters.
const EXCERPT: usize = 120;

/// One block a problem: place and message, the line with a mark under the place, the hint. What is
/// said of several places is said once, with the others named.
#[must_use]
pub(crate) fn render(problems: &[Problem]) -> String {
    let mut out = String::new();
    for (index, problem) in problems.iter().enumerate() {
        let same = |other: &&Problem| says(other) == says(problem);
        if problems[..index].iter().any(|before| same(&before)) {
            continue;
        }
        one(problem, &mut out);
        let others: Vec<String> = problems[index + 1..].iter().filter(same).map(place).collect();
        if !others.is_empty() {
            let _ = writeln!(out, "  also at {}", others.join(", "));
        }
    }
    out
}

/// How many there are, by severity.
#[must_use]
pub(crate) fn counted(problems: &[Problem]) -> String {
    let of = |severity: Severity, word: &str| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {word}{plural}"))
    };
    let counts = [of(Severity::Error, "problem"), of(Severity::Warning, "warning")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    if counts.is_empty() { "no problems".to_owned() } else { counts.join(", ") }
}

fn says(problem: &Problem) -> (Severity, &str, Option<&str>) {
    (problem.severity, &problem.message, problem.hint.as_deref())
}

fn place(problem: &Problem) -> String {
    let file = problem.file.display();
    match problem.position {
        Some(position) => format!("{file}:{position}"),
        None => file.to_string(),
    }
}

fn one(problem: &Problem, out: &mut String) {
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    // Writing to a String does not fail.
    let _ = writeln!(out, "{}: {severity}: {}", place(problem), visible(&problem.message));
    if let (Some(position), Some(excerpt)) = (problem.position, &problem.excerpt) {
        let number = position.line.to_string();
        let column = position.column as usize - 1;
        let (excerpt, column) = window(&visible(excerpt), column);
        let _ = writeln!(out, "  {number} | {excerpt}");
        let _ = writeln!(out, "  {:width$} | {:column$}^", "", "", width = number.len());
    }
    if let Some(hint) = &problem.hint {
        let _ = writeln!(out, "  hint: {}", visible(hint));
    }
}

/// The part of a long line around a column, and where the column is in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= EXCERPT {
        return (line.to_owned(), column.min(length));
    }
    let start = column.saturating_sub(EXCERPT / 2).min(length - EXCERPT);
    let part: String = line.chars().skip(start).take(EXCERPT).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + EXCERPT < length { "…" } else { "" };
    let column = column - start + before.chars().count();
    (format!("{before}{part}{after}"), column)
}

/// A file's text must not move the cursor of a terminal.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// An array of objects: severity, file, line, column, location, message, hint.
#[must_use]
pub(crate) fn to_json(problems: &[Problem]) -> Value {
    let object = |problem: &Problem| {
        json!({
            "severity": problem.severity,
            "file": problem.file.display().to_string(),
            "line": problem.position.map(|position| position.line),
            "column": problem.position.map(|position| position.column),
            "location": problem.location,
            "message": problem.message,
            "hint": problem.hint,
        })
    };
    problems.iter().map(object).collect()
}
