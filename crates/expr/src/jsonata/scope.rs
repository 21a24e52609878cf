//! What an expression's variables stand for while it is evaluated.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jsonata_core::value::{JMap, JValue};
use serde_json::Value;

use super::convert::to_evaluator;
use super::error::InvalidJson;
use super::names::Need;
use crate::random::{Draws, Env};

/// Bounds of one evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvalLimits {
    /// Nested evaluations.
    pub depth: usize,
    /// Calls, iterations and units of data built.
    pub steps: u64,
    /// Items of one sequence.
    pub sequence: usize,
    /// Bytes of the result as JSON, roughly.
    pub bytes: usize,
    /// Nested arrays and objects of the result. serde_json reads back 127.
    pub result_depth: usize,
}

impl EvalLimits {
    pub const DEFAULT: EvalLimits = EvalLimits {
        depth: 10_000,
        steps: 20_000_000,
        sequence: 1_000_000,
        bytes: 16 * 1024 * 1024,
        result_depth: 120,
    };
}

impl Default for EvalLimits {
    fn default() -> Self {
        EvalLimits::DEFAULT
    }
}

/// `$states` has no more.
const MEMBERS: usize = 4;

/// Named values for expressions, each converted to the evaluator's form when an expression first
/// names it, and once. A scope belongs to the thread that made it.
pub struct Scope<'a> {
    pub(crate) env: Env,
    pub(crate) draws: Draws,
    pub(crate) limits: EvalLimits,
    bindings: Vec<Binding<'a>>,
    input: Option<Binding<'a>>,
    /// Units of data converted so far; see [`to_evaluator`].
    size: Cell<u64>,
    pub(crate) eval_allowed: bool,
}

struct Binding<'a> {
    name: &'a str,
    source: Source<'a>,
    converted: RefCell<Converted>,
}

enum Source<'a> {
    Value(&'a Value),
    /// An object whose members are given one by one.
    Members(Vec<(&'a str, &'a Value)>),
    /// Given in the evaluator's form.
    Ready,
}

#[derive(Default)]
struct Converted {
    whole: Option<JValue>,
    /// An object that holds only the members asked for so far.
    part: Option<Rc<JMap>>,
}

impl<'a> Scope<'a> {
    #[must_use]
    pub fn new(env: Env) -> Scope<'a> {
        Scope {
            env,
            draws: Draws::new(env.seed),
            limits: EvalLimits::DEFAULT,
            bindings: Vec::new(),
            input: None,
            size: Cell::new(0),
            eval_allowed: false,
        }
    }

    /// Sets the bounds of evaluations in this scope.
    pub fn limits(&mut self, limits: EvalLimits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Lets expressions use `$eval`, which Step Functions leaves out.
    pub fn allow_eval(&mut self) {
        self.eval_allowed = true;
    }

    /// Binds `$name`. A later binding of the same name takes its place.
    pub fn bind(&mut self, name: &'a str, value: &'a Value) {
        self.put(name, Source::Value(value), Converted::default());
    }

    /// Binds `$name.member`: `$name` is an object of the members bound this way. What no
    /// expression reads is never converted.
    pub fn bind_member(&mut self, name: &'a str, member: &'a str, value: &'a Value) {
        let existing = self.bindings.iter_mut().find(|binding| binding.name == name);
        if let Some(Binding { source: Source::Members(members), converted, .. }) = existing {
            members.retain(|(known, _)| *known != member);
            members.push((member, value));
            *converted.borrow_mut() = Converted::default();
        } else {
            let mut members = Vec::with_capacity(MEMBERS);
            members.push((member, value));
            self.put(name, Source::Members(members), Converted::default());
        }
    }

    /// Binds `$name` to JSON text, which is read straight into the evaluator's form.
    ///
    /// # Errors
    /// When the bytes are not JSON.
    pub fn bind_json(&mut self, name: &'a str, json: &[u8]) -> Result<(), InvalidJson> {
        let value = serde_json::from_slice::<JValue>(json)
            .map_err(|error| InvalidJson { name: name.to_owned(), error })?;
        self.size.set(self.size.get() + json.len() as u64);
        self.put(name, Source::Ready, Converted { whole: Some(value), part: None });
        Ok(())
    }

    /// Sets what `$` and `$$` stand for at the top of an expression. AWS leaves it undefined.
    pub fn set_input(&mut self, value: &'a Value) {
        self.input =
            Some(Binding { name: "", source: Source::Value(value), converted: RefCell::default() });
    }

    fn put(&mut self, name: &'a str, source: Source<'a>, converted: Converted) {
        self.bindings.retain(|binding| binding.name != name);
        self.bindings.push(Binding { name, source, converted: RefCell::new(converted) });
    }

    /// Whether `$name` is bound here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.bindings.iter().any(|binding| binding.name == name)
    }

    pub(crate) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    pub(crate) fn root(&self) -> JValue {
        self.input.as_ref().map_or(JValue::Undefined, |input| self.whole(input))
    }

    /// Units of data in the evaluator's form.
    pub(crate) fn size(&self) -> u64 {
        self.size.get()
    }

    /// The JSON value at a path of member names, or nothing when it leads anywhere else than
    /// through objects.
    pub(crate) fn plain(&self, name: &str, path: &[String]) -> Plain<'a> {
        let Some(binding) = self.bindings.iter().find(|binding| binding.name == name) else {
            return Plain::Undefined;
        };
        let (mut at, path) = match (&binding.source, path.split_first()) {
            (Source::Value(value), _) => (*value, path),
            (Source::Members(members), Some((first, rest))) => {
                match members.iter().find(|(member, _)| *member == first.as_str()) {
                    Some((_, value)) => (*value, rest),
                    None => return Plain::Undefined,
                }
            }
            _ => return Plain::Elsewhere,
        };
        for name in path {
            match at {
                Value::Object(members) => match members.get(name) {
                    Some(next) => at = next,
                    None => return Plain::Undefined,
                },
                Value::Array(_) => return Plain::Elsewhere,
                _ => return Plain::Undefined,
            }
        }
        Plain::Value(at)
    }

    pub(crate) fn value(&self, name: &str, need: &Need) -> Option<JValue> {
        let binding = self.bindings.iter().find(|binding| binding.name == name)?;
        Some(match need {
            Need::Whole => self.whole(binding),
            Need::Members(names) => {
                if binding.converted.borrow().whole.is_none() && is_object(&binding.source) {
                    self.members(binding, names.iter().map(String::as_str))
                } else {
                    self.whole(binding)
                }
            }
        })
    }

    fn whole(&self, binding: &Binding<'_>) -> JValue {
        if let Some(value) = &binding.converted.borrow().whole {
            return value.clone();
        }
        let value = match &binding.source {
            Source::Value(value) => self.convert(value),
            Source::Members(members) => {
                self.members(binding, members.iter().map(|(name, _)| *name))
            }
            Source::Ready => JValue::Undefined,
        };
        binding.converted.borrow_mut().whole = Some(value.clone());
        value
    }

    fn members<'n>(&self, binding: &Binding<'_>, names: impl Iterator<Item = &'n str>) -> JValue {
        let mut converted = binding.converted.borrow_mut();
        let part = converted.part.get_or_insert_default();
        for name in names {
            if part.contains_key(name) {
                continue;
            }
            if let Some(value) = member(&binding.source, name) {
                let value = self.convert(value);
                Rc::make_mut(part).insert(name.to_owned(), value);
            }
        }
        JValue::Object(Rc::clone(part))
    }

    fn convert(&self, value: &Value) -> JValue {
        let mut size = self.size.get();
        let value = to_evaluator(value, &mut size);
        self.size.set(size);
        value
    }
}

/// What [`Scope::plain`] finds.
pub(crate) enum Plain<'a> {
    Value(&'a Value),
    Undefined,
    /// The evaluator has to look.
    Elsewhere,
}

fn is_object(source: &Source<'_>) -> bool {
    matches!(source, Source::Value(Value::Object(_)) | Source::Members(_))
}

fn member<'a>(source: &Source<'a>, name: &str) -> Option<&'a Value> {
    match source {
        Source::Value(value) => value.get(name),
        Source::Members(members) => {
            members.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        }
        Source::Ready => None,
    }
}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.bindings.iter().map(|binding| binding.name).collect();
        f.debug_struct("Scope").field("env", &self.env).field("bindings", &names).finish()
    }
}
