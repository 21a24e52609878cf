//! The event envelope, field for field EventBridge's.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::arn;
use crate::id::EventId;
use crate::time::Timestamp;

/// What a publisher says; the bus adds id, time, account and region.
#[derive(Debug, Clone)]
pub struct Event {
    pub source: String,
    pub detail_type: String,
    /// Any JSON object, kept as the publisher wrote it.
    pub detail: Box<RawValue>,
    pub resources: Vec<String>,
    /// The publisher's own time; absent means when it was accepted.
    pub time: Option<Timestamp>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    version: &'static str,
    id: Uuid,
    #[serde(rename = "detail-type")]
    detail_type: &'a str,
    source: &'a str,
    account: &'static str,
    time: String,
    region: &'static str,
    resources: &'a [String],
    detail: &'a RawValue,
}

/// The envelope's fields other than `detail`, as read back.
#[derive(Debug, Clone, Deserialize)]
pub struct Header {
    pub id: String,
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    pub source: String,
    pub time: String,
}

impl Event {
    /// The event as it stands on the bus: one JSON object, its id made from `installation` and `id`.
    #[must_use]
    pub fn envelope(&self, id: EventId, installation: Uuid, accepted: Timestamp) -> Vec<u8> {
        let envelope = Envelope {
            version: "0",
            id: wire_id(id, installation),
            detail_type: &self.detail_type,
            source: &self.source,
            account: arn::ACCOUNT,
            time: self.time.unwrap_or(accepted).to_rfc3339_seconds(),
            region: arn::REGION,
            resources: &self.resources,
            detail: &self.detail,
        };
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

/// The UUID under which the world knows an event of this data directory.
#[must_use]
pub fn wire_id(id: EventId, installation: Uuid) -> Uuid {
    Uuid::new_v5(&installation, id.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelope_has_the_fields_of_eventbridge_in_order() {
        let event = Event {
            source: "shop".into(),
            detail_type: "order".into(),
            detail: RawValue::from_string(r#"{"n": 1.0}"#.into()).unwrap(),
            resources: vec![],
            time: None,
        };
        let bytes = event.envelope(EventId(7), Uuid::nil(), Timestamp(0));
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            concat!(
                r#"{"version":"0","id":"b82a232d-8ae1-541e-b11d-59e6626556a8","detail-type":"order","#,
                r#""source":"shop","account":"000000000000","time":"1970-01-01T00:00:00Z","#,
                r#""region":"local","resources":[],"detail":{"n": 1.0}}"#
            )
        );
    }
}
