//! Everything that leaves the process: connections with credentials, destinations with rate,
//! concurrency, result classes and upserts, the calls of `http:invoke`, object storage, and mail.
//!
//! A room that knows nothing of workflows or buses: it is handed a payload and says what became
//! of it. What it remembers (tokens, limiters, pauses) is lost with the process and may be.

mod attempt;
mod bucket;
mod call;
mod client;
mod connect;
mod connection;
mod destination;
mod failure;
mod gate;
mod health;
mod invoke;
mod mail;
mod objects;
mod outcome;
mod pause;
mod payload;
mod pool;
mod rate;
mod report;
mod secret;
mod spec;
mod task;
mod template;
mod token;
mod trouble;
mod upsert;

pub use call::is_header_of_a_call;
pub use connect::{Connect, DeliveryRequest};
pub use health::{Circuit, Condition, Health};
pub use mail::{Mail, Smtp, SmtpTls, check_mailboxes};
pub use objects::{
    Bucket, BucketPlace, BucketSpec, Entry, ObjectError, ObjectWriter, S3Spec, S3Style, Version,
};
pub use payload::Payload;
pub use rate::{Rate, RateError};
pub use report::{Exchange, Failure, ItemFailure, Receipt, Report, code};
pub use secret::{MASK, Secret};
pub use spec::{
    Action, ApiKey, Auth, Body, CallSpec, ConnectionSpec, DestinationSpec, OAuth, OAuthStyle,
    OutcomeRules, ParamValue, Params, SpecError, Upsert,
};
pub use task::{CallError, HttpResponse, HttpTask};

const USER_AGENT: http::HeaderValue =
    http::HeaderValue::from_static(concat!("stepbus/", env!("CARGO_PKG_VERSION")));
