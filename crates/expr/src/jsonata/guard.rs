//! Guards around the evaluator's functions whose cost lies in the value of an argument and not in
//! its size: `$pad('x', 1e12)` would exhaust memory, `$fromMillis(0, '[Y,64]')` would panic.
//!
//! A call keeps its form, for the evaluator fills a missing argument from the context; its
//! arguments pass through a guard. Where such a function is a value, a guarded one takes its place.

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, HostFnResult};
use jsonata_core::value::JValue;

use super::scope::EvalLimits;
use super::tree::for_each_child_mut;

/// Functions that have a guard.
const GUARDED: [&str; 7] =
    ["formatInteger", "fromMillis", "join", "now", "pad", "replace", "toMillis"];

/// Guards' names begin with a character that no expression can write in a name.
const WIDTH: &str = "\u{1}width";
const PICTURE: &str = "\u{1}picture";
const ROMAN: &str = "\u{1}roman";
const VALUE: &str = "\u{1}value-";

/// Digits a part of a date may be asked to have.
const DIGITS: u32 = 18;
/// Bytes of a picture.
const PICTURE_BYTES: usize = 1_000;
/// Numbers that may be written in Roman numerals, which take a letter a thousand.
const LARGEST_ROMAN: f64 = 1e8;

/// Puts guards into `tree`; returns the names of those it needs. Names that the expression binds
/// itself are none of the evaluator's functions.
pub(super) fn guard(tree: &mut AstNode, bound: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut used = Vec::new();
    visit(tree, bound, &mut used);
    used.sort();
    used.dedup();
    used
}

fn visit(node: &mut AstNode, bound: &dyn Fn(&str) -> bool, used: &mut Vec<String>) {
    for_each_child_mut(node, &mut |child| visit(child, bound, used));
    match node {
        AstNode::Variable(name) if GUARDED.contains(&name.as_str()) && !bound(name) => {
            *name = value_of(name, used);
        }
        AstNode::Function { name, args, is_builtin: true } if !bound(name) => {
            guard_call(name, args, used);
        }
        _ => {}
    }
}

fn value_of(name: &str, used: &mut Vec<String>) -> String {
    let guarded = format!("{VALUE}{name}");
    used.push(guarded.clone());
    guarded
}

fn guard_call(name: &mut String, args: &mut Vec<AstNode>, used: &mut Vec<String>) {
    if !GUARDED.contains(&name.as_str()) {
        return;
    }
    if args.contains(&AstNode::Placeholder) {
        *name = value_of(name, used);
        return;
    }
    let mut wrap = |args: &mut [AstNode], guard: &str| {
        used.push(guard.to_owned());
        for arg in args {
            let inner = std::mem::replace(arg, AstNode::Null);
            *arg =
                AstNode::Function { name: guard.to_owned(), args: vec![inner], is_builtin: true };
        }
    };
    match name.as_str() {
        "pad" => wrap(args, WIDTH),
        "fromMillis" | "now" => wrap(args, PICTURE),
        "toMillis" => {
            // Ours does not know the context.
            if args.is_empty() {
                args.push(AstNode::Variable(String::new()));
            }
            wrap(args, PICTURE);
        }
        "formatInteger" => {
            let safe = matches!(args.last(), Some(AstNode::String(picture)) if !is_roman(picture));
            if !safe {
                if args.len() == 1 {
                    args.insert(0, AstNode::Variable(String::new()));
                }
                wrap(args, ROMAN);
            }
        }
        _ => {}
    }
}

/// Gives `evaluator` the guards that [`guard`] named.
pub(super) fn install(
    evaluator: &mut Evaluator,
    names: &[String],
    limits: EvalLimits,
) -> Result<(), EvaluatorError> {
    for name in names {
        match name.as_str() {
            WIDTH => evaluator.register_fn(name, move |args: &[JValue]| {
                args.iter().try_for_each(|arg| check_width(arg, limits))?;
                Ok(pass(args))
            }),
            PICTURE => evaluator.register_fn(name, |args: &[JValue]| {
                args.iter().try_for_each(check_picture)?;
                Ok(pass(args))
            }),
            ROMAN => evaluator.register_fn(name, |args: &[JValue]| {
                args.iter().try_for_each(check_roman)?;
                Ok(pass(args))
            }),
            value => {
                let function = value.trim_start_matches(VALUE).to_owned();
                evaluator.register_fn(name, move |args: &[JValue]| call(&function, args, limits))
            }
        }?;
    }
    Ok(())
}

fn pass(args: &[JValue]) -> JValue {
    args.first().cloned().unwrap_or(JValue::Undefined)
}

/// A guarded function as a value: it is given its arguments and no context.
fn call(name: &str, args: &[JValue], limits: EvalLimits) -> HostFnResult {
    let arity = match name {
        "pad" | "fromMillis" => 3,
        "replace" => 4,
        _ => 2,
    };
    let args = &args[..args.len().min(arity)];
    match name {
        "pad" => args.iter().try_for_each(|arg| check_width(arg, limits))?,
        "fromMillis" | "toMillis" | "now" => args.iter().try_for_each(check_picture)?,
        "formatInteger" => args.iter().try_for_each(check_roman)?,
        "join" | "replace" => check_product(args, limits)?,
        _ => {}
    }
    let mut context = Context::new();
    let mut given = Vec::with_capacity(args.len());
    for (index, arg) in args.iter().enumerate() {
        let variable = format!("\u{1}{index}");
        context.bind(variable.clone(), arg.clone());
        given.push(AstNode::Variable(variable));
    }
    let call = AstNode::Function { name: name.to_owned(), args: given, is_builtin: true };
    Evaluator::with_context(context).evaluate(&call, &JValue::Null)
}

fn refuse(message: String) -> EvaluatorError {
    EvaluatorError::EvaluationError(format!("{}{message}", super::meter::LIMIT))
}

fn check_width(value: &JValue, limits: EvalLimits) -> Result<(), EvaluatorError> {
    match value {
        JValue::Number(width) if width.abs() > limits.bytes as f64 => {
            Err(refuse(format!("The width {width} is larger than {} bytes", limits.bytes)))
        }
        _ => Ok(()),
    }
}

fn check_picture(value: &JValue) -> Result<(), EvaluatorError> {
    let JValue::String(picture) = value else { return Ok(()) };
    if !picture.contains('[') {
        return Ok(());
    }
    if picture.len() > PICTURE_BYTES {
        return Err(refuse(format!("A picture is longer than {PICTURE_BYTES} bytes")));
    }
    let parts = picture.split('[').skip(1).filter_map(|part| part.split(']').next());
    // The evaluator takes the first letter off a part without looking at what it is.
    let named = |part: &str| {
        part.trim_start().chars().next().is_none_or(|first| first.is_ascii() && first != ',')
    };
    if !parts.clone().all(named) {
        return Err(refuse("A picture's part does not begin with a letter".to_owned()));
    }
    let too_wide = parts.filter_map(|part| part.rsplit_once(',')).any(|(_, widths)| {
        widths
            .split(|character: char| !character.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .any(|digits| digits.parse::<u32>().map_or(true, |width| width > DIGITS))
    });
    if too_wide {
        return Err(refuse(format!("A picture's part is wider than {DIGITS} digits")));
    }
    Ok(())
}

fn is_roman(picture: &str) -> bool {
    picture.trim_start().starts_with(['i', 'I'])
}

fn check_roman(value: &JValue) -> Result<(), EvaluatorError> {
    match value {
        JValue::Number(number) if number.abs() > LARGEST_ROMAN => Err(refuse(format!(
            "The number {number} is too large for Roman numerals, or its picture is computed"
        ))),
        _ => Ok(()),
    }
}

/// The text in `args` may be put between, or in place of, any two parts of the first.
fn check_product(args: &[JValue], limits: EvalLimits) -> Result<(), EvaluatorError> {
    let text = |value: &JValue| value.as_str().map_or(0, str::len) as u64;
    let places = match args.first() {
        Some(JValue::Array(items)) => items.len() as u64,
        Some(value) => text(value),
        None => 0,
    };
    let inserted = args.iter().skip(1).map(text).max().unwrap_or(0);
    if places.saturating_mul(inserted) > limits.bytes as u64 {
        return Err(refuse(format!("A text grows larger than {} bytes", limits.bytes)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures() {
        for picture in
            ["[Y0001]-[M01]", "[H#1]:[m01]", "[FNn,3-3]", "a,99999[Y]", "[f,1-18]", "[Y9,999,*]"]
        {
            assert!(check_picture(&JValue::string(picture)).is_ok(), "{picture}");
        }
        for picture in ["[Y,64]", "[H,1-99999999999999999999]", "[Y,19-*]"] {
            assert!(check_picture(&JValue::string(picture)).is_err(), "{picture}");
        }
    }
}
