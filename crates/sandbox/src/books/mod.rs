//! What each target holds, what it should hold, and the difference.

pub(crate) mod expected;
pub(crate) mod ledger;
pub(crate) mod verify;
