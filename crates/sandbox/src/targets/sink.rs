//! A plain target that takes anything and keeps books of the order: `POST /NAME` with
//! `{"key": …, "n": …}` or an array of them, where the n of each key count up from 1.
//!
//! `/NAME?delay_ms=50` answers late, `/NAME?stall` never. What is applied and then answered with
//! a failure comes again, so a repetition of the last n is no fault; one that goes back, or leaves
//! one out, is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Counts;
use crate::faults::Misbehaviour;
use crate::http::{Reply, Request, Service};

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) counts: Counts<2>,
    books: Mutex<BTreeMap<String, Book>>,
}

/// What one name received.
#[derive(Debug, Default)]
struct Book {
    received: u64,
    repeated: u64,
    last: HashMap<String, u64>,
    seen: HashSet<(String, u64)>,
    /// `key: n after m`, for the first few.
    disorder: Vec<String>,
    disordered: u64,
}

#[derive(Deserialize)]
struct Item {
    key: String,
    n: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Items {
    One(Item),
    Many(Vec<Item>),
}

impl Book {
    fn take(&mut self, Item { key, n }: Item, particulars: usize) {
        self.received += 1;
        let last = self.last.get(&key).copied().unwrap_or(0);
        if n != last && n != last + 1 {
            self.disordered += 1;
            if self.disorder.len() < particulars {
                self.disorder.push(format!("{key}: {n} after {last}"));
            }
        }
        self.last.insert(key.clone(), n);
        if !self.seen.insert((key, n)) {
            self.repeated += 1;
        }
    }
}

impl Sink {
    pub(crate) fn new(misbehaviour: Misbehaviour) -> Sink {
        let counts = Counts::new(["post", "other"]);
        Sink { misbehaviour, counts, books: Mutex::default() }
    }

    pub(crate) fn forget(&self) {
        self.counts.forget();
        self.books.lock().unwrap().clear();
    }

    /// By name: how much came, how often again, and what was out of order.
    pub(crate) fn report(&self) -> Value {
        let books = self.books.lock().unwrap();
        let report = books.iter().map(|(name, book)| {
            let report = json!({
                "received": book.received,
                "distinct": book.seen.len(),
                "repeated": book.repeated,
                "disordered": book.disordered,
                "disorder": book.disorder,
            });
            (name.clone(), report)
        });
        Value::Object(report.collect())
    }
}

impl Service for Sink {
    fn answer(&self, request: &Request) -> Reply {
        if request.method != Method::POST {
            self.counts.add(1);
            return Reply::text(StatusCode::METHOD_NOT_ALLOWED, "the sink takes POST\n");
        }
        self.counts.add(0);
        let items = match serde_json::from_slice(&request.body) {
            Ok(Items::One(item)) => vec![item],
            Ok(Items::Many(items)) => items,
            Err(error) => {
                let message = format!("the sink takes {{\"key\": text, \"n\": number}}: {error}\n");
                return Reply::text(StatusCode::BAD_REQUEST, message);
            }
        };
        let mut books = self.books.lock().unwrap();
        let book = books.entry(request.uri.path().trim_matches('/').to_owned()).or_default();
        for item in items {
            book.take(item, 20);
        }
        Reply::json(StatusCode::OK, &json!({}))
    }

    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        Some(&self.misbehaviour)
    }

    fn delay(&self, request: &Request) -> Option<Duration> {
        if request.parameter("stall").is_some() {
            return Some(NEVER);
        }
        request.parameter("delay_ms")?.parse().ok().map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_counted_up_and_repetition_is_none() {
        let check = |received: &[(&str, u64)], expected: &[&str]| {
            let mut book = Book::default();
            for (key, n) in received {
                book.take(Item { key: (*key).to_owned(), n: *n }, 9);
            }
            assert_eq!(book.disorder, expected);
            assert_eq!(book.disordered, expected.len() as u64);
        };
        check(&[("a", 1), ("b", 1), ("a", 1), ("a", 2), ("b", 2)], &[]);
        check(&[("a", 1), ("a", 3)], &["a: 3 after 1"]);
        check(&[("a", 1), ("a", 2), ("a", 1)], &["a: 1 after 2"]);
        check(&[("a", 2)], &["a: 2 after 0"]);
    }
}
