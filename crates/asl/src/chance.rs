//! Chance and secrets, all from the execution's seed.

use sha2::{Digest, Sha256};

use crate::io::TaskId;

/// The moment of a visit for which a seed is drawn; two of them never share one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    Before,
    After,
    Caught,
    Jitter,
    Item(u64),
}

/// The seed of one point of one visit.
pub(crate) fn seed(seed: u64, visit: u64, attempt: u32, point: Point) -> u64 {
    let point = match point {
        Point::Before => 0,
        Point::After => 1,
        Point::Caught => 2,
        Point::Jitter => 3,
        Point::Item(index) => 4 + index,
    };
    mix(mix(mix(seed ^ 0x5851_f42d_4c95_7f2d) ^ visit) ^ (u64::from(attempt) << 40) ^ point)
}

/// SplitMix64's finaliser.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number from 0 to 1, 1 excluded.
#[expect(clippy::cast_precision_loss, reason = "53 bits are what an f64 holds")]
pub(crate) fn unit(seed: u64) -> f64 {
    (mix(seed) >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a task's worker answers with. It cannot be told from what expressions draw.
pub(crate) fn task_token(execution_arn: &str, seed: u64, task: TaskId) -> String {
    let mut hash = Sha256::new();
    hash.update(b"task token");
    hash.update(seed.to_be_bytes());
    hash.update(task.visit.0.to_be_bytes());
    hash.update(task.attempt.to_be_bytes());
    hash.update(execution_arn.as_bytes());
    hex(&hash.finalize())
}

/// A UUID for what belongs to a visit, as a map run.
pub(crate) fn visit_uuid(execution_arn: &str, seed: u64, task: TaskId) -> String {
    let text = task_token(execution_arn, seed, TaskId { attempt: !task.attempt, ..task });
    format!(
        "{}-{}-4{}-8{}-{}",
        &text[..8],
        &text[8..12],
        &text[13..16],
        &text[17..20],
        &text[20..32]
    )
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
