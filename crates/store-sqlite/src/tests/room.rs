//! When the disk is full, nothing new is accepted and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use stepbus_model::Limits;
use stepbus_store::suite::assert_sound;
use stepbus_store::{Batch, Store, StoreError};

use super::disk::Disk;
use super::{Directory, note, on, open_on};
use crate::SqliteOptions;

const SOON: Duration = Duration::from_millis(1);
/// Longer than anything takes: a test that reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Commits what may be refused until the store answers as `wanted`.
async fn until(store: &dyn Store, wanted: &Result<(), StoreError>) {
    let began = Instant::now();
    while store.commit(note(Batch::acceptance(), "probe")).await != *wanted {
        assert!(began.elapsed() < PATIENCE, "the store never answered {wanted:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_keeps_work_until_there_is_room() {
    let (directory, disk) = (Directory::new(), Disk::new(1));
    let options = SqliteOptions { full_retry: SOON, space_check: SOON, ..on(&disk) };
    let store = open_on(directory.path(), options.clone()).unwrap();
    disk.leave_room(Some(500_000));
    until(&*store, &Err(StoreError::Full)).await;

    // Larger than any place left in the log.
    let mut work = Batch::new();
    for _ in 0..200 {
        work = note(work, "work");
    }
    let mut work = store.commit(work);
    assert!((&mut work).now_or_never().is_none());
    until(&*store, &Err(StoreError::Full)).await;
    assert!((&mut work).now_or_never().is_none());
    assert!(store.stats().full);

    disk.leave_room(None);
    work.await.unwrap();
    until(&*store, &Ok(())).await;
    assert!(!store.stats().full);
    let rows = store.audit_rows(None, usize::MAX).await.unwrap();
    assert_eq!(rows.iter().filter(|(_, row)| row.subject == "work").count(), 200);
    assert_sound(&*store).await;
    drop(store);
    assert_sound(&*open_on(directory.path(), options).unwrap()).await;
}

#[tokio::test]
async fn a_store_that_is_closed_on_a_full_disk_says_what_did_not_stand() {
    let (directory, disk) = (Directory::new(), Disk::new(2));
    let options = SqliteOptions { full_retry: Duration::from_secs(3600), ..on(&disk) };
    let store = crate::SqliteStore::open(directory.path(), options).unwrap();
    store.commit(note(Batch::new(), "first")).await.unwrap();
    disk.leave_room(Some(0));
    let mut work = Batch::new();
    for _ in 0..2000 {
        work = note(work, "work");
    }
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| runtime.block_on(store.commit(work)));
        while !store.stats().full {
            std::thread::yield_now();
        }
        store.close();
        assert_eq!(work.join().unwrap(), Err(StoreError::Full));
    });
}

/// The queue is bounded; who waits for room keeps their place.
#[tokio::test]
async fn batches_stand_in_the_order_they_were_handed_over() {
    let directory = Directory::new();
    let limits = Limits { writer_queue: 4, group_commit_batches: 3, ..Limits::DEFAULT };
    let options = SqliteOptions { limits, ..SqliteOptions::default() };
    let store = open_on(directory.path(), options).unwrap();
    let subjects: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    let mut waiting = Vec::new();
    for (number, subject) in subjects.iter().enumerate() {
        let batch = if number % 3 == 0 { Batch::acceptance() } else { Batch::new() };
        let mut commit = store.commit(note(batch, subject));
        // A batch that finds the queue full has its place once it was waited for.
        match (&mut commit).now_or_never() {
            Some(answer) => answer.unwrap(),
            None => waiting.push(commit),
        }
    }
    for answer in join_all(waiting).await {
        answer.unwrap();
    }
    let mut rows = store.audit_rows(None, 999).await.unwrap();
    rows.reverse();
    let found: Vec<_> = rows.into_iter().map(|(_, row)| row.subject).collect();
    assert_eq!(found, subjects);
}

#[tokio::test]
async fn acceptance_stops_while_work_still_has_room() {
    let directory = Directory::new();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let told = Arc::clone(&free);
    let options = SqliteOptions {
        full_retry: SOON,
        space_check: Duration::ZERO,
        free_space: Arc::new(move |_| Ok(told.load(Ordering::Relaxed))),
        ..SqliteOptions::default()
    };
    let store = open_on(directory.path(), options.clone()).unwrap();
    store.commit(note(Batch::acceptance(), "first")).await.unwrap();
    free.store(options.limits.disk_reserve_bytes - 1, Ordering::Relaxed);
    until(&*store, &Err(StoreError::Full)).await;
    store.commit(note(Batch::new(), "work")).await.unwrap();
    assert!(store.stats().full);
    free.store(options.limits.disk_reserve_bytes, Ordering::Relaxed);
    until(&*store, &Ok(())).await;
    assert!(!store.stats().full);
}
