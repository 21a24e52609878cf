//! Dead letters grouped by cause, and their payloads edited.

use stepbus_model::{MessageId, Outcome, ResourceId};

use super::Driver;
use super::ground::{Ground, QUEUE, at, finish};
use crate::{Batch, DeadLetterGroup, DeliveryRow, EditRow, MessageFilter, MessageRow, StoreError};

fn caused(cause: &str) -> String {
    format!(r#"{{"stepbus":{{"cause":"{cause}"}}}}"#)
}

pub async fn dead_letters_are_grouped(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let mut letters = Vec::new();
    for (queue, code, cause) in [
        (QUEUE, "A", "no #"),
        (QUEUE, "A", "no #"),
        (QUEUE, "A", "Yes"),
        (ResourceId(66), "A", "no #"),
        (QUEUE, "B", "no #"),
        (QUEUE, "A", "no #"),
    ] {
        let delivery = ground.delivery();
        let letter = MessageRow {
            queue,
            error_code: Some(code.to_owned()),
            attributes: caused(cause),
            ..ground.letter(&delivery)
        };
        let mut batch = Batch::new();
        batch.add_delivery(delivery.clone());
        batch.dead_letter(letter.clone(), &delivery, finish(Outcome::Delivered));
        ground.commit(batch).await;
        letters.push(letter);
    }
    // A schedule's tick that failed, and a message that did not.
    let plain = MessageRow { delivery: None, ..ground.letter(&ground.delivery()) };
    let tick = MessageRow {
        error_code: Some("A".to_owned()),
        attributes: r#"{"stepbus":{"cause":"no #","schedule":"nightly"}}"#.to_owned(),
        ..plain.clone()
    };
    let plain = MessageRow { id: MessageId(store.next_id()), error_code: None, ..plain };
    let mut batch = Batch::new();
    batch.send_message(tick.clone());
    batch.send_message(plain);
    ground.commit(batch).await;
    letters.push(tick.clone());
    let dead = MessageFilter { dead: true, ..MessageFilter::default() };
    assert_eq!(store.messages(dead.clone(), MessageId(0), 99).await.unwrap(), letters);
    let told = store.dead_letter_groups(dead).await.unwrap();
    let ticks: Vec<_> = told.iter().filter(|group| group.subscription.is_none()).collect();
    assert_eq!(ticks.len(), 1);
    assert_eq!((ticks[0].schedule.as_deref(), ticks[0].sample), (Some("nightly"), tick.id));
    let groups = async |filter: MessageFilter| {
        let groups = store.dead_letter_groups(filter).await.unwrap();
        let short = |group: DeadLetterGroup| {
            (
                group.count,
                group.queue,
                group.error_code.unwrap(),
                group.cause.unwrap(),
                group.sample,
            )
        };
        groups.into_iter().map(short).collect::<Vec<_>>()
    };
    let group = |count: u64, first: usize, code: &str, cause: &str| {
        let letter = &letters[first];
        (count, letter.queue, code.to_owned(), cause.to_owned(), letter.id)
    };
    let all = groups(MessageFilter::default()).await;
    assert_eq!(all.len(), 5);
    assert_eq!(all[0], group(3, 0, "A", "no #"));
    assert!(all.contains(&group(1, 3, "A", "no #")));
    let filter = MessageFilter { cause: Some("yES".into()), ..MessageFilter::default() };
    assert_eq!(groups(filter.clone()).await, [group(1, 2, "A", "Yes")]);
    assert_eq!(store.messages(filter, MessageId(0), 9).await.unwrap(), [letters[2].clone()]);
    ground.sound().await;
}

pub async fn dead_letters_are_edited(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let delivery = DeliveryRow { revision: 0, ..ground.delivery() };
    let letter = ground.letter(&delivery);
    let mut batch = Batch::new();
    batch.add_delivery(delivery.clone());
    batch.dead_letter(letter.clone(), &delivery, finish(Outcome::Delivered));
    ground.commit(batch).await;
    let edit = |revision: u32| EditRow {
        delivery: delivery.id,
        revision,
        at: at(9),
        who: "operator".into(),
        payload: format!("{{\"n\":{revision}}}").into(),
        original: (revision == 1).then(|| "{}".into()),
    };
    for revision in [1, 2] {
        let mut batch = Batch::new();
        batch.edit_dead_letter(letter.id, edit(revision));
        ground.commit(batch).await;
    }
    let mut late = Batch::new();
    late.edit_dead_letter(letter.id, edit(2));
    assert!(matches!(store.commit(late).await, Err(StoreError::Gone(_))));
    let found = store.message(letter.id).await.unwrap().unwrap();
    assert_eq!(found.delivery.unwrap().revision, 2);
    assert_eq!(store.edit(delivery.id, 0).await.unwrap(), None);
    assert_eq!(store.edit(delivery.id, 1).await.unwrap(), Some(edit(1)));
    assert_eq!(store.edit(delivery.id, 9).await.unwrap(), Some(edit(2)));
    ground.sound().await;
}
