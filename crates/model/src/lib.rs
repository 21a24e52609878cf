//! What every room speaks of: ids, names and ARNs, the event envelope, time, limits.
//!
//! Nothing here does I/O, and nothing here knows how a record is kept or sent.

pub mod arn;
pub mod crash;
pub mod event;
pub mod fair;
pub mod id;
pub mod limits;
pub mod outcome;
pub mod time;

pub use event::Event;
pub use fair::{Fair, Share};
pub use id::{DeliveryId, EventId, ExecutionId, MapRunId, MessageId, ResourceId, RunId};
pub use limits::Limits;
pub use outcome::{Outcome, Totals};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
