//! One subscription that delivers to a shop, and what is asked of its deliveries.

use serde_json::{Value, json};
use stepbus_connect::{CallSpec, DestinationSpec};
use stepbus_model::{MessageId, Totals};
use stepbus_store::MessageFilter;

use crate::delivery::{DeadLetter, Purge, Redrive, RedriveVersion, Selection, Tally};
pub(super) use crate::testing::{Call, Dice, Running, Target, World, until};
use crate::{RetrySpec, SubscriptionSpec, TargetSpec};

impl World {
    pub(super) fn new(target: &Target) -> World {
        let mut world = World::empty();
        world.declared.queues.push("failures".into());
        let call = CallSpec::new("PUT", &format!("{}/products/{{sku}}", target.url));
        world.declared.destinations.push(DestinationSpec::call("shop", None, call));
        world.declared.subscriptions.push(subscription("load", "shop"));
        world
    }

    /// Changes the one subscription that there is from the beginning.
    pub(super) fn load(&mut self) -> &mut SubscriptionSpec {
        &mut self.declared.subscriptions[0]
    }
}

pub(super) fn subscription(name: &str, destination: &str) -> SubscriptionSpec {
    let pattern = json!({ "detail-type": ["product"] }).to_string();
    let target = TargetSpec::Destination(destination.into());
    let retry = RetrySpec { max_age_seconds: 86_400, max_attempts: u32::MAX };
    SubscriptionSpec {
        retry,
        key: Some(json!("{% $event.detail.sku %}")),
        transform: Some(json!("{% $event.detail %}")),
        dead_letter: Some("failures".into()),
        ..SubscriptionSpec::new(name, "catalog", &pattern, target)
    }
}

impl Running {
    /// Publishes as [`Running::publish_details`], and nothing of it is begun before all is there.
    pub(super) async fn publish_at_once(&self, details: impl IntoIterator<Item = Value>) {
        let id = self.engine.catalogue().subscription_named("load").unwrap().id;
        self.engine.pause(id, "tester", "").await.unwrap();
        self.publish_details(details).await;
        self.engine.unpause(id, "tester").await.unwrap();
    }

    /// Publishes `{sku, n}` for each pair; each is a run of its own.
    pub(super) async fn publish(&self, products: impl IntoIterator<Item = (String, u64)>) {
        let details = products.into_iter().map(|(sku, n)| json!({ "sku": sku, "n": n }));
        self.publish_details(details).await;
    }

    pub(super) async fn totals(&self, subscription: &str) -> Totals {
        let catalogue = self.engine.catalogue();
        let id = catalogue.subscription_named(subscription).unwrap().id;
        let totals = self.engine.store.subscription_totals().await.unwrap();
        totals.into_iter().find(|(of, _)| *of == id).map(|(_, totals)| totals).unwrap_or_default()
    }

    /// What must hold at any time, and the totals of the first subscription.
    pub(super) async fn expect_books(&self, expected: Totals) {
        assert_eq!(self.engine.store.check().await.unwrap(), vec![]);
        assert_eq!(self.totals("load").await, expected);
    }

    pub(super) async fn dead(&self) -> Vec<DeadLetter> {
        let filter = MessageFilter::default();
        self.engine.dead_letters(filter, MessageId(0), 1_000).await.unwrap()
    }

    pub(super) async fn redrive_all(&self, version: RedriveVersion) -> Tally {
        let wish = Redrive {
            selection: Selection::Matching(MessageFilter::default()),
            rate: None,
            version,
            who: "tester".into(),
        };
        self.engine.redrive(&wish, |_| {}).await.unwrap()
    }

    pub(super) async fn purge_all(&self) -> Tally {
        let wish = Purge {
            selection: Selection::Matching(MessageFilter::default()),
            reason: "not wanted".into(),
            who: "tester".into(),
        };
        self.engine.purge(&wish, |_| {}).await.unwrap()
    }
}
