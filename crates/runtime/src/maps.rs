//! Map runs as operators see and change them: counts in AWS's words, settings under way, what
//! failed and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepbus_asl::{Input, MapRunSpec};
use stepbus_model::{ExecutionId, MapRunId, RunId, Timestamp};
use stepbus_store::{
    ExecutionRow, ItemCounts, MapCounts, MapRunRow, MapRunStatus, MapSettings, StoreError,
};

use crate::engine::Engine;
use crate::pressure::{Extraction, Standing};
use crate::workflow::{decode_journal, redrive_spent, window};

/// A map run as DescribeMapRun tells it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MapRunDetail {
    pub id: MapRunId,
    pub map_run_arn: String,
    pub execution: ExecutionId,
    pub run: RunId,
    pub workflow: String,
    pub label: String,
    pub child_type: stepbus_asl::WorkflowType,
    pub status: &'static str,
    pub start_date: Timestamp,
    pub stop_date: Option<Timestamp>,
    pub max_concurrency: u64,
    pub tolerated_failure_count: u64,
    pub tolerated_failure_percentage: f64,
    pub item_counts: Counts,
    pub execution_counts: Counts,
    pub redrive_count: u32,
    pub redrive_date: Option<Timestamp>,
    /// A bound of the whole is near: it starts fewer children, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What a map run is held back to, and why.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    #[serde(flatten)]
    pub standing: Standing,
    /// Children it may have at work now.
    pub children_at_once: u64,
}

/// AWS's ten counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub total: i64,
    pub pending: i64,
    pub running: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub timed_out: i64,
    pub aborted: i64,
    pub results_written: i64,
    pub failures_not_redrivable: i64,
    pub pending_redrive: i64,
}

impl Counts {
    /// `in_flight`: those in memory, of which the store may not know yet; `redrivable`: whether a
    /// redrive would take those that did not succeed.
    fn new(counts: &ItemCounts, in_flight: u64, redrivable: bool) -> Counts {
        let in_flight = i64::try_from(in_flight).unwrap_or(i64::MAX);
        let begun = in_flight.min(counts.pending() + counts.running).max(counts.running);
        Counts {
            total: counts.total,
            pending: counts.pending() + counts.running - begun,
            running: begun,
            succeeded: counts.succeeded,
            failed: counts.failed,
            timed_out: counts.timed_out,
            aborted: counts.aborted,
            results_written: counts.results_written,
            failures_not_redrivable: if redrivable { 0 } else { counts.unsuccessful() },
            pending_redrive: counts.pending_redrive,
        }
    }
}

/// What UpdateMapRun changes; what is not given stays.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapRunUpdate {
    pub max_concurrency: Option<u64>,
    pub tolerated_failure_count: Option<u64>,
    pub tolerated_failure_percentage: Option<f64>,
}

/// Why something cannot be done with a map run.
#[derive(Debug, thiserror::Error)]
pub enum MapRunError {
    #[error("ResourceNotFound: there is no {0}")]
    NotFound(String),
    #[error("ValidationException: {0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Children that failed alike.
#[derive(Debug, Clone, Serialize)]
pub struct FailureGroup {
    pub status: &'static str,
    pub error: String,
    /// The cause without what differs from child to child: numbers, quoted names.
    pub cause: String,
    pub count: u64,
    pub items: u64,
    pub samples: Vec<FailureSample>,
}

#[derive(Debug, Clone, Serialize)]
pub struct FailureSample {
    pub item: u64,
    pub execution: ExecutionId,
    pub cause: String,
}

/// A child that did not succeed, with what it was given.
#[derive(Debug, Clone, Serialize)]
pub struct FailedChild {
    pub index: u64,
    pub execution: ExecutionId,
    pub status: &'static str,
    pub error: Option<String>,
    pub cause: Option<String>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    #[serde(rename = "redriveCount")]
    pub redrive_count: u32,
    pub item: Value,
    pub input: Value,
}

const SAMPLES: usize = 5;
const CAUSE_CHARS: usize = 200;

impl Engine {
    /// Map runs, newest first; those of one execution or run when asked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn map_runs(
        &self,
        run: Option<RunId>,
        execution: Option<ExecutionId>,
        before: Option<MapRunId>,
        limit: usize,
    ) -> Result<Vec<MapRunDetail>, StoreError> {
        let of_execution = match execution {
            Some(id) => self.store.execution(id).await?.map(|row| row.run),
            None => None,
        };
        let rows = match run.or(of_execution) {
            None => self.store.map_runs(before, limit).await?,
            Some(run) => {
                let mut rows = self.store.map_runs_of_run(run).await?;
                rows.retain(|row| execution.is_none_or(|id| row.execution == id));
                rows.retain(|row| before.is_none_or(|id| row.id < id));
                rows.reverse();
                rows.truncate(limit);
                rows
            }
        };
        let mut details = Vec::with_capacity(rows.len());
        for row in rows {
            details.push(self.map_run_detail(row).await?);
        }
        Ok(details)
    }

    /// # Errors
    /// When the store fails.
    pub async fn map_run(&self, id: MapRunId) -> Result<Option<MapRunDetail>, StoreError> {
        match self.store.map_run(id).await? {
            Some(row) => Ok(Some(self.map_run_detail(row).await?)),
            None => Ok(None),
        }
    }

    async fn map_run_detail(&self, row: MapRunRow) -> Result<MapRunDetail, StoreError> {
        let catalogue = self.catalogue();
        let parent = self.store.execution(row.execution).await?;
        let redrivable = row.status == MapRunStatus::Running || redrive_spent(self, &row).is_none();
        let workflow = parent.map_or("?", |parent| catalogue.name(parent.workflow)).to_owned();
        let spec: MapRunSpec = spec_of(&row)?;
        let (items, children) = self.executions.in_flight(row.id);
        let MapCounts { items: item_counts, executions } = &row.counts;
        Ok(MapRunDetail {
            id: row.id,
            map_run_arn: spec.map_run_arn,
            execution: row.execution,
            run: row.run,
            workflow,
            label: spec.label,
            child_type: spec.execution_type,
            status: row.status.name(),
            start_date: row.started,
            stop_date: row.ended,
            max_concurrency: row.settings.max_concurrency,
            tolerated_failure_count: row.settings.tolerated_failure_count.unwrap_or(0),
            tolerated_failure_percentage: row.settings.tolerated_failure_percentage.unwrap_or(0.0),
            item_counts: Counts::new(item_counts, items, redrivable),
            execution_counts: Counts::new(executions, children, redrivable),
            redrive_count: row.redrives,
            redrive_date: row.redriven,
            held_back: self.held_back(&row),
            source_version: row.source_version,
            error: row.error,
            cause: row.error_cause,
        })
    }

    fn held_back(&self, row: &MapRunRow) -> Option<HeldBack> {
        let standing = self.pressure.standing();
        let held = row.status == MapRunStatus::Running && standing.extraction != Extraction::Free;
        held.then(|| {
            let window = window(&self.limits, row.settings.max_concurrency);
            HeldBack { standing, children_at_once: self.pressure.room(window) as u64 }
        })
    }

    /// Changes concurrency and tolerance of a map run under way, as UpdateMapRun does: from the
    /// next child on, also after a restart.
    ///
    /// # Errors
    /// When there is no such map run, it has ended, or a value is out of bounds.
    pub async fn update_map_run(
        &self,
        id: MapRunId,
        update: MapRunUpdate,
    ) -> Result<MapRunDetail, MapRunError> {
        let row = self.store.map_run(id).await?;
        let row = row.ok_or_else(|| MapRunError::NotFound(id.to_string()))?;
        if row.status != MapRunStatus::Running {
            let status = row.status.name();
            return Err(MapRunError::Invalid(format!(
                "{id} is {status}; only a running one can be updated"
            )));
        }
        if let Some(share) = update.tolerated_failure_percentage
            && !(0.0..=100.0).contains(&share)
        {
            let what = format!("toleratedFailurePercentage must be from 0 to 100, not {share}");
            return Err(MapRunError::Invalid(what));
        }
        let before = row.settings;
        let settings = MapSettings {
            max_concurrency: update.max_concurrency.unwrap_or(before.max_concurrency),
            tolerated_failure_count: update
                .tolerated_failure_count
                .or(before.tolerated_failure_count),
            tolerated_failure_percentage: update
                .tolerated_failure_percentage
                .or(before.tolerated_failure_percentage),
        };
        let mut batch = stepbus_store::Batch::acceptance();
        batch.update_map_run(id, settings);
        self.store.commit(batch).await?;
        self.executions.change_map_run(id, settings);
        let row = self.store.map_run(id).await?;
        let row = row.ok_or_else(|| MapRunError::NotFound(id.to_string()))?;
        Ok(self.map_run_detail(row).await?)
    }

    /// The children that did not succeed, grouped by status, error and cause; the largest group
    /// first. Beyond `failure_groups` groups, what is left counts as one.
    ///
    /// # Errors
    /// When there is no such map run, or the store fails.
    pub async fn failure_groups(&self, id: MapRunId) -> Result<Vec<FailureGroup>, MapRunError> {
        if self.store.map_run(id).await?.is_none() {
            return Err(MapRunError::NotFound(id.to_string()));
        }
        let mut groups: BTreeMap<(u8, String, String), FailureGroup> = BTreeMap::new();
        let mut after = ExecutionId(0);
        loop {
            let page = self.limits.page_rows;
            let rows = self.store.unsuccessful_children(id, after, page).await?;
            let Some(last) = rows.last() else { break };
            after = last.id;
            for row in &rows {
                let error = row.error.clone().unwrap_or_default();
                let cause = normalised(row.error_cause.as_deref().unwrap_or_default());
                let mut key = (row.status.code(), error, cause);
                if groups.len() >= self.limits.failure_groups && !groups.contains_key(&key) {
                    key = (row.status.code(), "others".to_owned(), String::new());
                }
                let group =
                    groups.entry(key).or_insert_with_key(|(_, error, cause)| FailureGroup {
                        status: row.status.name(),
                        error: error.clone(),
                        cause: cause.clone(),
                        count: 0,
                        items: 0,
                        samples: Vec::new(),
                    });
                group.add(row);
            }
        }
        let mut groups: Vec<FailureGroup> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        Ok(groups)
    }

    /// A page of the children that did not succeed, after `after`, with item and input; and where
    /// the next page begins.
    ///
    /// # Errors
    /// When the store fails or a journal is damaged.
    pub async fn failed_children(
        &self,
        id: MapRunId,
        after: ExecutionId,
        limit: usize,
    ) -> Result<(Vec<FailedChild>, Option<ExecutionId>), StoreError> {
        let rows = self.store.unsuccessful_children(id, after, limit).await?;
        let next = rows.last().map(|row| row.id);
        let mut children = Vec::with_capacity(rows.len());
        for row in rows {
            let journal = decode_journal(&self.store.journal(row.id, 0).await?, 0)?;
            let (mut item, mut input) = (Value::Null, Value::Null);
            if let Some((_, Input::Started(start))) = journal.into_iter().next() {
                input = (*start.input).clone();
                item = start.map_item.as_ref().map_or(Value::Null, |item| (*item.value).clone());
            }
            children.push(FailedChild {
                index: row.item.map_or(0, |(_, index)| index),
                execution: row.id,
                status: row.status.name(),
                error: row.error,
                cause: row.error_cause,
                started: row.started,
                ended: row.ended,
                redrive_count: row.redrives,
                item,
                input,
            });
        }
        Ok((children, next))
    }
}

impl FailureGroup {
    fn add(&mut self, row: &ExecutionRow) {
        self.count += 1;
        self.items += u64::from(row.items);
        if self.samples.len() < SAMPLES {
            let cause = row.error_cause.as_deref().unwrap_or_default();
            self.samples.push(FailureSample {
                item: row.item.map_or(0, |(_, index)| index),
                execution: row.id,
                cause: cause.chars().take(CAUSE_CHARS).collect(),
            });
        }
    }
}

pub(crate) fn spec_of(row: &MapRunRow) -> Result<MapRunSpec, StoreError> {
    serde_json::from_slice(&row.spec)
        .map_err(|error| StoreError::Failed(format!("{}: {error}", row.id)))
}

/// A cause without what differs between failures of one kind: numbers become `#`, what stands in
/// quotes becomes `…`.
fn normalised(cause: &str) -> String {
    let mut text = String::new();
    let mut chars = cause.chars().peekable();
    let mut length = 0;
    while let Some(char) = chars.next() {
        if length >= CAUSE_CHARS {
            text.push('…');
            break;
        }
        length += 1;
        match char {
            '\'' | '"' if closes(chars.clone(), char) => {
                for inner in chars.by_ref() {
                    if inner == char {
                        break;
                    }
                }
                text.push(char);
                text.push('…');
                text.push(char);
            }
            digit if digit.is_ascii_digit() => {
                let number = |char: &char| char.is_ascii_alphanumeric() || *char == '.';
                while chars.next_if(number).is_some() {}
                text.push('#');
            }
            char => text.push(char),
        }
    }
    text
}

/// Whether the quote closes before long; an apostrophe does not.
fn closes(rest: impl Iterator<Item = char>, quote: char) -> bool {
    rest.take(CAUSE_CHARS).any(|char| char == quote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_one_kind_are_one() {
        for (cause, expected) in [
            ("product 4711 is gone", "product # is gone"),
            ("SKU 'A-17' has no price (at 12:30:05.123)", "SKU '…' has no price (at #:#:#)"),
            (r#"{"sku":"B","n":3}"#, r#"{"…":"…","…":#}"#),
            ("it isn't there", "it isn't there"),
            ("", ""),
        ] {
            assert_eq!(normalised(cause), expected);
        }
        assert_eq!(normalised(&"x".repeat(500)).chars().count(), CAUSE_CHARS + 1);
    }
}
