//! `stepbus workflows test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::output;
use crate::trials::Report;

#[derive(Debug, Args)]
pub(super) struct Test {
    /// Files of cases; docs/workflows.md says what they may hold.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only cases with this in their name.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
}

impl Test {
    pub(super) fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let mut report = Report::default();
        for file in &self.files {
            report.add(file, self.case.as_deref());
        }
        if as_json {
            output::json(&report);
        } else {
            output::text(&report.render());
        }
        Ok(if report.all_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
