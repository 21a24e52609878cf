//! How often: `300/s`, `10/min`, `5/s burst 20`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// At most `permits` calls in every `per`, evenly spaced, but for `burst` that may go at once
/// after a time of rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub permits: NonZeroU32,
    pub per: Duration,
    pub burst: NonZeroU32,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no rate: {problem}; write for example 300/s, 10/min or `5/s burst 20`")]
pub struct RateError {
    text: String,
    problem: &'static str,
}

impl Rate {
    /// The time from one call to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.per / self.permits.get()
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let fail = |problem| RateError { text: text.to_owned(), problem };
        let (rate, burst) = match text.split_once("burst") {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let (permits, unit) =
            rate.split_once('/').ok_or_else(|| fail("a `/` with a unit of time is missing"))?;
        let count = |text: &str| text.trim().parse::<NonZeroU32>().ok();
        let permits =
            count(permits).ok_or_else(|| fail("a whole number above 0 must come first"))?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            "d" | "day" => 86_400,
            _ => return Err(fail("the unit must be s, min, h or day")),
        };
        let burst = match burst {
            None => NonZeroU32::MIN,
            Some(burst) => {
                count(burst).ok_or_else(|| fail("burst must be a whole number above 0"))?
            }
        };
        Ok(Rate { permits, per: Duration::from_secs(seconds), burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            60 => "min",
            3_600 => "h",
            86_400 => "day",
            _ => "s",
        };
        write!(f, "{}/{unit}", self.permits)?;
        if self.burst.get() > 1 { write!(f, " burst {}", self.burst) } else { Ok(()) }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_rates() {
        let check = |text: &str, expected: &str| {
            let read = match text.parse::<Rate>() {
                Ok(rate) => format!("{rate} every {:?}", rate.interval()),
                Err(error) => error.problem.to_owned(),
            };
            assert_eq!(read, expected, "{text}");
        };
        check("300/s", "300/s every 3.333333ms");
        check("10/min", "10/min every 6s");
        check(" 5 / second burst 20 ", "5/s burst 20 every 200ms");
        check("2/day", "2/day every 43200s");
        check("300", "a `/` with a unit of time is missing");
        check("0/s", "a whole number above 0 must come first");
        check("x/s", "a whole number above 0 must come first");
        check("5/week", "the unit must be s, min, h or day");
        check("5/s burst", "burst must be a whole number above 0");
    }
}
