//! Proves the books over a data directory: what must hold between records, and that every journal
//! replays to what is recorded of its execution.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use stepbus_asl::{Execution, Input, Outcome, Program, WorkflowType};
use stepbus_document::Document;
use stepbus_model::MapRunId;
use stepbus_store::{
    ExecutionFilter, ExecutionRow, ExecutionStatus, MapRunRow, Problem, Store, StoreError,
};

use crate::workflow::{decode_journal, within};

/// How many rows are read at a time.
const PAGE: usize = 1_000;

/// What an audit looked at and found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct AuditReport {
    pub runs: u64,
    pub executions: u64,
    pub journal_entries: u64,
    pub problems: Vec<Problem>,
}

/// Audits a store that nobody writes to.
///
/// # Errors
/// When the store cannot be read.
pub async fn audit(store: &dyn Store) -> Result<AuditReport, StoreError> {
    let mut audit = Audit { store, report: AuditReport::default(), programs: HashMap::new() };
    audit.report.problems = store.check().await?;
    audit.report.problems.extend(crate::log::prove(store).await?);
    audit.executions().await?;
    audit.map_runs().await?;
    Ok(audit.report)
}

struct Audit<'a> {
    store: &'a dyn Store,
    report: AuditReport,
    programs: HashMap<u64, Option<Arc<Program>>>,
}

impl Audit<'_> {
    async fn executions(&mut self) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let rows = self.store.executions(ExecutionFilter::default(), before, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            before = Some(last.id);
            for row in rows {
                let program = self.program(&row).await?;
                self.replay(&row, program.as_deref()).await?;
            }
        }
    }

    async fn map_runs(&mut self) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let runs = self.store.runs(false, before, PAGE).await?;
            let Some(last) = runs.last() else { return Ok(()) };
            before = Some(last.id);
            for run in runs {
                self.report.runs += 1;
                for map_run in self.store.map_runs_of_run(run.id).await? {
                    self.children(&map_run).await?;
                }
            }
        }
    }

    async fn children(&mut self, map_run: &MapRunRow) -> Result<(), StoreError> {
        if self.store.execution(map_run.execution).await?.is_none() {
            self.find("map-run-has-its-execution", map_run.id, "its execution is gone");
            return Ok(());
        }
        // Children of a redrive may run by another definition than their siblings.
        let mut processors: HashMap<u64, Option<Arc<Program>>> = HashMap::new();
        let total = u64::try_from(map_run.counts.executions.total).unwrap_or(0);
        for from in (0..total).step_by(PAGE) {
            for child in self.store.map_children(map_run.id, from, from + PAGE as u64).await? {
                if let Entry::Vacant(place) = processors.entry(child.definition) {
                    let processor = match self.program(&child).await? {
                        Some(program) => within(self.store, program, &child).await.ok(),
                        None => None,
                    };
                    place.insert(processor);
                }
                let processor = processors[&child.definition].clone();
                self.replay(&child, processor.as_deref()).await?;
            }
        }
        Ok(())
    }

    async fn program(&mut self, row: &ExecutionRow) -> Result<Option<Arc<Program>>, StoreError> {
        if let Some(program) = self.programs.get(&row.definition) {
            return Ok(program.clone());
        }
        let text = self.store.definition(row.definition).await?;
        let program = text
            .and_then(|definition| Document::parse(&definition.text).ok())
            .and_then(|document| Program::parse(&document, WorkflowType::Standard).ok())
            .map(Arc::new);
        self.programs.insert(row.definition, program.clone());
        Ok(program)
    }

    async fn replay(
        &mut self,
        row: &ExecutionRow,
        program: Option<&Program>,
    ) -> Result<(), StoreError> {
        self.report.executions += 1;
        let Some(program) = program else {
            self.find(
                "execution-has-its-definition",
                row.id,
                "its definition is gone or unreadable",
            );
            return Ok(());
        };
        let entries = match decode_journal(&self.store.journal(row.id, 0).await?, 0) {
            Ok(entries) => entries,
            Err(error) => {
                self.find("journal-is-whole", row.id, &error.to_string());
                return Ok(());
            }
        };
        self.report.journal_entries += entries.len() as u64;
        let mut entries = entries.into_iter();
        let Some((at, Input::Started(start))) = entries.next() else {
            // A child of a stopped map run may have ended before its start was written.
            if row.status == ExecutionStatus::Running {
                self.find(
                    "journal-begins-with-start",
                    row.id,
                    "its journal does not begin with a start",
                );
            }
            return Ok(());
        };
        let (mut execution, _) = Execution::begin(program, at, start);
        for (at, input) in entries {
            execution.apply(program, at, input);
        }
        if let Some(message) = disagreement(row, execution.outcome()) {
            self.find("journal-replays-to-status", row.id, &message);
        }
        Ok(())
    }

    fn find(&mut self, rule: &str, subject: impl ToString, message: &str) {
        self.report.problems.push(Problem {
            rule: rule.to_owned(),
            subject: subject.to_string(),
            message: message.to_owned(),
        });
    }
}

/// How the row and the replayed outcome differ. A child that its map run aborted has no journal
/// entry of that: the map run's end says it.
fn disagreement(row: &ExecutionRow, outcome: Option<&Outcome>) -> Option<String> {
    let child_of =
        |row: &ExecutionRow| -> Option<MapRunId> { row.item.map(|(map_run, _)| map_run) };
    let replayed = match outcome {
        None if row.status == ExecutionStatus::Aborted && child_of(row).is_some() => return None,
        None => ExecutionStatus::Running,
        Some(Outcome::Succeeded(output)) => {
            let recorded = row.output.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
            if row.status == ExecutionStatus::Succeeded && recorded.as_ref() != Some(&**output) {
                return Some("the recorded output is not the replayed one".to_owned());
            }
            ExecutionStatus::Succeeded
        }
        Some(Outcome::Failed(_)) => ExecutionStatus::Failed,
        Some(Outcome::TimedOut(_)) => ExecutionStatus::TimedOut,
        Some(Outcome::Aborted(_)) => ExecutionStatus::Aborted,
    };
    (replayed != row.status).then(|| {
        format!(
            "it is recorded as {}, its journal replays to {}",
            row.status.name(),
            replayed.name()
        )
    })
}
