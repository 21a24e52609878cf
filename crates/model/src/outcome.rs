//! The columns of the books: where each match of a subscription stands.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// The fate of a delivery that has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered,
    Unchanged,
    Stale,
    DeadLettered,
    Discarded,
}

impl Outcome {
    pub const ALL: [Outcome; 5] = [
        Outcome::Delivered,
        Outcome::Unchanged,
        Outcome::Stale,
        Outcome::DeadLettered,
        Outcome::Discarded,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Unchanged => "unchanged",
            Outcome::Stale => "stale",
            Outcome::DeadLettered => "dead_lettered",
            Outcome::Discarded => "discarded",
        }
    }
}

/// Counts of matches by where they stand, or a change of those counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    pub matched: i64,
    pub delivered: i64,
    pub unchanged: i64,
    pub stale: i64,
    pub dead_lettered: i64,
    pub discarded: i64,
    pub pending: i64,
}

impl Totals {
    /// Every match is in exactly one column.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.matched
            == self.delivered
                + self.unchanged
                + self.stale
                + self.dead_lettered
                + self.discarded
                + self.pending
    }

    pub fn column(&mut self, outcome: Outcome) -> &mut i64 {
        match outcome {
            Outcome::Delivered => &mut self.delivered,
            Outcome::Unchanged => &mut self.unchanged,
            Outcome::Stale => &mut self.stale,
            Outcome::DeadLettered => &mut self.dead_lettered,
            Outcome::Discarded => &mut self.discarded,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.unchanged += other.unchanged;
        self.stale += other.stale;
        self.dead_lettered += other.dead_lettered;
        self.discarded += other.discarded;
        self.pending += other.pending;
    }
}

impl Add for Totals {
    type Output = Totals;

    fn add(mut self, other: Totals) -> Totals {
        self += other;
        self
    }
}
