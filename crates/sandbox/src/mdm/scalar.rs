//! Values: how a type is read, compared and shown.

use std::cmp::Ordering;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::schema::Kind;

/// A value as its type compares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Int(i64),
    Decimal(f64),
    Boolean(bool),
    /// Milliseconds since 1970; dates have no zone and are taken as UTC.
    Time(i64),
    Text(String),
}

impl Scalar {
    /// `None` when the text is no value of that type.
    pub(crate) fn read(kind: Kind, text: &str) -> Option<Scalar> {
        Some(match kind {
            Kind::Int => Scalar::Int(text.trim().parse().ok()?),
            Kind::Decimal => Scalar::Decimal(text.trim().parse().ok()?),
            Kind::Boolean => Scalar::Boolean(boolean(text)?),
            Kind::DateTime => Scalar::Time(milliseconds(text)?),
            Kind::Text => Scalar::Text(text.to_owned()),
        })
    }

    /// `None` when the two are of different types or not comparable.
    pub(crate) fn compare(&self, other: &Scalar) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Int(a), Scalar::Int(b)) | (Scalar::Time(a), Scalar::Time(b)) => Some(a.cmp(b)),
            (Scalar::Decimal(a), Scalar::Decimal(b)) => a.partial_cmp(b),
            (Scalar::Int(a), Scalar::Decimal(b)) => (*a as f64).partial_cmp(b),
            (Scalar::Decimal(a), Scalar::Int(b)) => a.partial_cmp(&(*b as f64)),
            (Scalar::Boolean(a), Scalar::Boolean(b)) => Some(a.cmp(b)),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" => Some(true),
        "0" => Some(false),
        text if text.eq_ignore_ascii_case("true") => Some(true),
        text if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A date, or a date and time with `T` or a blank between.
pub(crate) fn milliseconds(text: &str) -> Option<i64> {
    let at: DateTime = text.trim().parse().ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// The text by which an index finds the value: one for all spellings of it.
pub(crate) fn canonical(kind: Kind, text: &str) -> Option<String> {
    Some(match kind {
        Kind::Int => text.trim().parse::<i64>().ok()?.to_string(),
        Kind::Decimal => decimal(text)?,
        Kind::Boolean => boolean(text)?.to_string(),
        Kind::DateTime => java_timestamp(text)?,
        Kind::Text => text.to_owned(),
    })
}

/// As `BigDecimal.toString` shows it: a digit before the point, the scale kept.
fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    text.parse::<f64>().ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let lead = if digits.starts_with('.') { "0" } else { "" };
    Some(format!("{sign}{lead}{digits}"))
}

/// As `java.sql.Timestamp.toString` shows it, which is what the JSON writer calls:
/// `2019-04-30 00:00:00.0`.
fn java_timestamp(text: &str) -> Option<String> {
    let at: DateTime = text.trim().parse().ok()?;
    let millis = format!("{:03}", at.millisecond());
    let fraction = millis.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    Some(format!("{}.{fraction}", at.strftime("%Y-%m-%d %H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_texts() {
        let check = |kind, text: &str, expected: Option<&str>| {
            assert_eq!(canonical(kind, text).as_deref(), expected, "{text}");
        };
        check(Kind::Int, " 014 ", Some("14"));
        check(Kind::Int, "[14]", None);
        check(Kind::Decimal, ".0000", Some("0.0000"));
        check(Kind::Decimal, "-.5", Some("-0.5"));
        check(Kind::Decimal, "539.9900", Some("539.9900"));
        check(Kind::Decimal, "free", None);
        check(Kind::Boolean, "1", Some("true"));
        check(Kind::DateTime, "2019-04-30 00:00:00.000", Some("2019-04-30 00:00:00.0"));
        check(Kind::DateTime, "2025-02-07T10:01:36.827", Some("2025-02-07 10:01:36.827"));
        check(Kind::DateTime, "2024-01-01", Some("2024-01-01 00:00:00.0"));
        check(Kind::Text, "CM ", Some("CM "));
    }
}
