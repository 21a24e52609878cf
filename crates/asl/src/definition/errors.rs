//! Retry and Catch.

use serde_json::Value;

use super::Builder;
use super::fields::{Fields, In, Known, kind_of};
use super::flow::Flow;
use super::model::{Catcher, Language, ResultPath, Retrier, StateId};
use super::values::Scope;
use crate::diagnostic::At;

const RETRIER: Known = &[
    ("Comment", In::Both),
    ("ErrorEquals", In::Both),
    ("IntervalSeconds", In::Both),
    ("MaxAttempts", In::Both),
    ("BackoffRate", In::Both),
    ("MaxDelaySeconds", In::Both),
    ("JitterStrategy", In::Both),
];
const CATCHER: Known = &[
    ("Comment", In::Both),
    ("ErrorEquals", In::Both),
    ("Next", In::Both),
    ("Assign", In::Both),
    ("Output", In::Jsonata),
    ("ResultPath", In::JsonPath),
];
/// Defaults and bounds of the States Language.
const INTERVAL_SECONDS: u64 = 1;
const MAX_ATTEMPTS: u64 = 3;
const MOST_ATTEMPTS: u64 = 99_999_999;
const BACKOFF_RATE: f64 = 2.0;
const MOST_DELAY_SECONDS: u64 = 31_622_400;

impl Builder<'_> {
    pub(super) fn retriers(&mut self, fields: &Fields<'_>, scope: Scope) -> Vec<Retrier> {
        let at = fields.at("Retry");
        let Some(items) = fields.array("Retry", &mut self.problems) else { return Vec::new() };
        let mut retriers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let at = at.item(index);
            let Some(retrier) = Fields::of(item, at, &mut self.problems) else { continue };
            retriers.extend(self.retrier(&retrier, scope, index + 1 == items.len()));
        }
        retriers
    }

    fn retrier(&mut self, fields: &Fields<'_>, scope: Scope, last: bool) -> Option<Retrier> {
        let problems = &mut self.problems;
        fields.check(RETRIER, &["ErrorEquals"], scope.language, problems);
        let interval_seconds = fields.whole("IntervalSeconds", 1, super::MAX_SECONDS, problems);
        let max_attempts = fields.whole("MaxAttempts", 0, MOST_ATTEMPTS, problems);
        let max_delay_seconds = fields.whole("MaxDelaySeconds", 1, MOST_DELAY_SECONDS, problems);
        let interval_seconds = interval_seconds.unwrap_or(INTERVAL_SECONDS);
        if max_delay_seconds.is_some_and(|most| most <= interval_seconds) {
            let message = "MaxDelaySeconds must be greater than IntervalSeconds";
            problems.schema(&fields.at("MaxDelaySeconds"), message);
        }
        let backoff_rate = match fields.get("BackoffRate") {
            None => BACKOFF_RATE,
            Some(value) => match value.as_f64() {
                Some(rate) if rate >= 1.0 => rate,
                Some(_) => {
                    let message = "The value must be greater than or equal to 1.0";
                    problems.schema(&fields.at("BackoffRate"), message);
                    BACKOFF_RATE
                }
                None => {
                    let message =
                        format!("Expected value of type Number, but found {}", kind_of(value));
                    problems.schema(&fields.at("BackoffRate"), message);
                    BACKOFF_RATE
                }
            },
        };
        let full_jitter = match fields.text("JitterStrategy", problems) {
            None | Some("NONE") => false,
            Some("FULL") => true,
            Some(other) => {
                let message =
                    format!("Value is not valid. Expected 'NONE' or 'FULL', but found '{other}'");
                problems.schema(&fields.at("JitterStrategy"), message);
                false
            }
        };
        Some(Retrier {
            errors: self.error_equals(fields, last)?,
            interval_seconds,
            max_attempts: u32::try_from(max_attempts.unwrap_or(MAX_ATTEMPTS)).unwrap_or(u32::MAX),
            backoff_rate,
            max_delay_seconds,
            full_jitter,
        })
    }

    pub(super) fn catchers(
        &mut self,
        id: StateId,
        fields: &Fields<'_>,
        scope: Scope,
        flow: &mut Flow,
    ) -> Vec<Catcher> {
        let at = fields.at("Catch");
        let Some(items) = fields.array("Catch", &mut self.problems) else { return Vec::new() };
        let mut catchers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let last = index + 1 == items.len();
            catchers.extend(self.catcher(id, item, at.item(index), scope, flow, last));
        }
        catchers
    }

    fn catcher(
        &mut self,
        id: StateId,
        value: &Value,
        at: At,
        scope: Scope,
        flow: &mut Flow,
        last: bool,
    ) -> Option<Catcher> {
        let fields = Fields::of(value, at, &mut self.problems)?;
        fields.check(CATCHER, &["ErrorEquals", "Next"], scope.language, &mut self.problems);
        let next = self.target("Next", "Next", id, &fields, flow);
        let scope = scope.with_error();
        let assign = self.assign(&fields, scope);
        let (output, result_path) = match scope.language {
            Language::Jsonata => (self.payload("Output", &fields, scope), ResultPath::Replace),
            Language::JsonPath => (None, self.result_path(&fields)),
        };
        let errors = self.error_equals(&fields, last)?;
        Some(Catcher { errors, next: next?, output, assign, result_path })
    }

    fn error_equals(&mut self, fields: &Fields<'_>, last: bool) -> Option<Vec<String>> {
        let errors = fields.texts("ErrorEquals", &mut self.problems);
        let all = errors.iter().position(|error| error == "States.ALL");
        if let Some(index) = all
            && (errors.len() > 1 || !last)
        {
            let at = fields.at("ErrorEquals").item(index);
            self.problems.schema(&at, "States.ALL must appear alone and at end of list");
        }
        fields.has("ErrorEquals").then_some(errors)
    }
}
