//! Rows to begin with.

use std::sync::Arc;

use bytes::Bytes;
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, Outcome, ResourceId, RunId, Timestamp,
};

use crate::{
    Batch, Cause, DefinitionRow, DeliveryRow, EventRow, ExecutionEnd, ExecutionKind, ExecutionRow,
    ExecutionStatus, Finish, MapCounts, MapRunRow, MapRunStatus, MapSettings, MessageRow, Priority,
    Reception, RunRow, Store, StoreError,
};

pub(super) const BUS: ResourceId = ResourceId(900_001);
pub(super) const SUBSCRIPTION: ResourceId = ResourceId(900_002);
pub(super) const WORKFLOW: ResourceId = ResourceId(900_003);
pub(super) const QUEUE: ResourceId = ResourceId(900_004);

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp(1_700_000_000_000 + millis)
}

/// A store that holds a definition, a run and its event.
pub(super) struct Ground {
    pub(super) store: Arc<dyn Store>,
    pub(super) run: RunId,
    pub(super) event: EventId,
    pub(super) definition: u64,
}

impl Ground {
    pub(super) async fn on(store: Arc<dyn Store>) -> Ground {
        let ground = Ground {
            run: RunId(store.next_id()),
            event: EventId(store.next_id()),
            definition: store.next_id(),
            store,
        };
        let mut batch = Batch::acceptance();
        batch.put_definition(DefinitionRow {
            id: ground.definition,
            hash: format!("hash-{}", ground.definition),
            text: "{}".into(),
        });
        batch.start_run(ground.run_row());
        batch.append_event(ground.event_row(ground.event, BUS));
        ground.commit(batch).await;
        ground
    }

    pub(super) async fn commit(&self, batch: Batch) {
        self.store.commit(batch).await.expect("the batch is legal");
    }

    pub(super) async fn refused(&self, batch: Batch) -> StoreError {
        self.store.commit(batch).await.expect_err("the batch is refused")
    }

    pub(super) async fn sound(&self) {
        super::assert_sound(&*self.store).await;
    }

    pub(super) fn run_row(&self) -> RunRow {
        RunRow {
            id: self.run,
            origin: "operator".into(),
            label: "container=products".into(),
            priority: Priority::High,
            force: true,
            started: at(0),
            last: at(0),
            open: 0,
        }
    }

    pub(super) fn event_row(&self, id: EventId, bus: ResourceId) -> EventRow {
        EventRow {
            id,
            run: self.run,
            bus,
            cause: Cause::Outside,
            hops: 0,
            at: at(1),
            envelope: Bytes::from_static(b"{\"detail\":{}}"),
        }
    }

    pub(super) fn delivery(&self) -> DeliveryRow {
        DeliveryRow {
            id: DeliveryId(self.store.next_id()),
            run: self.run,
            subscription: SUBSCRIPTION,
            version: 1,
            event: self.event,
            key: None,
            lane: None,
            created: at(2),
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        }
    }

    pub(super) fn letter(&self, delivery: &DeliveryRow) -> MessageRow {
        MessageRow {
            id: MessageId(self.store.next_id()),
            queue: QUEUE,
            run: self.run,
            sent: at(9),
            body: Bytes::from_static(b"\xff\x00event"),
            attributes: "{\"ERROR_CODE\":\"SDK_CLIENT_ERROR\"}".into(),
            error_code: Some("SDK_CLIENT_ERROR".into()),
            delivery: Some(delivery.clone()),
            reception: Reception::default(),
        }
    }

    pub(super) fn execution(&self) -> ExecutionRow {
        let id = ExecutionId(self.store.next_id());
        ExecutionRow {
            id,
            run: self.run,
            workflow: WORKFLOW,
            definition: self.definition,
            kind: ExecutionKind::Standard,
            name: id.to_string(),
            cause: Cause::Event(self.event),
            hops: 1,
            item: None,
            items: 1,
            redrives: 0,
            redriven: None,
            awaits_redrive: false,
            status: ExecutionStatus::Running,
            idle: false,
            wake: None,
            started: at(3),
            ended: None,
            output: None,
            error: None,
            error_cause: None,
            recoveries: 0,
            semantics: 1,
        }
    }

    pub(super) fn map_run(&self, execution: &ExecutionRow) -> MapRunRow {
        MapRunRow {
            id: MapRunId(self.store.next_id()),
            run: self.run,
            execution: execution.id,
            visit: 7,
            status: MapRunStatus::Running,
            started: at(4),
            ended: None,
            counts: MapCounts::default(),
            settings: MapSettings::default(),
            redrives: 0,
            redriven: None,
            only_marked: false,
            definition: None,
            from_state: None,
            spec: Bytes::from_static(b"{}"),
            source_version: None,
            error: None,
            error_cause: None,
        }
    }

    /// A child that runs on an item.
    pub(super) fn child(&self, map_run: &MapRunRow, index: u64) -> ExecutionRow {
        ExecutionRow {
            item: Some((map_run.id, index)),
            cause: Cause::MapRun(map_run.id),
            ..self.execution()
        }
    }
}

pub(super) fn ended(status: ExecutionStatus, millis: i64) -> ExecutionEnd {
    ExecutionEnd { status, at: at(millis), output: None, error: None, error_cause: None }
}

/// The row as it stands after `end`.
pub(super) fn after(row: &ExecutionRow, end: &ExecutionEnd) -> ExecutionRow {
    ExecutionRow {
        status: end.status,
        ended: Some(end.at),
        idle: false,
        wake: None,
        output: end.output.clone(),
        error: end.error.clone(),
        error_cause: end.error_cause.clone(),
        ..row.clone()
    }
}

pub(super) fn finish(outcome: Outcome) -> Finish {
    Finish { outcome, at: at(8), attempts: 1, note: None }
}
