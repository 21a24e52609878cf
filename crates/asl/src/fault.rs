//! What goes wrong inside a state: the error's name, its cause, and how history tells it.

use stepbus_expr::{EvalError, EvalErrorKind};

use crate::diagnostic::location_of;
use crate::io::Failure;

/// An error raised while a state runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    pub(crate) failure: Failure,
    pub(crate) kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The cause stands as it is: a task's, a Fail state's.
    Told,
    /// A heartbeat that did not come. AWS calls it States.Timeout and lets it be caught by both
    /// that name and States.HeartbeatTimeout.
    Heartbeat,
    /// The state cannot go on with its data. Its name and event are put before the cause.
    Runtime,
    /// A state's own data is larger than a bound. The cause stands as it is.
    DataLimit,
    /// An expression failed. History tells it in an event of its own.
    Evaluation { location: Option<String> },
}

pub(crate) const RUNTIME: &str = "States.Runtime";
pub(crate) const TIMEOUT: &str = "States.Timeout";
pub(crate) const QUERY: &str = "States.QueryEvaluationError";
pub(crate) const DATA_LIMIT: &str = "States.DataLimitExceeded";
pub(crate) const NO_CHOICE: &str = "States.NoChoiceMatched";

impl Fault {
    pub(crate) fn told(failure: Failure) -> Fault {
        Fault { failure, kind: FaultKind::Told }
    }

    pub(crate) fn runtime(cause: impl Into<String>) -> Fault {
        Fault::named(RUNTIME, cause)
    }

    /// An error by name whose cause is put after the state's name and event.
    pub(crate) fn named(error: &str, cause: impl Into<String>) -> Fault {
        Fault { failure: Failure::new(error, cause), kind: FaultKind::Runtime }
    }

    /// Without a cause it is said that the state's result is too large.
    pub(crate) fn data_limit(cause: Option<String>) -> Fault {
        let failure = Failure { error: Some(DATA_LIMIT.to_owned()), cause };
        Fault { failure, kind: FaultKind::DataLimit }
    }

    pub(crate) fn evaluation(cause: impl Into<String>, location: Option<&str>) -> Fault {
        Fault {
            failure: Failure::new(QUERY, cause),
            kind: FaultKind::Evaluation { location: location.map(str::to_owned) },
        }
    }

    /// A JSONata expression that gave nothing where a value is needed.
    pub(crate) fn undefined(expression: &str, field: &str) -> Fault {
        let cause = format!(
            "The JSONata expression '{expression}' specified for the field '{field}' returned nothing (undefined)."
        );
        Fault::evaluation(cause, Some(field))
    }

    /// A JSONata expression that failed.
    pub(crate) fn query(error: &EvalError, field: &str) -> Fault {
        if matches!(error.kind, EvalErrorKind::TooLarge { .. }) {
            return Fault::data_limit(None);
        }
        let field = format!("{field}{}", location_of(error.pointer.as_deref().unwrap_or_default()));
        let cause = format!(
            "The JSONata expression '{}' specified for the field '{field}' {}",
            error.expression,
            error.what()
        );
        Fault::evaluation(cause, Some(&field))
    }

    /// The same fault of a field that is part of another, as `Choices[1]/`.
    pub(crate) fn within(mut self, part: &str) -> Fault {
        if let FaultKind::Evaluation { location: Some(location) } = &mut self.kind {
            let whole = format!("{part}{location}");
            if let Some(cause) = &mut self.failure.cause {
                *cause = cause.replacen(&format!("'{location}'"), &format!("'{whole}'"), 1);
            }
            *location = whole;
        }
        self
    }

    /// A JSONata field whose value is not of the type the field needs.
    pub(crate) fn wrong_type(expression: &str, field: &str, value: &str, needed: &str) -> Fault {
        let cause = format!(
            "The JSONata expression '{expression}' specified for the field '{field}' returned an unexpected result type. Expected '{needed}', but was '{value}' instead."
        );
        Fault::evaluation(cause, Some(field))
    }
}
