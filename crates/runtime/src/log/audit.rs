//! Proves what stands behind cursors: the log is matched again, by the pattern that was in force.

use std::collections::BTreeMap;

use stepbus_model::{EventId, ResourceId, RunId};
use stepbus_pattern::{Matcher, Pattern, Scratch};
use stepbus_store::{CursorRow, LogRange, Problem, Store, StoreError};

use crate::declared::SubscriptionSpec;

/// How many events, and bytes of them, are read at a time.
const PAGE: usize = 1_000;
const PAGE_BYTES: usize = 8 << 20;

type Behind = BTreeMap<RunId, i64>;

/// What is pending without a delivery must be, run by run, what the events behind the cursors
/// match.
pub(crate) async fn prove(store: &dyn Store) -> Result<Vec<Problem>, StoreError> {
    let mut found: BTreeMap<ResourceId, Behind> = BTreeMap::new();
    let mut problems = Vec::new();
    for cursor in store.cursors().await? {
        let behind = found.entry(cursor.subscription).or_default();
        if !cursor.counted {
            continue;
        }
        if let Err(message) = matches(store, &cursor, behind).await? {
            problems.push(problem(cursor.subscription, message));
        }
    }
    for (subscription, found) in found {
        let recorded: Behind = store.behind(subscription).await?.into_iter().collect();
        for run in found.keys().chain(recorded.keys().filter(|run| !found.contains_key(run))) {
            let count = |behind: &Behind| behind.get(run).copied().unwrap_or(0);
            let (there, pending) = (count(&found), count(&recorded));
            if there != pending {
                problems.push(problem(
                    subscription,
                    format!(
                        "{pending} matches of {run} are pending without a delivery, behind its \
                         cursors are {there}"
                    ),
                ));
            }
        }
    }
    Ok(problems)
}

async fn matches(
    store: &dyn Store,
    cursor: &CursorRow,
    behind: &mut Behind,
) -> Result<Result<(), String>, StoreError> {
    let row = store.resource_version(cursor.subscription, cursor.version).await?;
    let spec = row.and_then(|row| serde_json::from_str::<SubscriptionSpec>(&row.body).ok());
    let Some(pattern) = spec.and_then(|spec| Pattern::parse(spec.pattern.as_bytes()).ok()) else {
        return Ok(Err(format!("version {} has no pattern that can be read", cursor.version)));
    };
    let matcher = Matcher::new();
    matcher.add((), &pattern);
    let mut scratch = Scratch::default();
    let below = cursor.until.unwrap_or(EventId(u64::MAX >> 1));
    let mut from = cursor.position;
    loop {
        let range = LogRange { bus: cursor.bus, from, below, rows: PAGE, bytes: PAGE_BYTES };
        let page = store.log_page(range).await?;
        let Some(last) = page.last() else { return Ok(Ok(())) };
        from = EventId(last.id.0 + 1);
        for event in page {
            let found = matcher.matches(&event.envelope, &mut scratch);
            if found.is_ok_and(|found| !found.is_empty()) {
                *behind.entry(event.run).or_default() += 1;
            }
        }
    }
}

fn problem(subscription: ResourceId, message: String) -> Problem {
    let rule = "cursors-stand-before-what-is-pending".to_owned();
    Problem { rule, subject: subscription.to_string(), message }
}
