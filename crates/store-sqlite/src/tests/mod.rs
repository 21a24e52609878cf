use std::sync::Arc;

use stepbus_store::Store;

use crate::{SqliteOptions, SqliteStore};

#[tokio::test]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap());
    let id = store.next_id();
    let mut batch = stepbus_store::Batch::new();
    batch.start_run(stepbus_store::RunRow {
        id: stepbus_model::RunId(id),
        origin: "a".into(),
        label: "b".into(),
        started: stepbus_model::Timestamp(1),
        last: stepbus_model::Timestamp(1),
        open: 0,
    });
    store.commit(batch).await.unwrap();
    assert_eq!(store.check().await.unwrap(), []);
    assert!(store.run(stepbus_model::RunId(id)).await.unwrap().is_some());
    drop(store);
    let store = SqliteStore::open(dir.path(), SqliteOptions::default()).unwrap();
    assert_eq!(store.next_id(), id + 1);
    assert!(store.run(stepbus_model::RunId(id)).await.unwrap().is_some());
}
