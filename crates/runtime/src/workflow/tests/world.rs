//! Workflows over a store in a temporary directory, and what is asked of their executions.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Input, WorkflowType};
use stepbus_connect::{BucketPlace, BucketSpec, S3Spec, Secret};
use stepbus_model::{ExecutionId, MapRunId, Timestamp};
use stepbus_sandbox::ObjectService;
use stepbus_store::{Batch, Cause, ExecutionRow, ExecutionStatus, MapRunRow, Priority, RunRow};

use crate::alarms::Alarm;
pub(super) use crate::testing::{Running, Target, World, until};
use crate::workflow::{NewExecution, decode_journal};
use crate::{InFlightAtCrash, WorkflowSpec, audit};

/// A call whose answer is the output.
pub(super) const CALL: &str = r#"
QueryLanguage: JSONata
StartAt: Get
States:
  Get:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
    Output: "{% $states.result.ResponseBody %}"
    End: true
"#;

impl World {
    /// Declares a STANDARD workflow; `URL` in its text is the target.
    pub(super) fn workflow(&mut self, name: &str, definition: &str, target: &Target) {
        self.declared.workflows.push(WorkflowSpec {
            name: name.into(),
            definition: definition.replace("URL", &target.url),
            kind: WorkflowType::Standard,
            in_flight_at_crash: InFlightAtCrash::default(),
        });
    }
}

impl World {
    pub(super) fn in_flight_at_crash(&mut self, spec: InFlightAtCrash) {
        self.declared.workflows.last_mut().unwrap().in_flight_at_crash = spec;
    }
}

impl World {
    /// Declares a bucket of a service that speaks S3's protocol.
    pub(super) async fn storage(&mut self, bucket: &str) -> ObjectService {
        let service = ObjectService::start().await.unwrap();
        let spec = S3Spec {
            endpoint: Some(service.url.clone()),
            access_key: Some(Secret::from(service.access_key.as_str())),
            secret_key: Some(Secret::from(service.secret_key.as_str())),
            ..S3Spec::default()
        };
        let place = BucketPlace::S3(Box::new(spec));
        self.declared.buckets.push(BucketSpec { name: bucket.into(), place });
        service
    }
}

impl Running {
    pub(super) async fn start(&self, workflow: &str, input: Value) -> ExecutionId {
        self.engine.start_execution(workflow, None, input, Priority::Normal).await.unwrap().0
    }

    /// Commits the start of an execution as if the process had died before it drove it.
    pub(super) async fn only_commit(&self, workflow: &str, input: Value) -> ExecutionId {
        let workflow = self.engine.catalogue().workflows[workflow].clone();
        let run = stepbus_model::RunId(self.engine.store.next_id());
        let now = self.engine.now();
        let mut batch = Batch::new();
        batch.start_run(RunRow {
            id: run,
            origin: "test".into(),
            label: String::new(),
            priority: Priority::Normal,
            force: false,
            started: now,
            last: now,
            open: 0,
        });
        let input = Arc::new(input);
        let cause = Cause::Outside;
        let new = NewExecution { workflow, run, cause, hops: 0, name: None, input };
        let launch = self.engine.new_execution(&mut batch, new);
        self.engine.store.commit(batch).await.unwrap();
        launch.row.id
    }

    pub(super) async fn row(&self, id: ExecutionId) -> ExecutionRow {
        self.engine.store.execution(id).await.unwrap().unwrap()
    }

    pub(super) async fn ended(&self, id: ExecutionId) -> ExecutionRow {
        until("the execution ends", async || self.row(id).await.status != ExecutionStatus::Running)
            .await;
        self.row(id).await
    }

    /// Waits for the end, which must be a success, and gives its output.
    pub(super) async fn output(&self, id: ExecutionId) -> Value {
        let row = self.ended(id).await;
        assert_eq!((row.status, row.error_cause), (ExecutionStatus::Succeeded, None));
        serde_json::from_slice(&row.output.unwrap()).unwrap()
    }

    /// Waits for the end, which must be that error, and gives its cause.
    pub(super) async fn failure(&self, id: ExecutionId, error: &str) -> String {
        let row = self.ended(id).await;
        assert_eq!((row.status, row.error.as_deref()), (ExecutionStatus::Failed, Some(error)));
        row.error_cause.unwrap_or_default()
    }

    pub(super) async fn inputs(&self, id: ExecutionId) -> Vec<Input> {
        let rows = self.engine.store.journal(id, 0).await.unwrap();
        decode_journal(&rows, 0).unwrap().into_iter().map(|(_, input)| input).collect()
    }

    pub(super) async fn children(&self, map_run: MapRunId) -> Vec<ExecutionRow> {
        self.engine.store.map_children(map_run, 0, u64::from(u32::MAX)).await.unwrap()
    }

    /// The map runs of an execution's run, the oldest first.
    pub(super) async fn map_runs(&self, id: ExecutionId) -> Vec<MapRunRow> {
        let run = self.row(id).await.run;
        let mut rows = self.engine.store.map_runs_of_run(run).await.unwrap();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// How many events of that type are on the bus.
    pub(super) async fn events_of(&self, detail_type: &str) -> usize {
        let events = self.engine.events(None, stepbus_model::EventId(0), 10_000).await.unwrap();
        events.iter().filter(|view| view.event["detail-type"] == detail_type).count()
    }

    /// Has the alarms look at the clock, which a test moves under their sleep.
    pub(super) fn look_at_the_clock(&self) {
        self.engine.alarms.set(Timestamp(0), Alarm::Execution(ExecutionId(0)));
    }

    /// Waits until nothing is under way; all of the books must hold then.
    pub(super) async fn expect_sound(&self) {
        self.quiet().await;
        let store = &self.engine.store;
        until("no map run is under way", async || {
            store.running_map_runs(MapRunId(0), 1).await.unwrap().is_empty()
        })
        .await;
        until("memory is empty", async || self.engine.executions_in_memory() == 0).await;
        assert_eq!(store.active_executions(ExecutionId(0), 10).await.unwrap(), vec![]);
        let report = audit(&**store).await.unwrap();
        assert_eq!(report.problems, vec![]);
    }
}
