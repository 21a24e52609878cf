//! The functions Step Functions adds to JSONata, and those of JSONata's own that would read a
//! clock or a random source.

use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Evaluator, EvaluatorError, HostFnResult};
use jsonata_core::value::JValue;

use super::scope::Scope;
use crate::hash;
use crate::random::{Draws, Env, unit_from_seed};

/// Functions given to an evaluator when an expression names them.
const OURS: &[&str] = &[
    "eval",
    "hash",
    "millis",
    "now",
    "parse",
    "partition",
    "random",
    "range",
    "shuffle",
    "toMillis",
    "uuid",
];

/// JSONata's own functions.
const BUILT_IN: &[&str] = &[
    "abs",
    "append",
    "assert",
    "average",
    "base64decode",
    "base64encode",
    "boolean",
    "ceil",
    "contains",
    "count",
    "decodeUrl",
    "decodeUrlComponent",
    "distinct",
    "each",
    "encodeUrl",
    "encodeUrlComponent",
    "error",
    "exists",
    "filter",
    "floor",
    "formatBase",
    "formatInteger",
    "formatNumber",
    "fromMillis",
    "join",
    "keys",
    "length",
    "lookup",
    "lowercase",
    "map",
    "match",
    "max",
    "merge",
    "min",
    "not",
    "number",
    "pad",
    "parseInteger",
    "power",
    "reduce",
    "replace",
    "reverse",
    "round",
    "sift",
    "single",
    "sort",
    "split",
    "spread",
    "sqrt",
    "string",
    "substring",
    "substringAfter",
    "substringBefore",
    "sum",
    "toMillis",
    "trim",
    "type",
    "uppercase",
    "zip",
];

/// Whether `$name` is a function. `$eval` is none: Step Functions leaves it out.
pub(crate) fn is_function(name: &str) -> bool {
    BUILT_IN.binary_search(&name).is_ok() || (name != "eval" && OURS.binary_search(&name).is_ok())
}

/// Whether `name` has to be registered with an evaluator that meets it.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.binary_search(&name).is_ok()
}

/// Gives `evaluator` the function `$name`.
pub(crate) fn register(
    evaluator: &mut Evaluator,
    name: &str,
    scope: &Scope<'_>,
) -> Result<(), EvaluatorError> {
    let (env, draws) = (scope.env, scope.draws.clone());
    let longest = scope.limits.sequence;
    match name {
        "eval" if scope.eval_allowed => Ok(()),
        "eval" => evaluator.register_fn_override(name, |_: &[JValue]| Err(not_a_function())),
        "hash" => evaluator.register_fn(name, hash_of),
        "millis" => evaluator.register_fn_override(name, move |_: &[JValue]| Ok(millis(env))),
        "now" => evaluator.register_fn_override(name, move |args: &[JValue]| now(env, args)),
        "parse" => evaluator.register_fn(name, parse),
        "partition" => evaluator.register_fn(name, partition),
        "random" => {
            evaluator.register_fn_override(name, move |args: &[JValue]| random(&draws, args))
        }
        "range" => evaluator.register_fn(name, move |args: &[JValue]| range(args, longest)),
        "shuffle" => {
            evaluator.register_fn_override(name, move |args: &[JValue]| shuffle(&draws, args))
        }
        "toMillis" => {
            evaluator.register_fn_override(name, move |args: &[JValue]| to_millis(env, args))
        }
        "uuid" => evaluator.register_fn(name, move |args: &[JValue]| {
            exactly("uuid", args, 0)?;
            Ok(JValue::string(draws.uuid()))
        }),
        _ => Ok(()),
    }
}

fn not_a_function() -> EvaluatorError {
    EvaluatorError::ReferenceError("T1006: Attempted to invoke a non-function".to_owned())
}

fn mismatch(position: usize, name: &str) -> EvaluatorError {
    EvaluatorError::TypeError(format!(
        "T0410: Argument {position} of function \"{name}\" does not match function signature"
    ))
}

fn thrown(message: impl Into<String>) -> EvaluatorError {
    EvaluatorError::EvaluationError(message.into())
}

fn exactly(name: &str, args: &[JValue], count: usize) -> Result<(), EvaluatorError> {
    if args.len() > count { Err(mismatch(count + 1, name)) } else { Ok(()) }
}

fn number(name: &str, args: &[JValue], index: usize) -> Result<f64, EvaluatorError> {
    match args.get(index) {
        Some(JValue::Number(number)) if number.is_finite() => Ok(*number),
        _ => Err(mismatch(index + 1, name)),
    }
}

fn millis(env: Env) -> JValue {
    JValue::Number(env.now.0 as f64)
}

fn now(env: Env, args: &[JValue]) -> HostFnResult {
    exactly("now", args, 2)?;
    if args.iter().all(JValue::is_undefined) {
        return Ok(JValue::string(env.now.to_rfc3339()));
    }
    // A picture and a time zone mean to `$now` what they mean to `$fromMillis`.
    let mut given = vec![AstNode::Number(env.now.0 as f64)];
    for (index, arg) in args.iter().enumerate() {
        given.push(text_or_nothing("now", index, arg)?);
    }
    call_built_in("fromMillis", given)
}

/// What a picture leaves out before its first part, such as the day of a time, comes from now.
fn to_millis(env: Env, args: &[JValue]) -> HostFnResult {
    let mut given = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        given.push(text_or_nothing("toMillis", index, arg)?);
    }
    if let [AstNode::String(text), AstNode::String(picture), ..] = &mut given[..] {
        let missing = missing_parts(picture);
        if !missing.is_empty() {
            let now = vec![AstNode::Number(env.now.0 as f64), AstNode::String(missing.clone())];
            if let JValue::String(now) = call_built_in("fromMillis", now)? {
                text.insert_str(0, &now);
                picture.insert_str(0, &missing);
            }
        }
    }
    call_built_in("toMillis", given)
}

/// A picture of the parts that stand before the first one of `picture`, year first.
fn missing_parts(picture: &str) -> String {
    const PARTS: [(&[char], &str); 7] = [
        (&['Y', 'X'], "[Y0001]-"),
        (&['M', 'd', 'W', 'x', 'w'], "[M01]-"),
        (&['D', 'F'], "[D01]-"),
        (&['H', 'h', 'P'], "[H01]-"),
        (&['m'], "[m01]-"),
        (&['s'], "[s01]-"),
        (&['f'], ""),
    ];
    let mut named = Vec::new();
    let mut rest = picture;
    while let Some(start) = rest.find('[') {
        rest = &rest[start + 1..];
        match rest.strip_prefix('[') {
            Some(after) => rest = after,
            None => named.extend(rest.trim_start().chars().next()),
        }
    }
    let has = |letters: &[char]| named.iter().any(|part| letters.contains(part));
    match PARTS.iter().position(|(letters, _)| has(letters)) {
        Some(first) => PARTS[..first].iter().map(|(_, part)| *part).collect(),
        None => String::new(),
    }
}

fn text_or_nothing(name: &str, index: usize, value: &JValue) -> Result<AstNode, EvaluatorError> {
    match value {
        JValue::String(text) => Ok(AstNode::String(text.to_string())),
        JValue::Undefined => Ok(AstNode::Undefined),
        _ => Err(mismatch(index + 1, name)),
    }
}

fn call_built_in(name: &str, args: Vec<AstNode>) -> HostFnResult {
    let call = AstNode::Function { name: name.to_owned(), args, is_builtin: true };
    Evaluator::new().evaluate(&call, &JValue::Undefined)
}

fn random(draws: &Draws, args: &[JValue]) -> HostFnResult {
    exactly("random", args, 1)?;
    match args {
        [] => Ok(JValue::Number(draws.unit())),
        _ => number("random", args, 0).map(|seed| JValue::Number(unit_from_seed(seed))),
    }
}

fn shuffle(draws: &Draws, args: &[JValue]) -> HostFnResult {
    exactly("shuffle", args, 1)?;
    match args.first() {
        Some(JValue::Array(items)) => {
            let mut items: Vec<JValue> = items.iter().cloned().collect();
            for last in (1..items.len()).rev() {
                let other = (draws.unit() * (last + 1) as f64) as usize;
                items.swap(last, other);
            }
            Ok(JValue::array(items))
        }
        Some(JValue::Undefined) | None => Ok(JValue::Undefined),
        Some(single) => Ok(JValue::array(vec![single.clone()])),
    }
}

fn partition(args: &[JValue]) -> HostFnResult {
    exactly("partition", args, 2)?;
    let items = match args.first() {
        Some(JValue::Undefined) | None => return Ok(JValue::Undefined),
        Some(JValue::Array(items)) => items.iter().cloned().collect(),
        Some(single) => vec![single.clone()],
    };
    let size = number("partition", args, 1)?;
    if size < 1.0 {
        return Err(thrown("The chunk size of $partition must be at least 1"));
    }
    // Half a unit of an array makes no sense; AWS rounds down.
    let size = size.min(items.len().max(1) as f64) as usize;
    let chunks = items.chunks(size).map(|chunk| JValue::array(chunk.to_vec())).collect();
    Ok(JValue::array(chunks))
}

fn range(args: &[JValue], longest: usize) -> HostFnResult {
    exactly("range", args, 3)?;
    let [first, last, step] =
        [number("range", args, 0)?, number("range", args, 1)?, number("range", args, 2)?];
    if step == 0.0 {
        return Err(thrown("The step of $range must not be 0"));
    }
    let count = ((last - first) / step).floor() + 1.0;
    if count < 1.0 {
        return Ok(JValue::array(Vec::new()));
    }
    if count > longest as f64 {
        return Err(thrown(format!(
            "D2014: The size of the sequence allocated by $range must not exceed {longest}"
        )));
    }
    let items = (0..count as usize).map(|index| JValue::Number(first + index as f64 * step));
    Ok(JValue::array(items.collect()))
}

fn hash_of(args: &[JValue]) -> HostFnResult {
    exactly("hash", args, 2)?;
    let text: Rc<str> = match args.first() {
        Some(JValue::Undefined) | None => return Ok(JValue::Undefined),
        Some(JValue::String(text)) => Rc::clone(text),
        Some(value) => value.to_json_string().map_err(|error| thrown(error.to_string()))?.into(),
    };
    let algorithm = match args.get(1) {
        // LocalStack and AWS agree on this default.
        Some(JValue::Undefined) | None => "SHA-256",
        Some(JValue::String(name)) => name,
        Some(_) => return Err(mismatch(2, "hash")),
    };
    hash::hex(algorithm, text.as_bytes()).map(JValue::string).ok_or_else(|| {
        thrown(format!(
            "The algorithm '{algorithm}' of $hash is none of {}",
            hash::ALGORITHMS.join(", ")
        ))
    })
}

fn parse(args: &[JValue]) -> HostFnResult {
    exactly("parse", args, 1)?;
    match args.first() {
        Some(JValue::Undefined) | None => Ok(JValue::Undefined),
        Some(JValue::String(text)) => serde_json::from_str(text)
            .map_err(|error| thrown(format!("The argument of $parse is not JSON: {error}"))),
        Some(_) => Err(mismatch(1, "parse")),
    }
}
