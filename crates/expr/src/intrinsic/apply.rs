//! What each function does with its arguments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Function;
use super::text::format;
use crate::hash;
use crate::random::{Draws, unit_from_seed};

/// Characters that Base64 and Hash take. AWS: 10,000.
const TEXT_CHARACTERS: usize = 10_000;
/// Items of States.ArrayRange. AWS: 1,000.
const RANGE_ITEMS: i64 = 1_000;

/// `arguments` are as many as the function takes: the parser saw to that.
pub(super) fn apply(
    function: Function,
    mut arguments: Vec<Value>,
    draws: &Draws,
) -> Result<Value, String> {
    let given = Given { function, values: &arguments };
    match function {
        Function::Array => Ok(Value::Array(arguments)),
        Function::ArrayContains => Ok(given.array(0)?.contains(&arguments[1]).into()),
        Function::ArrayGetItem => given.item(),
        Function::ArrayLength => Ok(given.array(0)?.len().into()),
        Function::ArrayPartition => given.partition(),
        Function::ArrayRange => given.range(),
        Function::ArrayUnique => Ok(unique(given.array(0)?)),
        Function::Base64Decode => given.decoded(),
        Function::Base64Encode => Ok(STANDARD.encode(given.short_text(0)?).into()),
        Function::Format => {
            let template = given.text(0)?.to_owned();
            Ok(Value::String(format(&template, &arguments.split_off(1))?))
        }
        Function::Hash => given.hash(),
        Function::JsonMerge => given.merged(),
        Function::JsonToString => Ok(Value::String(arguments[0].to_string())),
        Function::MathAdd => {
            let sum = given.whole(0)?.checked_add(given.whole(1)?);
            sum.map(Value::from).ok_or_else(|| given.wrong("the sum is out of range"))
        }
        Function::MathRandom => given.random(draws),
        Function::StringSplit => {
            let (text, separators) = (given.text(0)?, given.text(1)?);
            let parts = text.split(|character| separators.contains(character));
            Ok(parts.filter(|part| !part.is_empty()).collect())
        }
        Function::StringToJson => given.parsed(),
        Function::UUID => Ok(Value::String(draws.uuid())),
    }
}

#[derive(Clone, Copy)]
struct Given<'a> {
    function: Function,
    values: &'a [Value],
}

impl<'a> Given<'a> {
    fn wrong(self, message: &str) -> String {
        format!("Invalid arguments in {}: {message}", self.function.name())
    }

    fn unfit(self, index: usize, wanted: &str) -> String {
        self.wrong(&format!(
            "argument {} must be {wanted} but was: {}",
            index + 1,
            self.values[index]
        ))
    }

    fn array(self, index: usize) -> Result<&'a [Value], String> {
        self.values[index]
            .as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| self.unfit(index, "an array"))
    }

    fn text(self, index: usize) -> Result<&'a str, String> {
        self.values[index].as_str().ok_or_else(|| self.unfit(index, "a string"))
    }

    fn short_text(self, index: usize) -> Result<&'a str, String> {
        let text = self.text(index)?;
        self.short(text).map(|()| text)
    }

    fn short(self, text: &str) -> Result<(), String> {
        if text.chars().nth(TEXT_CHARACTERS).is_none() {
            return Ok(());
        }
        Err(self.wrong(&format!("at most {TEXT_CHARACTERS} characters are allowed")))
    }

    /// A number, rounded to a whole one with halves going up.
    fn whole(self, index: usize) -> Result<i64, String> {
        let value = &self.values[index];
        if let Some(whole) = value.as_i64() {
            return Ok(whole);
        }
        match value.as_f64() {
            // Beyond 2^53 every f64 is whole and the cast is exact or saturates.
            Some(number) => Ok((number + 0.5).floor() as i64),
            None => Err(self.unfit(index, "a number")),
        }
    }

    fn item(self) -> Result<Value, String> {
        let (items, index) = (self.array(0)?, self.whole(1)?);
        usize::try_from(index).ok().and_then(|index| items.get(index)).cloned().ok_or_else(|| {
            self.wrong(&format!("index {index} is outside an array of {} items", items.len()))
        })
    }

    fn partition(self) -> Result<Value, String> {
        let (items, size) = (self.array(0)?, self.whole(1)?);
        match usize::try_from(size) {
            Ok(size) if size > 0 => {
                Ok(items.chunks(size).map(|chunk| Value::Array(chunk.to_vec())).collect())
            }
            _ => Err(self.unfit(1, "a number above 0")),
        }
    }

    fn range(self) -> Result<Value, String> {
        let [first, last, step] = [self.whole(0)?, self.whole(1)?, self.whole(2)?];
        if step == 0 {
            return Err(self.unfit(2, "a number other than 0"));
        }
        let (first, last, step) = (i128::from(first), i128::from(last), i128::from(step));
        let span = if step > 0 { last - first } else { first - last };
        let count = span.div_euclid(step.abs()) + 1;
        if count > i128::from(RANGE_ITEMS) {
            return Err(self.wrong(&format!("at most {RANGE_ITEMS} items are allowed")));
        }
        let items = (0..count.max(0)).map(|index| first + index * step);
        Ok(items.filter_map(|item| i64::try_from(item).ok()).collect())
    }

    fn decoded(self) -> Result<Value, String> {
        let bytes = STANDARD
            .decode(self.short_text(0)?)
            .map_err(|error| self.wrong(&format!("argument 1 is not Base64: {error}")))?;
        String::from_utf8(bytes)
            .map(Value::String)
            .map_err(|_| self.wrong("what argument 1 encodes is not UTF-8 text"))
    }

    fn hash(self) -> Result<Value, String> {
        let data = match &self.values[0] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.short(&data)?;
        let algorithm = self.text(1)?;
        hash::hex(algorithm, data.as_bytes())
            .map(Value::String)
            .ok_or_else(|| self.unfit(1, &format!("one of {}", hash::ALGORITHMS.join(", "))))
    }

    fn merged(self) -> Result<Value, String> {
        let object = |index: usize| -> Result<&Map<String, Value>, String> {
            self.values[index].as_object().ok_or_else(|| self.unfit(index, "an object"))
        };
        let (first, second) = (object(0)?, object(1)?);
        match &self.values[2] {
            Value::Bool(false) => {}
            Value::Bool(true) => return Err(self.wrong("deep merging is not supported; use false")),
            _ => return Err(self.unfit(2, "false")),
        }
        let mut merged = first.clone();
        merged.extend(second.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(Value::Object(merged))
    }

    fn random(self, draws: &Draws) -> Result<Value, String> {
        let (first, end) = (self.whole(0)?, self.whole(1)?);
        if end <= first {
            return Err(self.wrong(&format!("the end {end} must be above the start {first}")));
        }
        let unit = match self.values.get(2) {
            Some(_) => unit_from_seed(self.whole(2)? as f64),
            None => draws.unit(),
        };
        let span = i128::from(end) - i128::from(first);
        let offset = (unit * span as f64) as i128;
        let drawn = i128::from(first) + offset.min(span - 1);
        i64::try_from(drawn).map(Value::from).map_err(|_| self.wrong("the numbers are too large"))
    }

    fn parsed(self) -> Result<Value, String> {
        let text = self.text(0)?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(text)
            .map_err(|error| self.wrong(&format!("argument 1 is not JSON: {error}")))
    }
}

fn unique(items: &[Value]) -> Value {
    let mut seen = std::collections::HashSet::new();
    items.iter().filter(|item| seen.insert(item.to_string())).cloned().collect()
}
