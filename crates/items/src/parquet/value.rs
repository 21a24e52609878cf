//! Values of Parquet as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Number, Value};

/// A row as JSON text.
pub(super) fn row(row: &Row, schema: &Type) -> Result<String, String> {
    let value = group(row, Some(schema))?;
    serde_json::to_string(&value).map_err(|error| error.to_string())
}

fn group(row: &Row, schema: Option<&Type>) -> Result<Value, String> {
    let mut object = Map::new();
    for (name, field) in row.get_column_iter() {
        let named = |member: &&std::sync::Arc<Type>| member.name() == name;
        let schema = schema.filter(|schema| schema.is_group());
        let member = schema.and_then(|schema| schema.get_fields().iter().find(named));
        let value = value(field, member.map(|member| &**member));
        object.insert(name.clone(), value.map_err(|what| format!("column `{name}`: {what}"))?);
    }
    Ok(Value::Object(object))
}

fn value(field: &Field, schema: Option<&Type>) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => long(*value, schema)?,
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        // As short as it can be told apart, not with the digits of a double.
        Field::Float16(value) => float(value.to_string().parse().unwrap_or(f64::NAN)),
        Field::Float(value) => float(value.to_string().parse().unwrap_or(f64::NAN)),
        Field::Double(value) => float(*value),
        Field::Decimal(_) => Value::from(field.to_string().trim_end_matches('.')),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => Value::from(STANDARD.encode(bytes.data())),
        Field::Date(days) => date(*days)?,
        Field::TimeMillis(millis) => time(i64::from(*millis) * 1_000_000)?,
        Field::TimeMicros(micros) => time(micros.saturating_mul(1_000))?,
        Field::TimestampMillis(millis) => moment(i128::from(*millis) * 1_000_000, schema)?,
        Field::TimestampMicros(micros) => moment(i128::from(*micros) * 1_000, schema)?,
        Field::Group(row) => group(row, schema)?,
        Field::ListInternal(list) => {
            let element = schema.and_then(element);
            let values = list.elements().iter().map(|field| value(field, element));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => entries(map.entries(), schema)?,
    })
}

/// An object where the keys are texts or whole numbers, else an array of `{key, value}`.
fn entries(entries: &[(Field, Field)], schema: Option<&Type>) -> Result<Value, String> {
    let map = schema.filter(|map| map.is_group());
    let pair = map.and_then(|map| map.get_fields().first().map(|pair| &**pair));
    let part = |at: usize| {
        let pair = pair.filter(|pair| pair.is_group())?;
        pair.get_fields().get(at).map(|part| &**part)
    };
    let mut pairs = Vec::with_capacity(entries.len());
    for (key, field) in entries {
        pairs.push((value(key, part(0))?, value(field, part(1))?));
    }
    let name = |key: &Value| match key {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if pairs.iter().all(|(key, _)| name(key).is_some()) {
        let members = pairs.into_iter().map(|(key, value)| (name(&key).unwrap_or_default(), value));
        return Ok(Value::Object(members.collect()));
    }
    let pairs = pairs.into_iter().map(|(key, value)| {
        Value::Object(Map::from_iter([("key".to_owned(), key), ("value".to_owned(), value)]))
    });
    Ok(Value::Array(pairs.collect()))
}

/// The type of a list's elements: under a repeated group of one member, or repeated itself.
fn element(list: &Type) -> Option<&Type> {
    if !list.is_group() {
        return Some(list);
    }
    let repeated = list.get_fields().first()?;
    match repeated.is_group() && repeated.get_fields().len() == 1 {
        true => repeated.get_fields().first().map(|element| &**element),
        false => Some(repeated),
    }
}

/// A whole number, unless its type makes it a time in nanoseconds.
fn long(value: i64, schema: Option<&Type>) -> Result<Value, String> {
    match logical(schema) {
        Some(LogicalType::Timestamp(timestamp)) if timestamp.unit == TimeUnit::NANOS => {
            moment(i128::from(value), schema)
        }
        Some(LogicalType::Time(clock)) if clock.unit == TimeUnit::NANOS => time(value),
        _ => Ok(Value::from(value)),
    }
}

fn logical(schema: Option<&Type>) -> Option<&LogicalType> {
    schema?.get_basic_info().logical_type_ref()
}

/// JSON has neither NaN nor the infinities: they are null.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn date(days: i32) -> Result<Value, String> {
    let date = jiff::Timestamp::from_second(i64::from(days) * 86_400)
        .map_err(|_| format!("{days} days since 1970 is no date"))?;
    Ok(Value::from(date.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()))
}

fn time(nanos: i64) -> Result<Value, String> {
    let whole = u64::try_from(nanos).ok().filter(|nanos| *nanos < 86_400 * 1_000_000_000);
    let nanos = whole.ok_or_else(|| format!("{nanos} nanoseconds is no time of a day"))?;
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{hour:02}:{minute:02}:{second:02}");
    if rest > 0 {
        text.push_str(format!(".{rest:09}").trim_end_matches('0'));
    }
    Ok(Value::from(text))
}

/// RFC 3339; without an offset where the type says that the time is a local one.
fn moment(nanos: i128, schema: Option<&Type>) -> Result<Value, String> {
    let at = jiff::Timestamp::from_nanosecond(nanos)
        .map_err(|_| format!("{nanos} nanoseconds since 1970 is no time"))?;
    let local = matches!(
        logical(schema),
        Some(LogicalType::Timestamp(timestamp)) if !timestamp.is_adjusted_to_u_t_c
    );
    let mut text = at.to_string();
    if local {
        text.truncate(text.trim_end_matches('Z').len());
    }
    Ok(Value::from(text))
}
