//! What was last delivered for a key, and who may touch it: one delivery at a time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use stepbus_model::{ResourceId, Timestamp};
use stepbus_store::KeyRow;
use tokio::sync::OwnedMutexGuard;

use super::lane;
use crate::content::Content;
use crate::parameters::Filled;

/// Locks of one scope. Keys that share one wait for each other without need, which is rare.
const LOCKS: usize = 1_024;

/// Locks by scope (a destination, or a subscription) and key. A scope has its own, so that a
/// destination that stalls holds up no other.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<ResourceId, Arc<Scope>>>);

type Scope = Vec<Arc<tokio::sync::Mutex<()>>>;

impl Locks {
    pub(super) async fn hold(&self, scope: ResourceId, key: &str) -> OwnedMutexGuard<()> {
        let locks = self.0.lock().entry(scope).or_insert_with(new_scope).clone();
        locks[place(key)].clone().lock_owned().await
    }

    /// The locks of several keys, in an order that is everybody's.
    pub(super) async fn hold_all<'k>(
        &self,
        scope: ResourceId,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Vec<OwnedMutexGuard<()>> {
        let places: BTreeSet<usize> = keys.into_iter().map(place).collect();
        let locks = self.0.lock().entry(scope).or_insert_with(new_scope).clone();
        let mut held = Vec::with_capacity(places.len());
        for place in places {
            held.push(locks[place].clone().lock_owned().await);
        }
        held
    }
}

fn place(key: &str) -> usize {
    lane(key).unsigned_abs() as usize % LOCKS
}

fn new_scope() -> Arc<Scope> {
    Arc::new((0..LOCKS).map(|_| Arc::default()).collect())
}

/// A key in hand: what the store knows of it, locked until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) known: KeyRow,
    /// As it stands in the store, or none.
    pub(super) stored: Option<KeyRow>,
    /// None where whoever has it in hand holds the locks of several.
    _lock: Option<OwnedMutexGuard<()>>,
}

impl Held {
    pub(super) fn new(
        scope: ResourceId,
        key: &str,
        stored: Option<KeyRow>,
        lock: Option<OwnedMutexGuard<()>>,
    ) -> Self {
        let known = stored.clone().unwrap_or_else(|| KeyRow {
            scope,
            key: key.to_owned(),
            hash: None,
            version: None,
            remote_id: None,
        });
        Held { known, stored, _lock: lock }
    }

    /// The row to store now, when what is known differs from what is stored.
    pub(super) fn change(&self) -> Option<KeyRow> {
        let empty = self.known.hash.is_none()
            && self.known.version.is_none()
            && self.known.remote_id.is_none();
        match &self.stored {
            Some(stored) if *stored == self.known => None,
            None if empty => None,
            _ => Some(self.known.clone()),
        }
    }
}

/// The hash of what a target is to hold: the same however the members of JSON are ordered.
/// Parameters count where there are any, since they say where it goes.
pub(super) fn fingerprint(content: &Content, parameters: &Filled) -> String {
    let mut text = Vec::new();
    match content {
        Content::Value(value) => write_sorted(value, &mut text),
        Content::Json(bytes) => {
            let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
            write_sorted(&value, &mut text);
        }
        Content::Text(plain) => {
            text.push(b'T');
            text.extend(plain.bytes());
        }
    }
    for (name, value) in parameters.all() {
        text.push(0);
        text.extend(name.bytes());
        text.push(0);
        text.extend(value.bytes());
    }
    let digest = Sha256::digest(&text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            names.sort_unstable();
            out.push(b'{');
            for name in names {
                out.extend(Value::from(name.as_str()).to_string().bytes());
                out.push(b':');
                write_sorted(&members[name], out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                write_sorted(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        scalar => out.extend(scalar.to_string().bytes()),
    }
}

/// Whether a version is older than the last one delivered: as numbers when both are, else as
/// moments (RFC 3339) when both are, else as text. Equal ones are not older.
pub(super) fn older(version: &str, last: &str) -> bool {
    if let (Ok(version), Ok(last)) = (version.parse::<i128>(), last.parse::<i128>()) {
        return version < last;
    }
    if let (Ok(version), Ok(last)) = (version.parse::<f64>(), last.parse::<f64>()) {
        return version < last;
    }
    if let (Ok(version), Ok(last)) = (Timestamp::parse(version), Timestamp::parse(last)) {
        return version < last;
    }
    version < last
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_compare_by_what_they_are() {
        let check = |version: &str, last: &str, expected: bool| {
            assert_eq!(older(version, last), expected, "{version} after {last}");
        };
        check("9", "10", true);
        check("10", "9", false);
        check("10", "10", false);
        check("1.5", "2", true);
        check("99999999999999999999", "100000000000000000000", true);
        check("2026-01-01T00:00:00+02:00", "2026-01-01T00:00:00Z", true);
        check("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00", false);
        check("a", "b", true);
        check("b", "10", false);
    }

    #[test]
    fn the_order_of_members_does_not_count() {
        let print = |value: Value| fingerprint(&Content::Value(value), &Filled::default());
        let one = json!({"a": 1, "b": [{"x": null, "y": "1"}]});
        assert_eq!(print(one.clone()), print(json!({"b": [{"y": "1", "x": null}], "a": 1})));
        assert_ne!(print(one), print(json!({"a": "1", "b": []})));
        assert_ne!(print(json!(["a", "b"])), print(json!(["b", "a"])));
        assert_ne!(print(json!({"a,b": 1})), print(json!({"a": 1, "b": 1})));
    }

    #[test]
    fn text_and_parameters_count() {
        let none = Filled::default();
        let json = Content::Json(bytes::Bytes::from_static(b"{ \"b\": 1, \"a\": 2 }"));
        let value = Content::Value(json!({"a": 2, "b": 1}));
        assert_eq!(fingerprint(&json, &none), fingerprint(&value, &none));
        let (text, string) = (Content::Text("x".to_owned()), Content::Value(json!("x")));
        assert_eq!(fingerprint(&text, &none), fingerprint(&text, &none));
        assert_ne!(fingerprint(&text, &none), fingerprint(&string, &none));
        let elsewhere =
            Filled { query: vec![("shop".to_owned(), "2".to_owned())], ..Filled::default() };
        assert_ne!(fingerprint(&value, &none), fingerprint(&value, &elsewhere));
    }
}
