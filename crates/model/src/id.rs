//! Ids: one counter for all kinds, so an id names one thing in a data directory and sorts by birth.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {kind} id: expected '{prefix}-' and a number, as in '{prefix}-42'")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// What stands before the number in the id's text.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix(concat!($prefix, "-"))
                    .and_then(|digits| digits.parse().ok())
                    .map($name)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), kind: $kind, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// Everything caused by one root event.
    RunId, "a run", "run";
    /// An event in the retained log.
    EventId, "an event", "evt";
    /// One match of a subscription, on its way to one target.
    DeliveryId, "a delivery", "dlv";
    /// One execution of a workflow, a map's child included.
    ExecutionId, "an execution", "exe";
    /// One distributed map.
    MapRunId, "a map run", "map";
    /// A message in a queue; dead letters are messages.
    MessageId, "a message", "msg";
    /// A named thing of the project file: bus, subscription, connection, destination, workflow, endpoint.
    ResourceId, "a resource", "res";
}

impl RunId {
    /// Of what belongs to no run: a message that somebody outside put into a queue.
    pub const NONE: RunId = RunId(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_there_and_back() {
        assert_eq!(RunId(42).to_string(), "run-42");
        assert_eq!("run-42".parse(), Ok(RunId(42)));
        let error = "evt-42".parse::<RunId>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "'evt-42' is not a run id: expected 'run-' and a number, as in 'run-42'"
        );
    }
}
