//! Three targets that differ as real ones do, and a plain one that watches the order.

pub(crate) mod crm;
pub(crate) mod erp;
pub(crate) mod shop;
pub(crate) mod sink;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

/// Requests by kind.
#[derive(Debug)]
pub(crate) struct Counts<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Counts<N> {
    pub(crate) fn new(names: [&'static str; N]) -> Self {
        Counts { names, counts: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    pub(crate) fn add(&self, kind: usize) {
        self.counts[kind].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> Value {
        let counts = self.counts.iter().map(|count| Value::from(count.load(Ordering::Relaxed)));
        self.names.iter().map(|name| (*name).to_owned()).zip(counts).collect::<Map<_, _>>().into()
    }

    pub(crate) fn forget(&self) {
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// A version is a number, however the sender's library writes whole numbers.
pub(crate) fn version(number: Option<f64>) -> Option<i64> {
    number.filter(|number| number.fract() == 0.0).map(|number| number as i64)
}
