//! The numbers that stand for words in rows. Never reused.

use stepbus_model::{EventId, ExecutionId, MapRunId, Outcome};
use stepbus_store::Cause;

pub(crate) fn outcome_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Delivered => 1,
        Outcome::Unchanged => 2,
        Outcome::Stale => 3,
        Outcome::DeadLettered => 4,
        Outcome::Discarded => 5,
    }
}

pub(crate) fn outcome_from(code: u8) -> Option<Outcome> {
    Outcome::ALL.into_iter().find(|&outcome| outcome_code(outcome) == code)
}

pub(crate) fn cause_code(cause: Cause) -> (u8, i64) {
    match cause {
        Cause::Outside => (0, 0),
        Cause::Event(id) => (1, id.0.cast_signed()),
        Cause::Execution(id) => (2, id.0.cast_signed()),
        Cause::MapRun(id) => (3, id.0.cast_signed()),
    }
}

pub(crate) fn cause_from(code: u8, id: u64) -> Option<Cause> {
    match code {
        0 => Some(Cause::Outside),
        1 => Some(Cause::Event(EventId(id))),
        2 => Some(Cause::Execution(ExecutionId(id))),
        3 => Some(Cause::MapRun(MapRunId(id))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_there_and_back() {
        for outcome in Outcome::ALL {
            assert_eq!(outcome_from(outcome_code(outcome)), Some(outcome));
        }
        for cause in [
            Cause::Outside,
            Cause::Event(EventId(7)),
            Cause::Execution(ExecutionId(8)),
            Cause::MapRun(MapRunId(9)),
        ] {
            let (code, id) = cause_code(cause);
            assert_eq!(cause_from(code, id.cast_unsigned()), Some(cause));
        }
        assert_eq!(outcome_from(6), None);
        assert_eq!(cause_from(4, 0), None);
    }
}
