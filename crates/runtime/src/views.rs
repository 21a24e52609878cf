//! What people and programs are shown: records by name, ready to be written as JSON.

use serde::Serialize;
use serde_json::Value;
use stepbus_asl::HistoryEvent;
use stepbus_model::{EventId, ExecutionId, MapRunId, ResourceId, RunId, Timestamp, Totals, arn};
use stepbus_store::{
    Cause, ExecutionFilter, ExecutionRow, ExecutionStatus, ItemCounts, MapRunRow, RunRow,
    StoreError, WorkflowTotals,
};

use crate::catalogue::Catalogue;
use crate::engine::Engine;
use crate::workflow::{decode_journal, obstacle};

/// A run with its books.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    #[serde(flatten)]
    pub row: RunRow,
    /// `RUNNING` while anything it caused is open, else `COMPLETED`.
    pub status: &'static str,
    pub ended: Option<Timestamp>,
    pub subscriptions: Vec<SubscriptionTotals>,
    pub map_runs: Vec<MapRunView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SubscriptionTotals {
    pub subscription: String,
    pub target: String,
    #[serde(flatten)]
    pub totals: Totals,
}

#[derive(Debug, Clone, Serialize)]
pub struct MapRunView {
    pub id: MapRunId,
    pub execution: ExecutionId,
    pub workflow: String,
    pub status: &'static str,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub counts: ItemCounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ExecutionView {
    pub id: ExecutionId,
    pub arn: String,
    pub name: String,
    pub workflow: String,
    pub run: RunId,
    pub status: &'static str,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub caused_by: String,
    /// Executions that its tasks started; only where one execution is shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ExecutionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_run: Option<MapRunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_index: Option<u64>,
    pub redrive_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_date: Option<Timestamp>,
    /// `REDRIVABLE`, `NOT_REDRIVABLE` or `REDRIVABLE_BY_MAP_RUN`.
    pub redrive_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct WorkflowView {
    pub name: String,
    pub arn: String,
    pub kind: stepbus_asl::WorkflowType,
    #[serde(flatten)]
    pub totals: WorkflowTotals,
    pub running: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    pub id: EventId,
    pub run: RunId,
    pub bus: String,
    pub at: Timestamp,
    pub hops: u16,
    pub caused_by: String,
    pub event: Value,
}

impl Engine {
    /// # Errors
    /// When the store fails.
    pub async fn runs(
        &self,
        open_only: bool,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<RunView>, StoreError> {
        let rows = self.store.runs(open_only, before, limit).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            views.push(self.run_view(row).await?);
        }
        Ok(views)
    }

    /// # Errors
    /// When the store fails.
    pub async fn run(&self, id: RunId) -> Result<Option<RunView>, StoreError> {
        match self.store.run(id).await? {
            Some(row) => Ok(Some(self.run_view(row).await?)),
            None => Ok(None),
        }
    }

    async fn run_view(&self, row: RunRow) -> Result<RunView, StoreError> {
        let catalogue = self.catalogue();
        let totals = self.store.run_totals(row.id).await?;
        let mut map_runs = Vec::new();
        for map_run in self.store.map_runs_of_run(row.id).await? {
            map_runs.push(self.map_run_view(&catalogue, map_run).await?);
        }
        let open = row.open > 0;
        Ok(RunView {
            status: if open { "RUNNING" } else { "COMPLETED" },
            ended: (!open).then_some(row.last),
            subscriptions: named_totals(&catalogue, totals),
            map_runs,
            row,
        })
    }

    async fn map_run_view(
        &self,
        catalogue: &Catalogue,
        row: MapRunRow,
    ) -> Result<MapRunView, StoreError> {
        let parent = self.store.execution(row.execution).await?;
        let workflow = parent.map_or("?", |parent| catalogue.name(parent.workflow)).to_owned();
        Ok(MapRunView {
            id: row.id,
            execution: row.execution,
            workflow,
            status: row.status.name(),
            started: row.started,
            ended: row.ended,
            counts: row.counts.items,
            error: row.error,
        })
    }

    /// The books over all runs, a line a subscription.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscription_totals(&self) -> Result<Vec<SubscriptionTotals>, StoreError> {
        Ok(named_totals(&self.catalogue(), self.store.subscription_totals().await?))
    }

    /// # Errors
    /// When the store fails.
    pub async fn workflows(&self) -> Result<Vec<WorkflowView>, StoreError> {
        let totals = self.store.workflow_totals().await?;
        let catalogue = self.catalogue();
        let mut views: Vec<WorkflowView> = catalogue
            .workflows
            .values()
            .map(|workflow| {
                let found = totals.iter().find(|(id, _)| *id == workflow.id);
                let totals = found.map_or_else(WorkflowTotals::default, |(_, totals)| *totals);
                WorkflowView {
                    name: workflow.spec.name.clone(),
                    arn: arn::state_machine(&workflow.spec.name),
                    kind: workflow.spec.kind,
                    running: totals.running(),
                    totals,
                }
            })
            .collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(views)
    }

    /// # Errors
    /// When the store fails.
    pub async fn executions(
        &self,
        filter: ExecutionFilter,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Vec<ExecutionView>, StoreError> {
        let catalogue = self.catalogue();
        let rows = self.store.executions(filter, before, limit).await?;
        Ok(rows.iter().map(|row| execution_view(self, &catalogue, row)).collect())
    }

    /// An execution with its input.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionView>, StoreError> {
        let Some(row) = self.store.execution(id).await? else { return Ok(None) };
        let mut view = execution_view(self, &self.catalogue(), &row);
        let journal = decode_journal(&self.store.journal(id, 0).await?, 0)?;
        view.children = self.started_by(id, &journal).await?;
        if let Some((_, stepbus_asl::Input::Started(start))) = journal.into_iter().next() {
            view.arn = start.execution_arn.to_string();
            view.input = Some((*start.input).clone());
        }
        Ok(Some(view))
    }

    /// The executions that tasks started, by what their journal says.
    async fn started_by(
        &self,
        id: ExecutionId,
        journal: &[(Timestamp, stepbus_asl::Input)],
    ) -> Result<Vec<ExecutionId>, StoreError> {
        use stepbus_asl::Input::{TaskSubmitted, TaskSucceeded};
        let mut children = Vec::new();
        for (_, input) in journal {
            let (TaskSubmitted { output, .. } | TaskSucceeded { output, .. }) = input else {
                continue;
            };
            let arn = output.get("ExecutionArn").and_then(Value::as_str).unwrap_or_default();
            let mut parts = arn.split(':').skip(5);
            let (Some("execution"), Some(workflow), Some(name)) =
                (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let workflow = self.catalogue().workflows.get(workflow).map(|workflow| workflow.id);
            let Some(workflow) = workflow else { continue };
            let found = self.store.execution_by_name(workflow, name).await?;
            let found = found.filter(|row| row.cause == Cause::Execution(id)).map(|row| row.id);
            children.extend(found.filter(|id| !children.contains(id)));
        }
        Ok(children)
    }

    /// The history as GetExecutionHistory tells it, derived from the journal.
    ///
    /// # Errors
    /// When the store fails or the journal is damaged.
    pub async fn history(&self, id: ExecutionId) -> Result<Option<Vec<HistoryEvent>>, StoreError> {
        let Some(row) = self.store.execution(id).await? else { return Ok(None) };
        let program = self.program_of(&row).await?;
        let journal = decode_journal(&self.store.journal(id, 0).await?, 0)?;
        Ok(Some(stepbus_asl::history(&program, journal)))
    }

    /// # Errors
    /// When the store fails.
    pub async fn events(
        &self,
        bus: Option<ResourceId>,
        after: EventId,
        limit: usize,
    ) -> Result<Vec<EventView>, StoreError> {
        let rows = self.store.events(bus, after, limit).await?;
        Ok(rows.into_iter().map(|row| self.event_view(row)).collect())
    }

    #[must_use]
    pub fn event_view(&self, row: stepbus_store::EventRow) -> EventView {
        EventView {
            id: row.id,
            run: row.run,
            bus: self.catalogue().name(row.bus).to_owned(),
            at: row.at,
            hops: row.hops,
            caused_by: cause_text(row.cause),
            event: serde_json::from_slice(&row.envelope).unwrap_or_default(),
        }
    }
}

fn named_totals(
    catalogue: &Catalogue,
    totals: Vec<(ResourceId, Totals)>,
) -> Vec<SubscriptionTotals> {
    let mut named: Vec<SubscriptionTotals> = totals
        .into_iter()
        .map(|(id, totals)| SubscriptionTotals {
            subscription: catalogue.name(id).to_owned(),
            target: catalogue
                .subscriptions
                .get(&id)
                .map_or_else(String::new, |found| found.spec.target.name().to_owned()),
            totals,
        })
        .collect();
    named.sort_by(|one, other| one.subscription.cmp(&other.subscription));
    named
}

fn execution_view(engine: &Engine, catalogue: &Catalogue, row: &ExecutionRow) -> ExecutionView {
    let (redrive_status, redrive_status_reason) = redrive_status(engine, row);
    let workflow = catalogue.name(row.workflow).to_owned();
    ExecutionView {
        id: row.id,
        arn: arn::execution(&workflow, &row.name),
        name: row.name.clone(),
        workflow,
        run: row.run,
        status: row.status.name(),
        started: row.started,
        ended: row.ended,
        caused_by: cause_text(row.cause),
        children: Vec::new(),
        map_run: row.item.map(|(map_run, _)| map_run),
        item_index: row.item.map(|(_, index)| index),
        redrive_count: row.redrives,
        redrive_date: row.redriven,
        redrive_status,
        redrive_status_reason,
        input: None,
        output: row.output.as_ref().and_then(|output| serde_json::from_slice(output).ok()),
        error: row.error.clone(),
        cause: row.error_cause.clone(),
    }
}

/// AWS's redriveStatus and its reason.
fn redrive_status(engine: &Engine, row: &ExecutionRow) -> (&'static str, Option<String>) {
    let unsuccessful = !matches!(row.status, ExecutionStatus::Running | ExecutionStatus::Succeeded);
    match obstacle(engine, row) {
        None => ("REDRIVABLE", None),
        Some(_) if row.item.is_some() && unsuccessful => ("REDRIVABLE_BY_MAP_RUN", None),
        Some(why) => ("NOT_REDRIVABLE", Some(why)),
    }
}

fn cause_text(cause: Cause) -> String {
    match cause {
        Cause::Outside => "outside".to_owned(),
        Cause::Event(id) => id.to_string(),
        Cause::Execution(id) => id.to_string(),
        Cause::MapRun(id) => id.to_string(),
    }
}

/// Statuses by the names that AWS's API and the command line use.
#[must_use]
pub fn status_named(name: &str) -> Option<ExecutionStatus> {
    ExecutionStatus::from_name(&name.to_ascii_uppercase())
}
