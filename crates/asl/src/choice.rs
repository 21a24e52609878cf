//! The comparisons of a Choice state in JSONPath mode.

use std::cmp::Ordering;

use serde_json::Value;
use stepbus_expr::{Path, Roots};
use stepbus_model::Timestamp;

use crate::definition::fields::{Fields, kind_of, only_for};
use crate::definition::values::timestamp;
use crate::diagnostic::{At, Problems, closest};
use crate::expression::{ContextUse, Frame};
use crate::fault::Fault;
use crate::paths::{find, reads};

/// A choice rule's test.
#[derive(Debug)]
pub(crate) struct Comparison {
    test: Test,
    context: ContextUse,
}

#[derive(Debug)]
enum Test {
    And(Vec<Test>),
    Or(Vec<Test>),
    Not(Box<Test>),
    Compare { variable: Path, operator: Operator, operand: Operand },
}

#[derive(Debug)]
enum Operand {
    Value(Value),
    Path(Path),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    String,
    Numeric,
    Boolean,
    Timestamp,
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Equals(Kind),
    Order(Kind, Order),
    Matches,
    Is(Is),
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Is {
    Present,
    Null,
    Kind(Kind),
}

const ORDERS: [(&str, Order); 4] = [
    ("LessThanEquals", Order::LessOrEqual),
    ("LessThan", Order::Less),
    ("GreaterThanEquals", Order::GreaterOrEqual),
    ("GreaterThan", Order::Greater),
];
const KINDS: [(&str, Kind); 4] = [
    ("String", Kind::String),
    ("Numeric", Kind::Numeric),
    ("Boolean", Kind::Boolean),
    ("Timestamp", Kind::Timestamp),
];
const OTHERS: [(&str, Operator); 7] = [
    ("StringMatches", Operator::Matches),
    ("IsPresent", Operator::Is(Is::Present)),
    ("IsNull", Operator::Is(Is::Null)),
    ("IsString", Operator::Is(Is::Kind(Kind::String))),
    ("IsNumeric", Operator::Is(Is::Kind(Kind::Numeric))),
    ("IsBoolean", Operator::Is(Is::Kind(Kind::Boolean))),
    ("IsTimestamp", Operator::Is(Is::Kind(Kind::Timestamp))),
];

/// The operator of that name, and whether its operand is a path.
fn operator(name: &str) -> Option<(Operator, bool)> {
    if let Some((_, operator)) = OTHERS.iter().find(|(known, _)| *known == name) {
        return Some((*operator, false));
    }
    let (plain, path) = name.strip_suffix("Path").map_or((name, false), |plain| (plain, true));
    let (kind, rest) =
        KINDS.iter().find_map(|(text, kind)| Some((*kind, plain.strip_prefix(text)?)))?;
    if rest == "Equals" {
        return Some((Operator::Equals(kind), path));
    }
    let (_, order) = ORDERS.iter().find(|(text, _)| *text == rest)?;
    (kind != Kind::Boolean).then_some((Operator::Order(kind, *order), path))
}

fn operator_names() -> Vec<String> {
    let mut names: Vec<String> = OTHERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    for (kind, _) in KINDS {
        for (order, _) in ORDERS.iter().chain(&[("Equals", Order::Less)]) {
            let name = format!("{kind}{order}");
            if operator(&name).is_some() {
                names.extend([format!("{name}Path"), name]);
            }
        }
    }
    names
}

impl Comparison {
    /// Reads a rule; only a top one may have Next, Assign and OutputPath's kin.
    pub(crate) fn parse(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Comparison> {
        let test = test(fields, true, problems)?;
        let mut context = ContextUse::None;
        test.for_each_path(&mut |path| context = context.max(reads(path, &fields.at, problems)));
        Some(Comparison { test, context })
    }

    pub(crate) fn holds(&self, frame: &Frame<'_>) -> Result<bool, Fault> {
        frame.with_roots(self.context, |roots| self.test.holds(roots))
    }
}

fn test(fields: &Fields<'_>, top: bool, problems: &mut Problems<'_>) -> Option<Test> {
    let mut found = Vec::new();
    for (name, value) in fields.map {
        let at = fields.at(name);
        match name.as_str() {
            "And" | "Or" => found.push(several(name, value, &at, problems)),
            "Not" => {
                let inner = Fields::of(value, at, problems);
                let inner = inner.and_then(|inner| test(&inner, false, problems));
                found.push(inner.map(|inner| Test::Not(Box::new(inner))));
            }
            "Variable" | "Comment" => {}
            "Next" | "Assign" if top => {}
            _ => match operator(name) {
                Some((operator, path)) => {
                    found.push(comparison(fields, name, operator, path, problems));
                }
                None if top && matches!(name.as_str(), "Condition" | "Output") => {
                    refuse_jsonata(fields, name, problems);
                }
                None => refuse(fields, name, problems),
            },
        }
    }
    match found.len() {
        1 => found.pop().flatten(),
        // What was meant is told already.
        0 if top && fields.has("Condition") => None,
        0 => {
            problems.schema(&fields.at, "A choice rule must have exactly one comparison operator");
            None
        }
        _ => {
            problems.schema(&fields.at, "A choice rule must have only one comparison operator");
            None
        }
    }
}

fn refuse_jsonata(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) {
    let at = At { pointer: fields.at(name).pointer, location: fields.at.location.clone() };
    problems.schema(&at, only_for(name, "JSONPath", "JSONata")).hint(
        "compare with `Variable` and an operator, or set the state's `QueryLanguage: JSONata`",
    );
}

/// Whether a rule of JSONPath mode may have a field of that name.
pub(crate) fn is_operator(name: &str) -> bool {
    operator(name).is_some()
}

fn refuse(fields: &Fields<'_>, name: &str, problems: &mut Problems<'_>) {
    let names = operator_names();
    let near = closest(
        name,
        names.iter().map(String::as_str).chain(["Variable", "And", "Or", "Not", "Next"]),
    );
    let hint = near.map(|near| format!("unknown field `{name}`; did you mean `{near}`?"));
    let at = At { pointer: fields.at(name).pointer, location: fields.at.location.clone() };
    problems.schema(&at, format!("Field '{name}' is not supported")).hint = hint;
}

fn several(name: &str, value: &Value, at: &At, problems: &mut Problems<'_>) -> Option<Test> {
    let Value::Array(items) = value else {
        let message = format!("Expected value of type Array, but found {}", kind_of(value));
        problems.schema(at, message);
        return None;
    };
    if items.is_empty() {
        problems.schema(at, "Value cannot be empty");
    }
    let tests: Vec<Option<Test>> = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let inner = Fields::of(item, at.item(index), problems)?;
            test(&inner, false, problems)
        })
        .collect();
    let tests = tests.into_iter().collect::<Option<Vec<_>>>()?;
    Some(if name == "And" { Test::And(tests) } else { Test::Or(tests) })
}

fn comparison(
    fields: &Fields<'_>,
    name: &str,
    operator: Operator,
    path: bool,
    problems: &mut Problems<'_>,
) -> Option<Test> {
    let value = fields.get(name)?;
    let at = fields.at(name);
    let operand = if path {
        fields
            .text(name, problems)
            .and_then(|text| read_path(text, &at, problems))
            .map(Operand::Path)
    } else if fits(operator, value) {
        Some(Operand::Value(value.clone()))
    } else {
        let needed = match operator {
            Operator::Equals(Kind::String)
            | Operator::Order(Kind::String, _)
            | Operator::Matches => "String",
            Operator::Equals(Kind::Numeric) | Operator::Order(Kind::Numeric, _) => "Number",
            Operator::Equals(Kind::Timestamp) | Operator::Order(Kind::Timestamp, _) => "Timestamp",
            _ => "Boolean",
        };
        let message = match needed {
            "Timestamp" => "String does not match RFC3339 timestamp".to_owned(),
            needed => format!("Expected value of type {needed}, but found {}", kind_of(value)),
        };
        problems.schema(&at, message);
        None
    };
    if !fields.has("Variable") {
        problems.schema(&fields.at, "These fields are required: [Variable]");
    }
    let variable = fields.text("Variable", problems)?;
    let variable = read_path(variable, &fields.at("Variable"), problems);
    Some(Test::Compare { variable: variable?, operator, operand: operand? })
}

fn read_path(text: &str, at: &At, problems: &mut Problems<'_>) -> Option<Path> {
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(error) => {
            problems.schema(at, "Value is not a valid JSONPath").hint(error.to_string());
            None
        }
    }
}

fn fits(operator: Operator, operand: &Value) -> bool {
    match operator {
        Operator::Equals(kind) | Operator::Order(kind, _) => is_kind(operand, kind),
        Operator::Matches => operand.is_string(),
        Operator::Is(_) => operand.is_boolean(),
    }
}

fn is_kind(value: &Value, kind: Kind) -> bool {
    match kind {
        Kind::String => value.is_string(),
        Kind::Numeric => value.is_number(),
        Kind::Boolean => value.is_boolean(),
        Kind::Timestamp => value.as_str().and_then(timestamp).is_some(),
    }
}

impl Test {
    fn for_each_path<'t>(&'t self, visit: &mut dyn FnMut(&'t Path)) {
        match self {
            Test::And(tests) | Test::Or(tests) => {
                for test in tests {
                    test.for_each_path(visit);
                }
            }
            Test::Not(test) => test.for_each_path(visit),
            Test::Compare { variable, operand, .. } => {
                visit(variable);
                if let Operand::Path(path) = operand {
                    visit(path);
                }
            }
        }
    }

    fn holds(&self, roots: Roots<'_>) -> Result<bool, Fault> {
        match self {
            Test::And(tests) => {
                for test in tests {
                    if !test.holds(roots)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::Or(tests) => {
                for test in tests {
                    if test.holds(roots)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Test::Not(test) => Ok(!test.holds(roots)?),
            Test::Compare { variable, operator, operand } => {
                compare(variable, *operator, operand, roots)
            }
        }
    }
}

fn compare(
    variable: &Path,
    operator: Operator,
    operand: &Operand,
    roots: Roots<'_>,
) -> Result<bool, Fault> {
    let found = find(variable, roots).map_err(|error| Fault::runtime(error.to_string()))?;
    if let (Operator::Is(is), Operand::Value(wanted)) = (operator, operand) {
        let wanted = wanted == &Value::Bool(true);
        return match (is, &found) {
            (Is::Present, found) => Ok(found.is_some() == wanted),
            (_, None) => Err(missing(variable)),
            (Is::Null, Some(value)) => Ok(value.is_null() == wanted),
            (Is::Kind(kind), Some(value)) => Ok(is_kind(value, kind) == wanted),
        };
    }
    let Some(left) = found else { return Err(missing(variable)) };
    let right = match operand {
        Operand::Value(value) => std::borrow::Cow::Borrowed(value),
        Operand::Path(path) => find(path, roots)
            .map_err(|error| Fault::runtime(error.to_string()))?
            .ok_or_else(|| missing(path))?,
    };
    Ok(match operator {
        Operator::Equals(kind) => ordering(&left, &right, kind) == Some(Ordering::Equal),
        Operator::Order(kind, order) => {
            ordering(&left, &right, kind).is_some_and(|found| order.admits(found))
        }
        Operator::Matches => match (left.as_str(), right.as_str()) {
            (Some(text), Some(pattern)) => matches(text, pattern),
            _ => false,
        },
        Operator::Is(_) => false,
    })
}

fn missing(path: &Path) -> Fault {
    Fault::runtime(format!(
        "Invalid path '{0}': The choice state's condition path references an invalid value.",
        path.text()
    ))
}

impl Order {
    fn admits(self, found: Ordering) -> bool {
        match self {
            Order::Less => found.is_lt(),
            Order::LessOrEqual => found.is_le(),
            Order::Greater => found.is_gt(),
            Order::GreaterOrEqual => found.is_ge(),
        }
    }
}

/// How two values of a kind stand to each other; nothing when one is not of that kind.
fn ordering(left: &Value, right: &Value, kind: Kind) -> Option<Ordering> {
    match kind {
        Kind::String => Some(left.as_str()?.cmp(right.as_str()?)),
        Kind::Boolean => Some(left.as_bool()?.cmp(&right.as_bool()?)),
        Kind::Timestamp => Some(moment(left)?.cmp(&moment(right)?)),
        Kind::Numeric => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
        },
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(timestamp)
}

/// StringMatches: `*` stands for any characters, `\*` and `\\` for themselves.
fn matches(text: &str, pattern: &str) -> bool {
    let mut pieces: Vec<String> = vec![String::new()];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => pieces.push(String::new()),
            '\\' => {
                let escaped = characters.next().unwrap_or('\\');
                pieces.last_mut().expect("never empty").push(escaped);
            }
            other => pieces.last_mut().expect("never empty").push(other),
        }
    }
    let (first, rest) = pieces.split_first().expect("never empty");
    let Some((last, middle)) = rest.split_last() else { return text == first };
    let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match left.find(piece.as_str()) {
            Some(start) => left = &left[start + piece.len()..],
            None => return false,
        }
    }
    left.ends_with(last.as_str())
}
