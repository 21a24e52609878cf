//! Subscriptions and destinations as operators look at them, and a call to try one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use stepbus_connect::{Condition, DeliveryRequest, Failure, Payload, Report};
use stepbus_model::{ResourceId, Share, Timestamp, Totals};
use stepbus_store::{AuditRow, Priority, ResourceKind, StoreError};

use crate::catalogue::{Catalogue, Subscription};
use crate::delivery::DeliveryMeasures;
use crate::engine::Engine;
use crate::holds::Held;

/// A subscription, how it stands, and its books over all runs.
#[derive(Debug, Clone, Serialize)]
pub struct SubscriptionView {
    #[serde(skip)]
    pub id: ResourceId,
    pub subscription: String,
    pub bus: String,
    pub target: String,
    /// `ENABLED`, `DISABLED` as by the project file, `PAUSED` by an operator, or `GONE` from the
    /// project with something left.
    pub state: &'static str,
    /// Its own pause, or its destination's.
    pub paused: Option<Held>,
    /// Deliveries that are being made now.
    pub in_flight: usize,
    pub in_memory: usize,
    /// Keys of a FIFO subscription that wait for a retry.
    pub waiting_keys: usize,
    /// More are ready in the store than memory holds.
    pub behind: bool,
    /// Until when the destination takes nothing: it throttles, or its circuit is open.
    pub held_back_until: Option<Timestamp>,
    #[serde(flatten)]
    pub totals: Totals,
}

/// A destination and how it stands.
#[derive(Debug, Clone, Serialize)]
pub struct DestinationView {
    #[serde(skip)]
    pub id: ResourceId,
    pub destination: String,
    /// `ENABLED`, or `PAUSED` by an operator.
    pub state: &'static str,
    pub paused: Option<Held>,
    /// Who delivers to it.
    pub subscriptions: Vec<String>,
    pub condition: Condition,
}

/// Who did what to the system.
#[derive(Debug, Clone, Serialize)]
pub struct AuditView {
    pub id: u64,
    pub at: Timestamp,
    pub who: String,
    /// As in `dlq.redrive`.
    pub action: String,
    pub subject: String,
    /// What it was done to, how many, and why.
    pub detail: Value,
}

/// What a destination answered to a call that an operator tried.
#[derive(Debug, Clone, Serialize)]
pub struct Trial {
    /// `DELIVERED`, `RETRYABLE`, `THROTTLED` or `PERMANENT`, as a delivery would have it.
    pub result: &'static str,
    pub status: Option<u16>,
    pub remote_id: Option<String>,
    /// Why it is no success, secrets masked.
    pub failure: Option<Failure>,
}

impl Engine {
    /// All subscriptions by name, those that are gone only while something is left of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionView>, StoreError> {
        let totals = self.store.subscription_totals().await?;
        let (catalogue, measures) = (self.catalogue(), self.delivery_measures());
        let of = |id: ResourceId| {
            let found = totals.iter().find(|(of, _)| *of == id);
            found.map(|(_, totals)| *totals).unwrap_or_default()
        };
        let mut views: Vec<SubscriptionView> = catalogue
            .subscriptions
            .values()
            .map(|found| self.subscription_view(&measures, found, of(found.id)))
            .collect();
        for (id, totals) in &totals {
            if totals.matched > 0 && !catalogue.subscriptions.contains_key(id) {
                views.push(gone(&catalogue, *id, *totals));
            }
        }
        views.sort_by(|one, other| one.subscription.cmp(&other.subscription));
        Ok(views)
    }

    fn subscription_view(
        &self,
        measures: &[DeliveryMeasures],
        found: &Subscription,
        totals: Totals,
    ) -> SubscriptionView {
        let target = found.target.destination().and_then(|id| self.held(id));
        let paused = self.held(found.id).or(target);
        let measured = measures.iter().find(|line| line.subscription == found.id);
        SubscriptionView {
            id: found.id,
            subscription: found.spec.name.clone(),
            bus: found.spec.bus.clone(),
            target: found.spec.target.name().to_owned(),
            state: match (&paused, found.spec.enabled) {
                (Some(_), _) => "PAUSED",
                (None, true) => "ENABLED",
                (None, false) => "DISABLED",
            },
            paused,
            in_flight: measured.map_or(0, |line| line.in_hand),
            in_memory: measured.map_or(0, |line| line.in_memory),
            waiting_keys: measured.map_or(0, |line| line.waiting_lanes),
            behind: measured.is_some_and(|line| line.behind),
            held_back_until: measured.and_then(|line| line.paused_until),
            totals,
        }
    }

    #[must_use]
    pub fn destinations(&self) -> Vec<DestinationView> {
        let catalogue = self.catalogue();
        let conditions = self.connect.health().destinations;
        let mut views: Vec<DestinationView> = catalogue
            .destinations
            .iter()
            .filter_map(|(name, target)| {
                let id = target.scope()?;
                let condition = conditions.iter().find(|condition| condition.name == *name);
                let paused = self.held(id);
                Some(DestinationView {
                    id,
                    destination: name.clone(),
                    state: if paused.is_some() { "PAUSED" } else { "ENABLED" },
                    paused,
                    subscriptions: deliver_to(&catalogue, id),
                    condition: condition.cloned().unwrap_or_default(),
                })
            })
            .collect();
        views.sort_by(|one, other| one.destination.cmp(&other.destination));
        views
    }

    /// The id of a subscription, destination or other thing by its name, gone ones included.
    #[must_use]
    pub fn resource_named(&self, kind: ResourceKind, name: &str) -> Option<ResourceId> {
        let catalogue = self.catalogue();
        let mut names = catalogue.names.iter();
        names.find(|(_, (of, found))| *of == kind && found == name).map(|(id, _)| *id)
    }

    /// What operators did, newest first, before `before`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit_log(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditView>, StoreError> {
        let rows = self.store.audit_rows(before, limit).await?;
        let view = |(id, row): (u64, AuditRow)| AuditView {
            id,
            at: row.at,
            who: row.who,
            action: row.action,
            subject: row.subject,
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    /// Makes one call as a delivery of that payload would, outside of all books; a paused
    /// destination is called too.
    pub async fn try_destination(&self, name: &str, payload: &Value) -> Trial {
        let id = self.store.next_id();
        let request = DeliveryRequest {
            payload: Payload::from(payload),
            items: None,
            params: BTreeMap::new(),
            headers: Vec::new(),
            query: Vec::new(),
            idempotency_key: self.derived_name(format_args!("trial/{id}")).to_string(),
            remote_id: None,
            share: Share { id, weight: Priority::High.weight() },
        };
        let report = self.connect.deliver(name, request).await;
        let remote_id = report.remote_id().map(str::to_owned);
        let failure = report.error().map(|error| Failure::clone(error));
        let (result, status) = match &report {
            Report::Delivered { receipt, .. } => ("DELIVERED", Some(receipt.status)),
            Report::Retryable { error, .. } => ("RETRYABLE", error.status),
            Report::Throttled { error, .. } => ("THROTTLED", error.status),
            Report::Permanent { error, .. } => ("PERMANENT", error.status),
        };
        Trial { result, status, remote_id, failure }
    }
}

fn deliver_to(catalogue: &Catalogue, destination: ResourceId) -> Vec<String> {
    let mut names: Vec<String> = catalogue
        .subscriptions
        .values()
        .filter(|found| found.target.destination() == Some(destination))
        .map(|found| found.spec.name.clone())
        .collect();
    names.sort();
    names
}

fn gone(catalogue: &Catalogue, id: ResourceId, totals: Totals) -> SubscriptionView {
    SubscriptionView {
        id,
        subscription: catalogue.name(id).to_owned(),
        bus: String::new(),
        target: String::new(),
        state: "GONE",
        paused: None,
        in_flight: 0,
        in_memory: 0,
        waiting_keys: 0,
        behind: false,
        held_back_until: None,
        totals,
    }
}
