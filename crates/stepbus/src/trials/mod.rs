//! `stepbus workflows test`: workflows run against files of mocks and expectations, without a
//! server. docs/workflows.md says what such a file may hold.

mod expect;
mod file;
mod mocks;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use stepbus_asl::trial;
use stepbus_document::Position;

use crate::project::Problem;
use crate::project::report;
use file::{Case, Suite};

/// What became of the cases of some files.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
    files: Vec<FileReport>,
}

#[derive(Debug, Serialize)]
struct FileReport {
    file: String,
    /// What is wrong with the file itself; then none of its cases ran.
    #[serde(serialize_with = "problems_as_json")]
    problems: Vec<Problem>,
    cases: Vec<CaseReport>,
}

#[derive(Debug, Serialize)]
struct CaseReport {
    name: String,
    passed: bool,
    status: &'static str,
    /// States in the order they were entered.
    path: Vec<String>,
    calls: usize,
    /// Time that would have passed.
    seconds: f64,
    failures: Vec<Failure>,
}

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Failure {
    message: String,
    line: u32,
    column: u32,
}

fn problems_as_json<S: serde::Serializer>(
    problems: &[Problem],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    report::to_json(problems).serialize(serializer)
}

impl Report {
    /// Runs the cases of a file whose name has `filter` in it.
    pub(crate) fn add(&mut self, path: &Path, filter: Option<&str>) {
        let mut report = FileReport {
            file: path.display().to_string(),
            problems: Vec::new(),
            cases: Vec::new(),
        };
        match Suite::read(path) {
            Ok(suite) => {
                let wanted = |case: &&Case| filter.is_none_or(|text| case.name.contains(text));
                report.cases = suite.cases.iter().filter(wanted).map(|c| suite.run(c)).collect();
            }
            Err(problems) => {
                report.problems = problems;
                self.failed += 1;
            }
        }
        let passed = report.cases.iter().filter(|case| case.passed).count();
        self.passed += passed;
        self.failed += report.cases.len() - passed;
        self.files.push(report);
    }

    /// Whether there were cases and all of them passed.
    pub(crate) fn all_passed(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}", file.file);
            text.push_str(&report::render(&file.problems));
            for case in &file.cases {
                case.render(&file.file, &mut text);
            }
        }
        let _ = writeln!(text, "{} passed, {} failed", self.passed, self.failed);
        text
    }
}

impl CaseReport {
    fn render(&self, file: &str, text: &mut String) {
        let mark = if self.passed { "ok  " } else { "FAIL" };
        let took = match self.seconds {
            0.0 => String::new(),
            seconds => format!(", {seconds} s"),
        };
        let _ = writeln!(
            text,
            "  {mark}  {} ({}, {} states, {} calls{took})",
            self.name,
            self.status,
            self.path.len(),
            self.calls
        );
        for Failure { message, line, column } in &self.failures {
            let _ = writeln!(text, "        {file}:{line}:{column}: {message}");
        }
        if !self.passed {
            let _ = writeln!(text, "        path: {}", self.path.join(", "));
        }
    }
}

impl Suite {
    fn run(&self, case: &Case) -> CaseReport {
        let ran = trial::run(&self.program, self.start(case), case.at, &mut |call| {
            mocks::answer(&case.mocks, call)
        });
        let mut failures = Vec::new();
        let mut fail = |pointer: &str, message: String| {
            let Position { line, column } = self.document.position(pointer);
            failures.push(Failure { message, line, column });
        };
        match &ran.unanswered {
            // What follows from a call without an answer says nothing.
            Some(message) => fail(&case.pointer, message.clone()),
            None => case.expect.check(&ran, &mut fail),
        }
        CaseReport {
            name: case.name.clone(),
            passed: failures.is_empty(),
            status: expect::status(&ran),
            seconds: ran.took.as_secs_f64(),
            calls: ran.calls.len(),
            path: ran.path,
            failures,
        }
    }
}

/// Variables, calls and the like by name.
type Named = Map<String, Value>;
