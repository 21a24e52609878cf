//! The running system: publish and route, deliver, run workflows and map runs, wake what waits.
//!
//! Everything follows one rule: an input and its consequences are one batch; the batch is
//! committed; only then does anything act on it. [`Engine`] is the door.

mod alarms;
mod audit;
mod catalogue;
mod comparison;
mod content;
mod declared;
mod delivery;
mod endpoint;
mod engine;
mod event;
mod export;
mod expression;
mod forced;
mod holds;
mod log;
mod maps;
mod names;
mod operating;
mod parameters;
mod pressure;
mod priority;
mod publish;
mod queues;
mod schedules;
mod targets;
#[cfg(test)]
mod testing;
mod threads;
mod views;
mod workflow;

pub use audit::{AuditReport, audit};
pub use catalogue::{Bus, Catalogue, CatalogueError, Endpoint, Queue, Subscription, Workflow};
pub use comparison::place as comparison_place;
pub use content::Content;
pub use declared::{
    AfterCompletion, ArchiveSpec, AtCrash, BatchSpec, BusSpec, Comparison, Declared, EndpointSpec,
    FunctionSpec, InFlightAtCrash, InputSpec, LogSpec, MailSpec, Missed, OnDeadLetter, Order,
    Overlap, QueueSpec, RedrivePolicy, RetrySpec, ScheduleSpec, ScheduleTarget, StartAt,
    StorageSpec, SubscriptionSpec, TargetSpec, WhenFull, WorkflowSpec,
};
pub use delivery::{
    DeadLetter, DeliveryMeasures, EditError, GroupBy, Latency, LetterGroup, OperationView,
    PayloadView, Purge, Redrive, RedriveVersion, Selection, Tally,
};
pub use endpoint::{Answer, EndpointRequest};
pub use engine::Engine;
pub use event::EventBody;
pub use export::export;
pub use holds::{Drained, Held};
pub use log::{
    Archive, IntakeView, LogPage, LogQuery, ReplayError, ReplaySpec, ReplayView, StorageView, Swept,
};
pub use maps::{
    Counts, FailedChild, FailureGroup, FailureSample, HeldBack, MapRunDetail, MapRunError,
    MapRunUpdate,
};
pub use operating::{AuditView, DestinationView, SubscriptionView, Trial};
pub use parameters::{HttpParameters, ParameterProblem};
pub use pressure::{Extraction, PressureView, Reading, Shared, Standing};
pub use publish::{Entry, EntryError, Published};
pub use queues::{QueueError, QueueView, Receive, ReceivedMessage, SentMessage, queue_name};
pub use schedules::{ExpressionError, Schedule, ScheduleError, ScheduleView, Timing, time_zone};
pub use targets::function_destination;
pub use views::{
    EventView, ExecutionView, MapRunView, RunView, SubscriptionTotals, WorkflowView, status_named,
};
pub use workflow::{
    ACTIVITY_POLL, ActivityError, ActivityTask, ActivityView, IN_FLIGHT_AT_CRASH, ITEM_PAGES,
    OFFERED, Offer, Restored, StartError, StartOptions, TaskError, connection_name, function_name,
    is_function, leaves_the_process, not_offered, offered, restore, tasks_may_call,
};
pub use workflow::{RedriveError, RedriveOptions, Redriven, RerunSelection};
// What this room hands through from the one above.
pub use stepbus_asl::HistoryEvent;
pub use stepbus_asl::recording::{Recording, RecordingError};
