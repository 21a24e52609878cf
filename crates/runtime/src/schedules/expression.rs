//! When a schedule fires: AWS's `rate(…)`, `cron(…)` and `at(…)`, in a time zone. Pure.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use stepbus_model::Timestamp;

use super::cron::Cron;

/// What is wrong with a schedule's expression, and at which character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid Schedule Expression {text}. Reason: {reason} (at character {})", .at + 1)]
pub struct ExpressionError {
    text: String,
    pub reason: String,
    pub at: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Every so many milliseconds.
    Rate(i64),
    Cron(Cron),
    At(DateTime),
}

/// An expression in its time zone, between its bounds.
#[derive(Debug, Clone)]
pub struct Timing {
    rule: Rule,
    zone: TimeZone,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Timing {
    /// # Errors
    /// When the expression is none of AWS's.
    pub fn parse(
        text: &str,
        zone: TimeZone,
        start: Option<Timestamp>,
        end: Option<Timestamp>,
    ) -> Result<Timing, ExpressionError> {
        let wrong = |(at, reason): (usize, String)| ExpressionError {
            text: text.chars().take(200).collect(),
            reason,
            // It was found in bytes.
            at: text.char_indices().take_while(|(byte, _)| *byte < at).count(),
        };
        let rule = rule(text).map_err(wrong)?;
        Ok(Timing { rule, zone, start, end })
    }

    /// Whether it fires only once.
    #[must_use]
    pub fn once(&self) -> bool {
        matches!(self.rule, Rule::At(_))
    }

    /// The first time after `after`. A rate counts from its start or, without one, from `anchor`,
    /// when it was first seen, and fires then for the first time.
    #[must_use]
    pub fn next(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        let after = match self.start {
            Some(start) => after.max(Timestamp(start.0.saturating_sub(1))),
            None => after,
        };
        let next = match &self.rule {
            Rule::Rate(every) => Some(rate(*every, self.start.unwrap_or(anchor), after)),
            Rule::At(local) => {
                let at = self.zone.to_ambiguous_zoned(*local).compatible().ok()?;
                Some(Timestamp(at.timestamp().as_millisecond())).filter(|at| *at > after)
            }
            Rule::Cron(cron) => self.next_of(cron, after),
        }?;
        self.end.is_none_or(|end| next <= end).then_some(next)
    }

    /// A local time that is skipped in spring does not fire; one that comes twice in autumn fires
    /// the first time only.
    fn next_of(&self, cron: &Cron, after: Timestamp) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_millisecond(after.0).ok()?;
        let local = self.zone.to_datetime(instant).date();
        cron.from(local.yesterday().unwrap_or(local)).find_map(|local| {
            let ambiguous = self.zone.to_ambiguous_timestamp(local);
            let at = match ambiguous.offset() {
                AmbiguousOffset::Gap { .. } => return None,
                AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
                AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().ok()?,
            };
            Some(Timestamp(at.as_millisecond())).filter(|at| *at > after)
        })
    }
}

fn rate(every: i64, anchor: Timestamp, after: Timestamp) -> Timestamp {
    if after < anchor {
        return anchor;
    }
    let passed = after.0.saturating_sub(anchor.0) / every;
    Timestamp(anchor.0.saturating_add(passed.saturating_add(1).saturating_mul(every)))
}

fn rule(text: &str) -> Result<Rule, (usize, String)> {
    let kinds = "write rate(5 minutes), cron(0 2 * * ? *) or at(2026-12-01T10:00:00)";
    let Some((kind, rest)) = text.split_once('(') else { return Err((0, kinds.to_owned())) };
    let Some(inner) = rest.strip_suffix(')') else {
        return Err((text.len(), "it does not end with `)`".to_owned()));
    };
    let offset = kind.len() + 1;
    let within = |(at, reason): (usize, String)| (at + offset, reason);
    match kind {
        "rate" => parse_rate(inner).map_err(within),
        "cron" => Cron::parse(inner).map(Rule::Cron).map_err(within),
        "at" => parse_at(inner).map_err(within),
        _ => Err((0, kinds.to_owned())),
    }
}

fn parse_rate(text: &str) -> Result<Rule, (usize, String)> {
    let Some((value, unit)) = text.split_once(' ') else {
        return Err((0, "a rate is a number and a unit, as in rate(5 minutes)".to_owned()));
    };
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let count = value.parse::<u32>().ok().filter(|count| digits && *count > 0);
    let count = count.ok_or_else(|| (0, format!("`{value}` is no whole number above 0")))?;
    let at = value.len() + 1;
    let (singular, minutes) = match unit {
        "minute" | "minutes" => ("minute", 1),
        "hour" | "hours" => ("hour", 60),
        "day" | "days" => ("day", 1_440),
        _ => return Err((at, format!("`{unit}` is no unit: minutes, hours or days"))),
    };
    let plural = format!("{singular}s");
    match (count == 1, unit == singular) {
        (true, false) => Err((at, format!("for 1 it is `{singular}`"))),
        (false, true) => Err((at, format!("for {count} it is `{plural}`"))),
        _ => {
            let span = Duration::from_secs(u64::from(count) * minutes * 60);
            Ok(Rule::Rate(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
        }
    }
}

fn parse_at(text: &str) -> Result<Rule, (usize, String)> {
    let shape = "a time is yyyy-mm-ddThh:mm:ss, without an offset: the time zone stands beside it";
    // No fractions, offsets or other forms that a date and time can have.
    let plain = text.len() == 19
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !plain {
        return Err((0, shape.to_owned()));
    }
    text.parse::<DateTime>().map(Rule::At).map_err(|error| (0, error.to_string()))
}

#[cfg(test)]
#[path = "expression_tests.rs"]
mod tests;
