//! Deduplication at publish: an event that comes again within some minutes is the first one.
//!
//! What was published is a claim in the same commit, so it holds over a restart, and of two that
//! come at the same moment one is refused by the store and finds the other.

use std::collections::HashMap;
use std::time::Duration;

use stepbus_model::event;
use stepbus_store::{Batch, ClaimRow, StoreError};

use crate::engine::Engine;
use crate::expression;
use crate::publish::{Entry, EntryError, Published};

/// By what an entry is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    scope: String,
    key: String,
}

/// What of a call was published before, or earlier in the same call.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<Key, Published>);

impl Seen {
    pub(crate) fn get(&self, key: &Key) -> Option<Published> {
        self.0.get(key).copied()
    }

    /// Published now: a claim of the batch says so.
    pub(crate) fn add(&mut self, engine: &Engine, batch: &mut Batch, key: Key, what: Published) {
        let now = engine.clock.now();
        batch.claim(
            ClaimRow {
                scope: key.scope.clone(),
                key: key.key.clone(),
                value: format!("{} {}", what.id, what.run),
                expires: now.plus(Duration::from_secs(engine.limits.dedup_seconds)),
            },
            now,
        );
        self.0.insert(key, what);
    }
}

impl Engine {
    /// By what the entry is known, where it says so or its bus asks for it.
    pub(crate) fn dedup_key(&self, entry: &Entry) -> Result<Option<Key>, EntryError> {
        let bus = stepbus_model::arn::name_of(&entry.bus);
        let scope = || format!("dedup:{bus}");
        if let Some(id) = &entry.dedup_id {
            let limit = self.limits.dedup_id_bytes;
            if id.is_empty() || id.len() > limit {
                let size = id.len();
                let message =
                    format!("the deduplication id has {size} bytes, allowed are 1 to {limit}");
                return Err(EntryError::new("InvalidArgument", message));
            }
            return Ok(Some(Key { scope: scope(), key: format!("id:{id}") }));
        }
        let by_content =
            self.catalogue().buses.get(bus).is_some_and(|bus| bus.deduplicates_content);
        Ok(by_content.then(|| {
            let event = &entry.event;
            let content = serde_json::json!([
                event.source,
                event.detail_type,
                event.resources,
                event.detail.get()
            ]);
            let key = format!("content:{}", expression::hash(content.to_string().as_bytes()));
            Key { scope: scope(), key }
        }))
    }

    /// Which of them were published within the last minutes. Nothing is read where nothing has a
    /// key.
    pub(crate) async fn seen<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key>,
    ) -> Result<Seen, StoreError> {
        let mut seen = Seen::default();
        for key in keys {
            let Some(claim) = self.store.claim(&key.scope, &key.key).await? else { continue };
            if claim.expires <= self.clock.now() {
                continue;
            }
            let parsed = claim
                .value
                .split_once(' ')
                .and_then(|(id, run)| Some((id.parse().ok()?, run.parse().ok()?)));
            if let Some((id, run)) = parsed {
                let wire_id = event::wire_id(id, self.store.installation());
                seen.0.insert(key.clone(), Published { id, run, wire_id });
            }
        }
        Ok(seen)
    }
}
