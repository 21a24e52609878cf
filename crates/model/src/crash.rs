//! Named points at which a test may have the process die, to prove that nothing acknowledged is lost.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every point there is; the crash test walks this list.
pub const POINTS: &[&str] = &[
    "accept.before_commit",
    "accept.after_commit",
    "commit.before",
    "commit.after",
    "task.before_commit",
    "task.after_commit",
    "task.before_call",
    "task.after_call",
    "replay.before_commit",
    "replay.after_commit",
    "cursor.before_commit",
    "cursor.after_commit",
    "delivery.before_call",
    "delivery.after_call",
    "delivery.after_commit",
    "map.before_page",
    "map.after_page",
    "map.child_before_commit",
    "map.child_after_commit",
    "map.before_outcome",
    "child.after_end",
    "redrive.before_commit",
    "redrive.after_commit",
    "timer.before_commit",
    "timer.after_commit",
];

static ARMED: OnceLock<Armed> = OnceLock::new();

struct Armed {
    point: String,
    passes_left: AtomicU64,
}

/// Has the process abort at the `nth` pass (from 1) of `point`. Once per process.
///
/// # Errors
/// When there is no such point, or one is armed already.
pub fn arm(point: &str, nth: u64) -> Result<(), String> {
    if !POINTS.contains(&point) {
        return Err(format!("no crash point '{point}'; there are: {}", POINTS.join(", ")));
    }
    let armed = Armed { point: point.to_owned(), passes_left: AtomicU64::new(nth.max(1)) };
    ARMED.set(armed).map_err(|_| "a crash point is armed already".to_owned())
}

/// Passes the named point: nothing happens unless it is armed.
#[inline]
pub fn point(name: &'static str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in POINTS");
    if let Some(armed) = ARMED.get()
        && armed.point == name
        && armed.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
