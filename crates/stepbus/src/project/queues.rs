//! Queues, declared or by use.

use std::time::Duration;

use serde_json::Value;
use stepbus_document::join;
use stepbus_runtime::{
    QueueSpec, RedrivePolicy, ScheduleSpec, ScheduleTarget, SubscriptionSpec, TargetSpec,
};

use super::problem::suggest;
use super::{Reader, format};

/// SQS's bounds of a queue's settings.
const LONGEST_INVISIBILITY: Duration = Duration::from_secs(12 * 3_600);
const LONGEST_DELAY: Duration = Duration::from_secs(900);

impl Reader<'_> {
    /// The queues of their section; without one, those that subscriptions name.
    pub(super) fn queues(
        &mut self,
        subscriptions: &[SubscriptionSpec],
        schedules: &[ScheduleSpec],
    ) -> Vec<QueueSpec> {
        if self.section("queues").is_some() {
            self.dead_letters_are_declared();
            return self.declared_queues();
        }
        let targets = subscriptions.iter().filter_map(|each| match &each.target {
            TargetSpec::Queue(name) => Some(name.clone()),
            _ => None,
        });
        let named = subscriptions.iter().filter_map(|each| each.dead_letter.clone());
        let scheduled = schedules.iter().flat_map(|each| {
            let target = match &each.target {
                ScheduleTarget::Queue(name) => Some(name.clone()),
                _ => None,
            };
            target.into_iter().chain(each.dead_letter.clone())
        });
        let named = named.chain(targets).chain(scheduled);
        let mut queues: Vec<QueueSpec> = named.map(QueueSpec::new).collect();
        queues.sort_by(|one, other| one.name.cmp(&other.name));
        queues.dedup();
        queues
    }

    fn declared_queues(&mut self) -> Vec<QueueSpec> {
        let mut queues = Vec::new();
        for (name, value, at) in self.sound("queues") {
            let visibility = self.span(value, &at, "visibility_timeout", LONGEST_INVISIBILITY);
            let delay = self.span(value, &at, "delay", LONGEST_DELAY);
            let retention = self.span(value, &at, "retention", Duration::MAX);
            let text = |field: &str| value.get(field).and_then(Value::as_str);
            let count = value.get("max_receive_count").and_then(Value::as_u64);
            let redrive = match (text("dead_letter"), count) {
                (Some(queue), Some(count)) => Some(RedrivePolicy {
                    dead_letter: queue.to_owned(),
                    max_receive_count: u32::try_from(count).unwrap_or(u32::MAX),
                }),
                (None, None) => None,
                (Some(_), None) => {
                    self.wrong(&join(&at, "dead_letter"), "how often is often enough?")
                        .hint("add `max_receive_count: 5`");
                    None
                }
                (None, Some(_)) => {
                    self.wrong(&join(&at, "max_receive_count"), "there is no dead-letter queue")
                        .hint("add `dead_letter: NAME`");
                    None
                }
            };
            if redrive.as_ref().is_some_and(|policy| policy.dead_letter == name) {
                self.wrong(
                    &join(&at, "dead_letter"),
                    "a queue cannot be its own dead-letter queue",
                );
            }
            queues.push(QueueSpec {
                visibility_seconds: visibility.map_or(30, |span| span.as_secs()),
                delay_seconds: delay.map_or(0, |span| span.as_secs()),
                retention_seconds: retention.map(|span| span.as_secs()),
                redrive,
                ..QueueSpec::new(name)
            });
        }
        queues
    }

    fn span(&mut self, value: &Value, at: &str, field: &str, most: Duration) -> Option<Duration> {
        let span = format::duration(value.get(field)?.as_str()?).ok()?;
        if span > most {
            self.wrong(&join(at, field), "that is longer than SQS allows")
                .hint(format!("at most {}s", most.as_secs()));
        }
        Some(span)
    }

    /// A mistyped dead-letter queue would silently be another one.
    fn dead_letters_are_declared(&mut self) {
        let known = self.section("queues").into_iter().flatten();
        let known: Vec<&String> = known.map(|(name, _)| name).collect();
        for (_, value, at) in self.members("subscriptions") {
            let target = value.get("target").unwrap_or(&Value::Null);
            let dead_letter = self.field(value, &at, "dead_letter");
            let target = self.field(target, &join(&at, "target"), "queue");
            for (name, at) in [dead_letter, target].into_iter().flatten() {
                let Some(name) = name.as_str() else { continue };
                if !known.iter().any(|known| *known == name) {
                    let hint = suggest(name, known.iter().map(|name| name.as_str()));
                    self.wrong(&at, format!("no queue is named `{name}`")).hint(hint);
                }
            }
        }
    }
}
