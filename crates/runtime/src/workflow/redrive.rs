//! Back from failure: executions go on from the state that failed, map runs with the children that
//! did not succeed.
//!
//! Children are marked first, some in each commit; the last commit has the map run run again. What
//! was marked when the process ended in between is taken up by the next redrive.

mod reopen;

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use stepbus_asl::{Input, MapRunSpec, WorkflowType};
use stepbus_expr::{Env, Scope, Template};
use stepbus_model::{ExecutionId, MapRunId, RunId, Timestamp, crash};
use stepbus_store::{
    AuditRow, Batch, ClaimRow, ExecutionFilter, ExecutionKind, ExecutionRow, ExecutionStatus,
    MapRunRedrive, MapRunRow, MapRunStatus, StoreError,
};

use super::{journal, within};
use crate::catalogue::Workflow;
use crate::engine::Engine;
use crate::maps::spec_of;
pub(super) use reopen::{entry, reopen, restart};

/// Which of the children that did not succeed run again. All when nothing is said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RerunSelection {
    /// Only those that failed with this error.
    pub error: Option<String>,
    /// JSONata over the item, `$states.input`; only those for which it is true.
    pub item_filter: Option<String>,
    /// Those that entered this state begin at it, with the input it had.
    pub from_state: Option<String>,
    /// They begin anew by the workflow's current definition.
    #[serde(default)]
    pub current_definition: bool,
}

impl RerunSelection {
    /// Whether items that never began are meant too.
    fn is_everything(&self) -> bool {
        self.error.is_none() && self.item_filter.is_none() && self.from_state.is_none()
    }

    fn names(&self, row: &ExecutionRow) -> bool {
        self.error.is_none() || self.error == row.error
    }
}

/// How an execution goes on that is redriven; from where it stood when nothing is said.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedriveOptions {
    /// A state that it entered: it is entered again with the input it had.
    pub from_state: Option<String>,
    /// It goes on by the workflow's current definition.
    #[serde(default)]
    pub current_definition: bool,
    /// The same token redrives once.
    pub client_token: Option<String>,
}

/// What was redriven.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    pub redrive_date: Timestamp,
    /// Children that are to run again; those that never began are not among them.
    pub children: u64,
}

/// Why nothing was redriven.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    #[error("{0}")]
    NotFound(String),
    #[error("ExecutionNotRedrivable: {0}")]
    NotRedrivable(String),
    #[error("ValidationException: {0}")]
    Invalid(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether RedriveExecution would take the execution, and if not, why.
pub(crate) fn obstacle(engine: &Engine, row: &ExecutionRow) -> Option<String> {
    let limits = &engine.limits;
    let ended = row.ended.unwrap_or(row.started);
    let age = engine.clock.now().since(ended);
    if row.item.is_some() {
        Some("it is the child of a map run, which is redriven as a whole".to_owned())
    } else if row.kind == ExecutionKind::Express {
        Some("an EXPRESS execution cannot be redriven".to_owned())
    } else if matches!(row.status, ExecutionStatus::Running | ExecutionStatus::Succeeded) {
        Some(format!("its status is {}", row.status.name()))
    } else if age > Duration::from_secs(limits.redrive_days * 86_400) {
        Some(format!("it ended more than {} days ago (limit redrive_days)", limits.redrive_days))
    } else if row.redrives >= limits.redrives {
        Some(format!("it was redriven {} times (limit redrives)", row.redrives))
    } else {
        None
    }
}

/// Why a map run that has ended is redriven no more.
pub(crate) fn redrive_spent(engine: &Engine, row: &MapRunRow) -> Option<String> {
    let limits = &engine.limits;
    let ended = row.ended.unwrap_or(row.started);
    if engine.clock.now().since(ended) > Duration::from_secs(limits.redrive_days * 86_400) {
        Some(format!("it ended more than {} days ago (limit redrive_days)", limits.redrive_days))
    } else if row.redrives >= limits.redrives {
        Some(format!("it was redriven {} times (limit redrives)", row.redrives))
    } else {
        None
    }
}

/// The map run that a redriven state goes on with, running again with all its children that did
/// not succeed; none when the state had none.
pub(super) async fn map_run_of(
    engine: &Engine,
    parent: &ExecutionRow,
    spec: &MapRunSpec,
) -> Result<Option<MapRunId>, StoreError> {
    if spec.redrives == 0 {
        return Ok(None);
    }
    for row in engine.store.map_runs_of_run(parent.run).await? {
        if row.execution != parent.id || spec_of(&row)?.map_run_arn != spec.map_run_arn {
            continue;
        }
        mark(engine, &row, None, &RerunSelection::default()).await?;
        let mut batch = Batch::new();
        let redrive = MapRunRedrive {
            id: row.id,
            visit: spec.visit.0,
            at: engine.clock.now(),
            only_marked: false,
            definition: None,
            from_state: None,
        };
        batch.redrive_map_run(redrive, row.run);
        engine.store.commit(batch).await?;
        return Ok(Some(row.id));
    }
    Ok(None)
}

/// Marks the children that are selected, and says how many await a redrive now.
async fn mark(
    engine: &Engine,
    map_run: &MapRunRow,
    filter: Option<&Template>,
    selection: &RerunSelection,
) -> Result<u64, StoreError> {
    let (mut after, mut marked) = (ExecutionId(0), 0);
    loop {
        let page = engine.limits.page_rows;
        let rows = engine.store.unsuccessful_children(map_run.id, after, page).await?;
        let Some(last) = rows.last() else { return Ok(marked) };
        after = last.id;
        let mut batch = Batch::new();
        for row in rows {
            if row.awaits_redrive {
                marked += 1;
            } else if selection.names(&row)
                && passes(engine, &row, filter).await?
                && was_in(engine, &row, selection.from_state.as_deref()).await?
            {
                marked += 1;
                batch.await_redrive(&row);
            }
        }
        if !batch.is_empty() {
            crash::point("redrive.before_commit");
            engine.store.commit(batch).await?;
        }
    }
}

/// Whether the filter is true of the child's item.
async fn passes(
    engine: &Engine,
    row: &ExecutionRow,
    filter: Option<&Template>,
) -> Result<bool, StoreError> {
    let Some(filter) = filter else { return Ok(true) };
    let entries = journal::decode(&engine.store.journal(row.id, 0).await?, 0)?;
    let Some((at, Input::Started(start))) = entries.into_iter().next() else { return Ok(false) };
    let item = start.map_item.as_ref().map_or(&start.input, |item| &item.value).clone();
    let mut scope = Scope::new(Env { now: at, seed: start.seed });
    scope.bind_member("states", "input", &item);
    // An item for which the filter cannot be evaluated is not one it is true of.
    Ok(matches!(filter.eval(&scope), Ok(Some(Value::Bool(true)))))
}

/// Whether the child entered the state; there is nothing to ask when none is named.
async fn was_in(
    engine: &Engine,
    row: &ExecutionRow,
    state: Option<&str>,
) -> Result<bool, StoreError> {
    match state {
        None => Ok(true),
        state => Ok(entry(engine, row, state).await?.is_ok()),
    }
}

impl Engine {
    /// Runs an execution again, as RedriveExecution does: from the state that failed, or from
    /// another one that it was in.
    ///
    /// # Errors
    /// When it is not there, cannot be redriven so, or the store fails.
    pub async fn redrive_execution(
        self: &Arc<Self>,
        id: ExecutionId,
        options: &RedriveOptions,
    ) -> Result<Redriven, RedriveError> {
        let client_token = options.client_token.as_deref();
        let row = self.store.execution(id).await?;
        let row =
            row.ok_or_else(|| RedriveError::NotFound(format!("ExecutionDoesNotExist: {id}")))?;
        if let Some(done) = self.redriven_before(&id.to_string(), client_token).await? {
            return Ok(done);
        }
        if let Some(why) = obstacle(self, &row) {
            return Err(RedriveError::NotRedrivable(format!("{id}: {why}")));
        }
        let refused =
            |why: &dyn std::fmt::Display| RedriveError::NotRedrivable(format!("{id}: {why}"));
        let map_runs = self.store.map_runs_of_run(row.run).await?;
        let ending = |map_run: &&MapRunRow| {
            map_run.execution == id && map_run.status == MapRunStatus::Running
        };
        if let Some(map_run) = map_runs.iter().find(ending) {
            return Err(refused(&format!("its {} is still being ended; try again", map_run.id)));
        }
        let current = match options.current_definition {
            true => Some(self.current_workflow(&row).ok_or_else(|| {
                refused(&"its workflow is not declared, or is not STANDARD any more")
            })?),
            false => None,
        };
        let current = current.filter(|workflow| workflow.definition != row.definition);
        let state = options.from_state.as_deref();
        let found = match (state, &current) {
            (None, None) => None,
            _ => Some(entry(self, &row, state).await?.map_err(|why| refused(&why))?),
        };
        if let (Some(found), Some(current)) = (&found, &current) {
            let state = &found.entry.state;
            current.program.check_own_state(state).map_err(|why| {
                refused(&format!("it would go on at '{state}' by the current definition: {why}"))
            })?;
        }
        let mut batch = Batch::acceptance();
        let at = self.clock.now();
        self.claim_redrive(&mut batch, &id.to_string(), client_token, at);
        let mut detail = String::new();
        if let Some(found) = &found {
            detail = format!("from state {}", found.entry.state);
        }
        if let Some(current) = &current {
            detail.push_str(&format!(", by definition {}", current.definition));
        }
        self.note_redrive(&mut batch, "RedriveExecution", &id.to_string(), detail);
        let row = match (found, current) {
            (Some(found), Some(current)) => restart(self, row, &current, found, at, batch).await?,
            (found, _) => {
                let input = found
                    .map_or(Input::Redriven, |found| Input::RedrivenFrom(Box::new(found.entry)));
                reopen(self, row, at, batch, input).await?
            }
        };
        self.executions.load(self, id);
        Ok(Redriven { redrive_date: row.redriven.unwrap_or(at), children: 0 })
    }

    /// Runs the children of a map run that did not succeed again, without its execution, which has
    /// ended; with no selection also those that never began.
    ///
    /// # Errors
    /// When it is not there, has not ended, nothing of it can run again, or the store fails.
    pub async fn redrive_map_run(
        self: &Arc<Self>,
        id: MapRunId,
        selection: &RerunSelection,
        client_token: Option<&str>,
    ) -> Result<Redriven, RedriveError> {
        if let Some(done) = self.redriven_before(&id.to_string(), client_token).await? {
            return Ok(done);
        }
        let filter = filter_of(selection)?;
        let _one_at_a_time = self.executions.sweeping.lock().await;
        let row = self.store.map_run(id).await?;
        let row = row.ok_or_else(|| RedriveError::NotFound(format!("ResourceNotFound: {id}")))?;
        let parent = self.store.execution(row.execution).await?;
        let waits = parent.as_ref().is_some_and(|row| row.status == ExecutionStatus::Running);
        if row.status == MapRunStatus::Running || waits {
            let why = format!("{id}: it or its execution is RUNNING");
            return Err(RedriveError::NotRedrivable(why));
        }
        if let Some(why) = redrive_spent(self, &row) {
            return Err(RedriveError::NotRedrivable(format!("{id}: {why}")));
        }
        let definition = self.definition_for(&row, parent.as_ref(), selection).await?;
        let children = mark(self, &row, filter.as_ref(), selection).await?;
        let never_began = selection.is_everything() && row.counts.items.pending() > 0;
        if children == 0 && !never_began {
            let why = selection.from_state.as_ref().map_or_else(String::new, |state| {
                format!(" from the state '{state}'; no child that may run again entered it")
            });
            return Err(RedriveError::NotRedrivable(format!(
                "{id}: nothing of it is to run again{why}"
            )));
        }
        let at = self.clock.now();
        let mut batch = Batch::acceptance();
        self.claim_redrive(&mut batch, &id.to_string(), client_token, at);
        let from_state = selection.from_state.clone();
        let from = from_state.as_ref().map_or_else(String::new, |state| format!(" from {state}"));
        let what = format!("{children} children{from}");
        self.note_redrive(&mut batch, "RedriveMapRun", &id.to_string(), what);
        let only_marked = !selection.is_everything();
        let visit = row.visit;
        let redrive = MapRunRedrive { id, visit, at, only_marked, definition, from_state };
        batch.redrive_map_run(redrive, row.run);
        crash::point("redrive.before_commit");
        self.store.commit(batch).await?;
        crash::point("redrive.after_commit");
        self.executions.launch_map_run(self, id);
        Ok(Redriven { redrive_date: at, children })
    }

    /// Runs again what failed in a run: with no selection its executions that can be redriven, and
    /// of its map runs the children that did not succeed.
    ///
    /// # Errors
    /// When the run is not there, nothing of it can run again, or the store fails.
    pub async fn rerun_failed(
        self: &Arc<Self>,
        run: RunId,
        selection: &RerunSelection,
    ) -> Result<Vec<(String, Redriven)>, RedriveError> {
        if self.store.run(run).await?.is_none() {
            return Err(RedriveError::NotFound(format!("ResourceNotFound: {run}")));
        }
        filter_of(selection)?;
        let (mut done, mut refused) = (Vec::new(), None);
        if selection.item_filter.is_none() {
            refused = self.redrive_executions(run, selection, &mut done).await?;
        }
        for row in self.store.map_runs_of_run(run).await? {
            match self.redrive_map_run(row.id, selection, None).await {
                Ok(redriven) => done.push((row.id.to_string(), redriven)),
                Err(RedriveError::NotRedrivable(why)) => refused = refused.or(Some(why)),
                Err(error) => return Err(error),
            }
        }
        if done.is_empty() {
            let why = match (&selection.from_state, refused) {
                (Some(_), Some(why)) => format!(": {why}"),
                _ => String::new(),
            };
            return Err(RedriveError::NotRedrivable(format!(
                "{run}: nothing of it is to run again{why}"
            )));
        }
        Ok(done)
    }

    /// Redrives the run's executions that can be and are selected; gives why one of them was not.
    async fn redrive_executions(
        self: &Arc<Self>,
        run: RunId,
        selection: &RerunSelection,
        done: &mut Vec<(String, Redriven)>,
    ) -> Result<Option<String>, RedriveError> {
        let filter = ExecutionFilter { run: Some(run), ..ExecutionFilter::default() };
        let options = RedriveOptions {
            from_state: selection.from_state.clone(),
            current_definition: selection.current_definition,
            client_token: None,
        };
        let (mut before, mut refused) = (None, None);
        loop {
            let rows = self.store.executions(filter, before, self.limits.page_rows).await?;
            let Some(last) = rows.last() else { return Ok(refused) };
            before = Some(last.id);
            for row in rows.iter().filter(|row| selection.names(row)) {
                if obstacle(self, row).is_some() {
                    continue;
                }
                match self.redrive_execution(row.id, &options).await {
                    Ok(redriven) => done.push((row.id.to_string(), redriven)),
                    Err(RedriveError::NotRedrivable(why)) => refused = refused.or(Some(why)),
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The definition that the children of a redrive are to begin anew by, when it is not theirs;
    /// the state they are to begin at, if one is named, must be there.
    async fn definition_for(
        &self,
        map_run: &MapRunRow,
        parent: Option<&ExecutionRow>,
        selection: &RerunSelection,
    ) -> Result<Option<u64>, RedriveError> {
        let id = map_run.id;
        let refused = |why: String| RedriveError::NotRedrivable(format!("{id}: {why}"));
        let Some(parent) = parent else { return Err(refused("its execution is gone".to_owned())) };
        let (program, definition) = match selection.current_definition {
            false => (self.program_of(parent).await?, None),
            true => {
                let current = self.current_workflow(parent);
                let current =
                    current.ok_or_else(|| refused("its workflow is not declared".to_owned()))?;
                let program = within(&*self.store, current.program.clone(), parent).await;
                let there = |_| refused("the current definition has not its parent".to_owned());
                (program.map_err(there)?, Some(current.definition))
            }
        };
        let path = spec_of(map_run)?.state_path;
        let processor = program.processor(&path).ok_or_else(|| {
            refused(format!("the current definition has no distributed Map at {path}"))
        })?;
        if let Some(state) = &selection.from_state {
            processor.check_own_state(state).map_err(|why| refused(why.to_string()))?;
        }
        Ok(definition)
    }

    /// The workflow of an execution as it is declared now.
    fn current_workflow(&self, row: &ExecutionRow) -> Option<Arc<Workflow>> {
        let catalogue = self.catalogue();
        let mut workflows = catalogue.workflows.values();
        let found = workflows.find(|workflow| workflow.id == row.workflow)?;
        (found.spec.kind == WorkflowType::Standard || row.item.is_some()).then(|| found.clone())
    }

    async fn redriven_before(
        &self,
        subject: &str,
        token: Option<&str>,
    ) -> Result<Option<Redriven>, StoreError> {
        let Some(token) = token else { return Ok(None) };
        let claim = self.store.claim(SCOPE, &format!("{subject}/{token}")).await?;
        let claim = claim.filter(|claim| claim.expires > self.clock.now());
        let at = claim.and_then(|claim| claim.value.parse().ok()).map(Timestamp);
        Ok(at.map(|redrive_date| Redriven { redrive_date, children: 0 }))
    }

    fn claim_redrive(&self, batch: &mut Batch, subject: &str, token: Option<&str>, at: Timestamp) {
        let Some(token) = token else { return };
        let lasts = Duration::from_secs(self.limits.idempotency_seconds);
        let claim = ClaimRow {
            scope: SCOPE.to_owned(),
            key: format!("{subject}/{token}"),
            value: at.0.to_string(),
            expires: at.plus(lasts),
        };
        batch.claim(claim, at);
    }

    fn note_redrive(&self, batch: &mut Batch, action: &str, subject: &str, detail: String) {
        batch.audit(AuditRow {
            at: self.clock.now(),
            who: "operator".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
        });
    }
}

const SCOPE: &str = "redrive";

fn filter_of(selection: &RerunSelection) -> Result<Option<Template>, RedriveError> {
    let Some(text) = &selection.item_filter else { return Ok(None) };
    let bare = text.trim().trim_start_matches("{%").trim_end_matches("%}").trim();
    let template = Template::compile(&Value::from(format!("{{% {bare} %}}")));
    template.map(Some).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(|(_, error)| error.to_string()).collect();
        RedriveError::Invalid(format!("the item filter '{bare}': {}", texts.join("; ")))
    })
}
