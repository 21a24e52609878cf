//! Acknowledged means on disk, whatever happens to what was not synced.

use std::path::Path;
use std::sync::Arc;

use stepbus_store::suite::assert_sound;
use stepbus_store::suite::script::{Move, Script};
use stepbus_store::{Batch, Store, StoreError};

use super::disk::Disk;
use super::{Directory, note, on, open_on};
use crate::SqliteOptions;

const SUBMITTERS: u64 = 4;

/// What a submitter knows: its run after the last batch that was acknowledged, and after the one
/// that was under way.
struct Known {
    acknowledged: Option<Script>,
    attempted: Script,
}

fn moves(random: &mut u64) -> Vec<Move> {
    let mut next = || {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (*random >> 32) as u8
    };
    (0..next() % 12 + 1).map(|_| (next(), next())).collect()
}

/// Commits until the power is cut.
async fn submit(store: Arc<dyn Store>, seed: u64) -> Known {
    let mut random = seed + 1;
    let (script, mut batch) = Script::begin(&*store);
    let mut known = Known { acknowledged: None, attempted: script };
    while store.commit(batch).await.is_ok() {
        known.acknowledged = Some(known.attempted.clone());
        batch = known.attempted.play(&*store, &moves(&mut random));
    }
    known
}

/// Random commits of several submitters, and the power cut somewhere among them.
async fn cut_somewhere(dir: &Path, disk: &Disk, options: &SqliteOptions, seed: u64) -> Vec<Known> {
    let store = open_on(dir, options.clone()).unwrap();
    disk.cut_after(seed * 137 % 2000);
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|number| tokio::spawn(submit(Arc::clone(&store), seed * SUBMITTERS + number)))
        .collect();
    let mut known = Vec::new();
    for submitter in submitters {
        known.push(submitter.await.unwrap());
    }
    known
}

/// Every acknowledged batch is there wholly; the one under way wholly or not at all.
async fn nothing_acknowledged_is_missing(store: &dyn Store, known: &[Known]) -> Result<(), String> {
    for known in known {
        let Err(why) = known.attempted.compare(store).await else { continue };
        match &known.acknowledged {
            Some(script) => script.compare(store).await?,
            None if why.ends_with("is not there") => {}
            None => return Err(why),
        }
    }
    let problems = store.check().await.map_err(|error| error.to_string())?;
    if problems.is_empty() { Ok(()) } else { Err(format!("{problems:?}")) }
}

/// Options under which the log is written back and used again often.
fn small(disk: &Disk) -> SqliteOptions {
    SqliteOptions { checkpoint_bytes: 400_000, ..on(disk) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_outlives_a_power_cut() {
    for seed in 0..40 {
        let (directory, disk) = (Directory::new(), Disk::new(seed));
        let options = small(&disk);
        let known = cut_somewhere(directory.path(), &disk, &options, seed).await;
        let store = open_on(directory.path(), options.clone()).unwrap();
        let found = nothing_acknowledged_is_missing(&*store, &known).await;
        assert_eq!(found, Ok(()), "seed {seed}");

        // What is found after a cut is as durable as what was acknowledged: another one takes
        // nothing from it.
        disk.cut();
        drop(store);
        let store = open_on(directory.path(), options).unwrap();
        let found = nothing_acknowledged_is_missing(&*store, &known).await;
        assert_eq!(found, Ok(()), "seed {seed}, second cut");
    }
}

/// The disk bites: without syncs the same test loses what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_a_power_cut_loses_what_was_acknowledged() {
    let mut lost = 0;
    for seed in 0..10 {
        let (directory, disk) = (Directory::new(), Disk::new(seed));
        let options = SqliteOptions { sync: false, ..small(&disk) };
        let known = cut_somewhere(directory.path(), &disk, &options, seed).await;
        lost += usize::from(match open_on(directory.path(), options) {
            Ok(store) => nothing_acknowledged_is_missing(&*store, &known).await.is_err(),
            Err(_) => true,
        });
    }
    assert!(lost > 0);
}

/// The operating system may forget pages whose sync failed and call the next sync a success.
#[tokio::test]
async fn after_a_failed_sync_nothing_is_acknowledged() {
    let (directory, disk) = (Directory::new(), Disk::new(7));
    let store = open_on(directory.path(), on(&disk)).unwrap();
    store.commit(note(Batch::new(), "before")).await.unwrap();
    disk.fail_syncs(true);
    let failed = store.commit(note(Batch::new(), "during")).await;
    assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
    disk.fail_syncs(false);
    for _ in 0..3 {
        let after = store.commit(note(Batch::new(), "after")).await;
        assert!(matches!(after, Err(StoreError::Failed(_))), "{after:?}");
    }
    drop(store);

    let store = open_on(directory.path(), on(&disk)).unwrap();
    store.commit(note(Batch::new(), "again")).await.unwrap();
    disk.cut();
    drop(store);
    let store = open_on(directory.path(), on(&disk)).unwrap();
    let rows = store.audit_rows(None, 9).await.unwrap();
    let mut subjects: Vec<_> = rows.iter().map(|(_, row)| row.subject.as_str()).collect();
    // Nobody was told that this one stands, nor that it does not.
    subjects.retain(|subject| *subject != "during");
    assert_eq!(subjects, ["again", "before"]);
    assert_sound(&*store).await;
}
