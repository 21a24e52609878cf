//! Time as milliseconds since 1970, read only through a [`Clock`] so that tests can hand it in.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::fmt::temporal::DateTimePrinter;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Later than every other: what never comes due.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// How long after `earlier`; zero when the clock says it was not after.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// RFC 3339 with milliseconds, as in `2026-11-22T23:47:00.125Z`.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        const THREE_DIGITS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        self.format(&THREE_DIGITS)
    }

    /// RFC 3339 with seconds, the form of an event's `time`.
    #[must_use]
    pub fn to_rfc3339_seconds(self) -> String {
        const NO_FRACTION: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
        self.format(&NO_FRACTION)
    }

    fn format(self, printer: &DateTimePrinter) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => printer.timestamp_to_string(&at),
            Err(_) => format!("{}ms", self.0),
        }
    }

    /// Reads RFC 3339 text with any offset.
    ///
    /// # Errors
    /// When the text is not an RFC 3339 date and time.
    pub fn parse(text: &str) -> Result<Timestamp, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|at| Timestamp(at.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Timestamp)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    fn now(&self) -> Timestamp;
}

/// The machine's clock, held back from ever going backwards.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = jiff::Timestamp::now().as_millisecond();
        Timestamp(self.latest.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        ManualClock(AtomicI64::new(start.0))
    }

    pub fn advance(&self, span: Duration) {
        self.0.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms() {
        let at = Timestamp(1_700_000_000_125);
        assert_eq!(at.to_rfc3339(), "2023-11-14T22:13:20.125Z");
        assert_eq!(at.to_rfc3339_seconds(), "2023-11-14T22:13:20Z");
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20.125+01:00").unwrap(), at);
        assert_eq!(Timestamp(1).since(Timestamp(5)), Duration::ZERO);
    }
}
