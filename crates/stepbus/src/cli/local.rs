//! Commands that need no server: they look at files.

use std::path::Path;
use std::process::ExitCode;

use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

use crate::output;
use crate::project::{self, Severity, Vars};

pub(super) fn validate(path: &Path, without_secrets: bool, as_json: bool) -> ExitCode {
    let vars = Vars::environment();
    let problems = if without_secrets {
        project::check(path, &vars)
    } else {
        project::load(path, &vars).map_or_else(|problems| problems, |project| project.warnings)
    };
    let valid = problems.iter().all(|problem| problem.severity == Severity::Warning);
    if as_json {
        output::json(&project::report::to_json(&problems));
    } else {
        output::text(&project::report::render(&problems));
        output::line(&project::report::counted(&problems));
    }
    if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(super) fn schema() -> ExitCode {
    output::json(&project::schema());
    ExitCode::SUCCESS
}

pub(super) fn audit(data: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    if !data.is_dir() {
        anyhow::bail!("there is no data directory {}; name one with --data", data.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let store = SqliteStore::open(data, SqliteOptions::default())?;
        stepbus_runtime::audit(&store).await
    })?;
    if as_json {
        output::json(&report);
    } else {
        for problem in &report.problems {
            output::line(&format!("{}  {}  {}", problem.rule, problem.subject, problem.message));
        }
        output::line(&format!(
            "{} problems in {} runs, {} executions, {} journal entries",
            report.problems.len(),
            output::count(i64::try_from(report.runs)?),
            output::count(i64::try_from(report.executions)?),
            output::count(i64::try_from(report.journal_entries)?),
        ));
    }
    let sound = report.problems.is_empty();
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
