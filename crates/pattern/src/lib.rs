//! Event patterns: parse and validate them, match many against raw event bytes, say why one event
//! did or did not match.
//!
//! A pattern's rules are EventBridge's: a field may be any of the things its array lists, all
//! fields must match, and where the event has arrays all must match within the same elements.
//! [`Pattern`] works one pattern at a time; [`Matcher`] compiles many into one machine.

mod complexity;
mod consistency;
mod error;
mod explain;
mod flatten;
mod json;
mod matcher;
mod operator;
mod parse;
mod pattern;
mod term;
mod value;

pub use error::{InvalidEvent, InvalidPattern};
pub use explain::{Alternative, Explanation, FieldExplanation};
pub use matcher::{Matcher, Scratch};
pub use pattern::Pattern;
