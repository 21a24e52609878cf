//! Chance, drawn from a seed: the same seed gives the same draws in the same order.

use std::cell::Cell;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use stepbus_model::Timestamp;

/// What `$now`, `$millis`, `$random`, `$uuid` and their `States.*` counterparts take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Env {
    pub now: Timestamp,
    pub seed: u64,
}

impl Env {
    #[must_use]
    pub fn new(now: Timestamp, seed: u64) -> Env {
        Env { now, seed }
    }
}

/// The draws of one seed. Clones share their place in the sequence.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    seed: u64,
    drawn: Rc<Cell<u64>>,
}

impl Draws {
    pub(crate) fn new(seed: u64) -> Draws {
        Draws { seed, drawn: Rc::new(Cell::new(0)) }
    }

    fn bytes(&self) -> [u8; 32] {
        let number = self.drawn.get();
        self.drawn.set(number + 1);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(number.to_be_bytes());
        hash.finalize().into()
    }

    /// At least 0 and less than 1.
    pub(crate) fn unit(&self) -> f64 {
        unit_of(&self.bytes())
    }

    /// A version 4 UUID.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.bytes()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

/// The one number that belongs to a seed given in an expression.
pub(crate) fn unit_from_seed(seed: f64) -> f64 {
    unit_of(&Sha256::digest(seed.to_be_bytes()).into())
}

fn unit_of(bytes: &[u8; 32]) -> f64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    // An f64 holds 53 bits exactly; more would round up to 1.
    (u64::from_be_bytes(first) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence() {
        let (one, same, other) = (Draws::new(7), Draws::new(7), Draws::new(8));
        let first = one.unit();
        assert_eq!(first.to_bits(), same.unit().to_bits());
        assert_ne!(first.to_bits(), one.unit().to_bits());
        assert_ne!(first.to_bits(), other.unit().to_bits());
        assert_eq!(one.uuid().as_bytes()[14], b'4');
    }
}
