use proptest::collection::vec;
use proptest::prelude::*;
use stepbus_store::suite::assert_sound;
use stepbus_store::suite::script::{Move, Script};

use super::disk::Disk;
use super::{Directory, on, open_on};

stepbus_store::conformance!(Directory::new());

/// Legal batches, however they come, leave what they say and books that add up.
async fn plays_out(rounds: &[Vec<Move>]) {
    // In memory: it opens and commits more often than a test may wait for a disk.
    let (directory, disk) = (Directory::new(), Disk::new(1));
    let open = || open_on(directory.path(), on(&disk)).unwrap();
    let mut store = open();
    let (mut script, batch) = Script::begin(&*store);
    store.commit(batch).await.unwrap();
    for (number, moves) in rounds.iter().enumerate() {
        let batch = script.play(&*store, moves);
        store.commit(batch).await.unwrap();
        if number == rounds.len() / 2 {
            drop(store);
            store = open();
        }
    }
    script.compare(&*store).await.unwrap();
    assert_sound(&*store).await;
    drop(store);
    let store = open();
    script.compare(&*store).await.unwrap();
    assert_sound(&*store).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn random_batches_keep_the_books(rounds in vec(vec(any::<Move>(), 1..20), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(plays_out(&rounds));
    }
}
