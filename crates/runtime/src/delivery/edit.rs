//! A dead letter's payload: shown, and written anew by an operator.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use stepbus_model::{DeliveryId, MessageId, Timestamp};
use stepbus_store::{AuditRow, Batch, DeliveryRow, EditRow, MessageRow, StoreError};

use super::redrive::RedriveVersion;
use crate::engine::Engine;
use crate::schedules::letters::schedule_of;

/// What a redrive of a dead letter would send.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PayloadView {
    pub message: MessageId,
    pub delivery: DeliveryId,
    /// Part of the Idempotency-Key: targets see another one for another payload.
    pub revision: u32,
    pub payload: Option<Value>,
    pub edited: Option<Edited>,
    /// Why there is no payload.
    pub problem: Option<String>,
}

/// Who wrote it, when, and what was there before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edited {
    pub by: String,
    pub at: Timestamp,
    pub original: Option<Value>,
}

#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("there is no dead letter {0}")]
    NoDeadLetter(MessageId),
    #[error(
        "{0} is a tick of a schedule and has no payload of its own; correct the schedule's input and \
         redrive it"
    )]
    Tick(MessageId),
    #[error("the payload has {size} bytes, the limit is {limit} (event_bytes)")]
    TooLarge { size: usize, limit: usize },
    #[error("somebody else edited or redrove {0} meanwhile; look at it again")]
    Overtaken(MessageId),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// The payload that a redrive by the original version would send.
    ///
    /// # Errors
    /// When there is no such dead letter, or the store fails.
    pub async fn dead_letter_payload(&self, id: MessageId) -> Result<PayloadView, EditError> {
        let (message, dead) = self.dead_row(id).await?;
        self.payload_of(&message, &dead).await
    }

    /// Has a dead letter sent with another payload from now on; the original is kept.
    ///
    /// # Errors
    /// When there is no such dead letter, the payload is too large, somebody else was faster, or
    /// the store fails.
    pub async fn edit_dead_letter(
        &self,
        id: MessageId,
        payload: &Value,
        who: &str,
        reason: &str,
    ) -> Result<PayloadView, EditError> {
        let (message, dead) = self.dead_row(id).await?;
        let text = payload.to_string();
        if text.len() > self.limits.event_bytes {
            return Err(EditError::TooLarge { size: text.len(), limit: self.limits.event_bytes });
        }
        let before = self.payload_of(&message, &dead).await?;
        let original = match before.edited {
            Some(edited) => edited.original,
            None => before.payload,
        };
        let revision = dead.revision + 1;
        let at = self.clock.now();
        let mut batch = Batch::new();
        batch.edit_dead_letter(
            id,
            EditRow {
                delivery: dead.id,
                revision,
                at,
                who: who.to_owned(),
                payload: Bytes::from(text),
                original: original.map(|original| Bytes::from(original.to_string())),
            },
        );
        let detail = json!({
            "delivery": dead.id, "revision": revision, "reason": reason, "count": 1,
        });
        batch.audit(AuditRow {
            at,
            who: who.to_owned(),
            action: "dlq.edit".to_owned(),
            subject: id.to_string(),
            detail: detail.to_string(),
        });
        match self.store.commit(batch).await {
            Ok(()) => {}
            Err(StoreError::Gone(_) | StoreError::Failed(_))
                if self
                    .store
                    .message(id)
                    .await?
                    .is_none_or(|now| now.delivery.as_ref() != Some(&dead)) =>
            {
                return Err(EditError::Overtaken(id));
            }
            Err(error) => return Err(error.into()),
        }
        self.dead_letter_payload(id).await
    }

    async fn dead_row(&self, id: MessageId) -> Result<(MessageRow, DeliveryRow), EditError> {
        let message = self.store.message(id).await?.ok_or(EditError::NoDeadLetter(id))?;
        if schedule_of(&message).is_some() {
            return Err(EditError::Tick(id));
        }
        let dead = message.delivery.clone().ok_or(EditError::NoDeadLetter(id))?;
        Ok((message, dead))
    }

    async fn payload_of(
        &self,
        message: &MessageRow,
        dead: &DeliveryRow,
    ) -> Result<PayloadView, EditError> {
        let mut view = PayloadView {
            message: message.id,
            delivery: dead.id,
            revision: dead.revision,
            payload: None,
            edited: None,
            problem: None,
        };
        let json = |bytes: &Bytes| serde_json::from_slice(bytes).ok();
        if let Some(edit) = self.store.edit(dead.id, dead.revision).await? {
            view.payload = json(&edit.payload);
            let original = edit.original.as_ref().and_then(json);
            view.edited = Some(Edited { by: edit.who, at: edit.at, original });
            return Ok(view);
        }
        match self.subscription_for(dead, RedriveVersion::Original).await? {
            Err(problem) => view.problem = Some(problem),
            Ok(subscription) => {
                let event = self.event_of(message, dead, &subscription).await?;
                match subscription.value(&event.0, self.limits.payload_bytes) {
                    Ok(payload) => view.payload = Some(payload),
                    Err(error) => view.problem = Some(format!("the transform failed: {error}")),
                }
            }
        }
        Ok(view)
    }
}
