//! What a plain YAML scalar means: the core schema of YAML 1.2.

use serde_json::{Number, Value};

use crate::shown;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Integer,
    Float,
    Text,
}

/// The value of a plain scalar without a tag.
pub(crate) fn resolve(text: &str) -> Result<Value, String> {
    for kind in [Kind::Null, Kind::Boolean, Kind::Integer, Kind::Float] {
        if let Some(value) = attempt(kind, text)? {
            return Ok(value);
        }
    }
    Ok(Value::String(text.to_owned()))
}

/// The value of a scalar whose kind is known from its tag or its quotes.
pub(crate) fn read_as(kind: Kind, text: &str) -> Result<Value, String> {
    let name = match kind {
        Kind::Text => return Ok(Value::String(text.to_owned())),
        Kind::Null => "null",
        Kind::Boolean => "a boolean",
        Kind::Integer => "an integer",
        Kind::Float => match attempt(Kind::Integer, text)? {
            Some(value) => return Ok(value),
            None => "a number",
        },
    };
    attempt(kind, text)?.ok_or_else(|| format!("`{}` is not {name}", shown(text)))
}

fn attempt(kind: Kind, text: &str) -> Result<Option<Value>, String> {
    Ok(match kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Null => matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Value::Null),
        Kind::Boolean => match text {
            "true" | "True" | "TRUE" => Some(Value::Bool(true)),
            "false" | "False" | "FALSE" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Integer => integer(text)?,
        Kind::Float => float(text)?,
    })
}

fn integer(text: &str) -> Result<Option<Value>, String> {
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
                return Ok(None);
            }
            return match u64::from_str_radix(digits, radix) {
                Ok(number) => Ok(Some(number.into())),
                Err(_) => Err(format!("the number `{}` is too large", shown(text))),
            };
        }
    }
    let (sign, digits) = split_sign(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    if sign == "-" {
        if let Ok(number) = text.parse::<i64>() {
            return Ok(Some(number.into()));
        }
    } else if let Ok(number) = digits.parse::<u64>() {
        return Ok(Some(number.into()));
    }
    // Beyond 64 bits JSON numbers are floating point; so are these.
    finite(text).map(Some)
}

fn float(text: &str) -> Result<Option<Value>, String> {
    let (_, unsigned) = split_sign(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("JSON has no number `{text}`; quote it if it is meant as text"));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let (_, exponent) = split_sign(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    if mantissa_fits && exponent_fits { finite(text).map(Some) } else { Ok(None) }
}

fn finite(text: &str) -> Result<Value, String> {
    let parsed = text.parse::<f64>().ok().and_then(Number::from_f64);
    parsed.map(Value::Number).ok_or_else(|| format!("the number `{}` is too large", shown(text)))
}

fn split_sign(text: &str) -> (&str, &str) {
    match text.as_bytes().first() {
        Some(b'+' | b'-') => text.split_at(1),
        _ => ("", text),
    }
}
