//! Schedules as operators look at them, and what they do to them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use stepbus_model::{ResourceId, RunId, Timestamp, arn};
use stepbus_store::{AuditRow, Batch, ScheduleRow, StoreError};

use super::{Schedule, fire};
use crate::declared::{AfterCompletion, ScheduleSpec};
use crate::engine::Engine;
use crate::holds::Held;

#[derive(Debug, Clone, Serialize)]
pub struct ScheduleView {
    #[serde(skip)]
    pub id: ResourceId,
    pub schedule: String,
    pub arn: String,
    /// `ENABLED`, `DISABLED` as by the project file, `PAUSED` by an operator, or `COMPLETED`.
    pub state: &'static str,
    pub paused: Option<Held>,
    pub expression: String,
    pub timezone: String,
    pub next: Option<Timestamp>,
    /// When it is acted upon: within the flexible window, or after a failure.
    pub due: Option<Timestamp>,
    pub last: Option<Timestamp>,
    pub last_run: Option<RunId>,
    pub fired: u64,
    /// Ticks that came while nothing could fire.
    pub missed: u64,
    pub failure: Option<String>,
    pub spec: ScheduleSpec,
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("there is no schedule '{0}'")]
    NoSchedule(String),
    #[error("it did not fire: {0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// All schedules by name; one that is over and says `delete` only when `all` is asked for.
    #[must_use]
    pub fn schedules(&self, all: bool) -> Vec<ScheduleView> {
        let rows = self.schedules.rows.lock().clone();
        let catalogue = self.catalogue();
        let mut views: Vec<ScheduleView> = catalogue
            .schedules
            .values()
            .filter_map(|schedule| Some(self.view(schedule, rows.get(&schedule.id)?)))
            .filter(|view| {
                let gone = view.spec.after_completion == AfterCompletion::Delete;
                all || !(gone && view.state == "COMPLETED")
            })
            .collect();
        views.sort_by(|one, other| one.schedule.cmp(&other.schedule));
        views
    }

    fn view(&self, schedule: &Schedule, row: &ScheduleRow) -> ScheduleView {
        let paused = self.held(schedule.id);
        let state = match (row.next, &paused, schedule.spec.enabled) {
            (None, ..) => "COMPLETED",
            (_, Some(_), _) => "PAUSED",
            (.., true) => "ENABLED",
            (.., false) => "DISABLED",
        };
        ScheduleView {
            id: schedule.id,
            schedule: schedule.spec.name.clone(),
            arn: arn::schedule(&schedule.spec.name),
            state,
            paused,
            expression: schedule.spec.expression.clone(),
            timezone: schedule.spec.timezone.clone(),
            next: row.next,
            due: row.due,
            last: row.last,
            last_run: row.last_run,
            fired: row.fired,
            missed: row.missed,
            failure: row.failure.clone(),
            spec: schedule.spec.clone(),
        }
    }

    /// The next times of a schedule.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn next_times(&self, name: &str, count: usize) -> Result<Vec<Timestamp>, ScheduleError> {
        let schedule = self.schedule_named(name)?;
        let row = self.schedules.rows.lock().get(&schedule.id).cloned();
        let Some(row) = row else { return Ok(Vec::new()) };
        let count = count.min(self.limits.page_rows);
        let next = |at: &Timestamp| schedule.timing.next(*at, row.anchor);
        Ok(std::iter::successors(row.next, next).take(count).collect())
    }

    /// Fires a schedule beside its times, paused or not.
    ///
    /// # Errors
    /// When there is none of that name, its target refuses, or the store does not take it.
    pub async fn run_schedule_now(
        self: &Arc<Self>,
        name: &str,
        who: &str,
    ) -> Result<RunId, ScheduleError> {
        let schedule = self.schedule_named(name)?;
        let mut batch = Batch::acceptance();
        batch.audit(AuditRow {
            at: self.clock.now(),
            who: who.to_owned(),
            action: "schedule.run-now".to_owned(),
            subject: name.to_owned(),
            detail: json!({}).to_string(),
        });
        fire::now(self, &schedule, batch).await?.map_err(ScheduleError::Refused)
    }

    fn schedule_named(&self, name: &str) -> Result<Arc<Schedule>, ScheduleError> {
        let catalogue = self.catalogue();
        let found = catalogue.schedules.values().find(|schedule| schedule.spec.name == name);
        found.cloned().ok_or_else(|| ScheduleError::NoSchedule(name.to_owned()))
    }
}
