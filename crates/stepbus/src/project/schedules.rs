//! Schedules.

use serde_json::{Map, Value};
use stepbus_document::join;
use stepbus_model::Timestamp;
use stepbus_runtime::{AfterCompletion, Missed, ScheduleSpec, ScheduleTarget, Timing, time_zone};

use super::{Reader, format};

impl Reader<'_> {
    pub(super) fn schedules(&mut self) -> Vec<ScheduleSpec> {
        let mut schedules = Vec::new();
        for (name, value, at) in self.members("schedules") {
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            let retry = self.retry(value, &at);
            let start = self.moment(value, &at, "start");
            let end = self.moment(value, &at, "end");
            if let (Some(start), Some(end)) = (start, end)
                && end < start
            {
                self.wrong(&join(&at, "end"), "it ends before it starts")
                    .hint("give an `end` after `start`, or leave one of the two out");
            }
            let timezone = text("/timezone").unwrap_or("UTC").to_owned();
            let zone = time_zone(&timezone);
            if let Err(message) = &zone {
                self.wrong(&join(&at, "timezone"), message.clone());
            }
            let expression = text("/schedule").unwrap_or_default().to_owned();
            if let (Ok(zone), Some((_, inside))) = (zone, self.field(value, &at, "schedule"))
                && let Err(error) = Timing::parse(&expression, zone, start, end)
            {
                let position = self.document.position_within(&inside, error.at);
                self.problems.error(self.source, position, &inside, error.to_string());
            }
            if value.get("force") == Some(&Value::Bool(true)) && text("/target/queue").is_some() {
                self.wrong(&join(&at, "force"), "a queue gets every message, changed or not")
                    .hint("leave it out");
            }
            let Some(target) = self.schedule_target(value) else { continue };
            if !self.is_sound(&at) {
                continue;
            }
            let window = text("/flexible_window").and_then(|text| format::duration(text).ok());
            schedules.push(ScheduleSpec {
                name: name.to_owned(),
                expression,
                timezone,
                flexible_window_seconds: window.map_or(0, |span| span.as_secs()),
                start,
                end,
                missed: match text("/missed") {
                    Some("skip") => Missed::Skip,
                    _ => Missed::FireOnce,
                },
                target,
                input: value.get("input").cloned().unwrap_or(Value::Object(Map::new())),
                retry,
                dead_letter: text("/dead_letter").map(str::to_owned),
                enabled: value.get("enabled").and_then(Value::as_bool).unwrap_or(true),
                after_completion: match text("/after_completion") {
                    Some("delete") => AfterCompletion::Delete,
                    _ => AfterCompletion::Keep,
                },
                force: value.get("force").and_then(Value::as_bool).unwrap_or(false),
            });
        }
        schedules
    }

    fn moment(&mut self, value: &Value, at: &str, name: &str) -> Option<Timestamp> {
        let (field, inside) = self.field(value, at, name)?;
        match Timestamp::parse(field.as_str()?) {
            Ok(at) => Some(at),
            Err(_) => {
                self.wrong(&inside, "this is no moment").hint("for example 2026-12-01T10:00:00Z");
                None
            }
        }
    }

    fn schedule_target(&self, value: &Value) -> Option<ScheduleTarget> {
        let target = value.get("target")?;
        let name = |kind: &str| target.get(kind).and_then(Value::as_str).map(str::to_owned);
        if let Some(event) = target.get("event") {
            let text = |field: &str| event.get(field).and_then(Value::as_str);
            let project = self.value.get("name").and_then(Value::as_str);
            return Some(ScheduleTarget::Event {
                bus: text("bus")?.to_owned(),
                detail_type: text("detail-type")?.to_owned(),
                source: text("source").or(project).unwrap_or_default().to_owned(),
            });
        }
        let workflow = name("workflow").map(ScheduleTarget::Workflow);
        workflow.or_else(|| name("queue").map(ScheduleTarget::Queue))
    }
}
