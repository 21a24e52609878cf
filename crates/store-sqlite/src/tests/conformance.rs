use proptest::collection::vec;
use proptest::prelude::*;
use stepbus_store::suite::script::{Move, Script};
use stepbus_store::suite::{Driver, assert_sound};

use super::Directory;

stepbus_store::conformance!(Directory::new());

/// Legal batches, however they come, leave what they say and books that add up.
async fn plays_out(rounds: &[Vec<Move>]) {
    let directory = Directory::new();
    let mut store = directory.open().await;
    let (mut script, batch) = Script::begin(&*store);
    store.commit(batch).await.unwrap();
    for (number, moves) in rounds.iter().enumerate() {
        let batch = script.play(&*store, moves);
        store.commit(batch).await.unwrap();
        if number == rounds.len() / 2 {
            drop(store);
            store = directory.open().await;
        }
    }
    script.compare(&*store).await.unwrap();
    assert_sound(&*store).await;
    drop(store);
    let store = directory.open().await;
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
