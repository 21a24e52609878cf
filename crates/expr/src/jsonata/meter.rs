//! Counting what an evaluation does, so that a runaway expression ends with an error.
//!
//! The evaluator bounds depth and the length of sequences, but not its steps. So an expression
//! whose cost is not bounded by its text and its data (see [`super::cost`]) is evaluated in a
//! metered form: a copy of its tree in which calls of the functions here stand wherever something
//! repeats, a value is kept for later, or work grows with the size of a value. Each call takes
//! what that costs from a budget of steps.
//!
//! One step is about one value visited or eight bytes copied.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Evaluator, EvaluatorError, HostFnResult};
use jsonata_core::value::{JValue, with_stack};

use super::scope::EvalLimits;
use super::tree::for_each_child;

/// The names begin with a character that no expression can write in a name.
pub(super) const TICK: &str = "\u{1}tick";
pub(super) const KEEP: &str = "\u{1}keep";
pub(super) const PASS: &str = "\u{1}pass";
pub(super) const READ: &str = "\u{1}read";
pub(super) const SPAN: &str = "\u{1}span";
pub(super) const BIND: &str = "\u{1}bind";
pub(super) const FOLD: &str = "\u{1}fold";
pub(super) const WALK: &str = "\u{1}walk";
pub(super) const COPY: &str = "\u{1}copy";
pub(super) const PAIRS: &str = "\u{1}pairs";
pub(super) const INTO: &str = "\u{1}into";
pub(super) const PUT: &str = "\u{1}put";

/// Segments of a path given to [`WALK`]; a name stands for itself after [`NAME`].
pub(super) const NAME: char = 'n';
pub(super) const INDEX: char = 'i';
pub(super) const BELOW: char = 'b';

/// Steps of one call of a function or one pass of a loop.
const PASS_STEPS: u64 = 20;

/// Begins a limit's message; the adapter takes it off.
pub(super) const LIMIT: &str = "\u{1}limit";

pub(super) struct Meter {
    left: Cell<u64>,
    allowed: u64,
    /// Units one value may have, shared parts counted as often as they are met.
    largest: u64,
    /// Items of one sequence.
    longest: usize,
    /// What each pass costs on top, for data that functions made by `$f(?, $data)` carry.
    carried: Cell<u64>,
    /// Into how many places the calls being evaluated put a text.
    places: RefCell<Vec<u64>>,
    /// Sizes of arrays and objects by address. The values are kept, so an address stays theirs.
    sizes: RefCell<HashMap<usize, (JValue, u64)>>,
}

impl Meter {
    /// `carried` is what each pass costs from the start.
    pub(super) fn new(limits: EvalLimits, carried: u64) -> Rc<Meter> {
        Rc::new(Meter {
            left: Cell::new(limits.steps),
            allowed: limits.steps,
            largest: limits.bytes as u64 / 2,
            longest: limits.sequence,
            carried: Cell::new(carried),
            places: RefCell::default(),
            sizes: RefCell::default(),
        })
    }

    /// Gives `evaluator` those of the functions here that a metered tree calls.
    pub(super) fn install(
        self: &Rc<Self>,
        evaluator: &mut Evaluator,
        called: &[&'static str],
    ) -> Result<(), EvaluatorError> {
        for name in called {
            let charge = charge_named(name);
            let meter = Rc::clone(self);
            evaluator.register_fn(*name, move |args: &[JValue]| charge(&meter, args))?;
        }
        Ok(())
    }

    fn charge(&self, steps: u64) -> Result<(), EvaluatorError> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(limit(format!("The evaluation takes more than {} steps", self.allowed)))
            }
        }
    }

    /// A body begins; its arguments are kept while it runs. True, for the condition it stands in.
    fn tick(&self, args: &[JValue]) -> HostFnResult {
        self.charge(PASS_STEPS + self.carried.get())?;
        for arg in args {
            self.size(arg)?;
        }
        Ok(JValue::Bool(true))
    }

    /// A value gets a name, by which it may be used any number of times.
    fn keep(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        self.charge(1)?;
        self.size(&value)?;
        Ok(value)
    }

    /// One pass of a step gives a value that the next step goes through.
    fn pass(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        self.charge(PASS_STEPS + self.carried.get() + breadth(&value))?;
        Ok(value)
    }

    /// A value's items become items of an array.
    fn copy(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        self.charge(1 + breadth(&value))?;
        Ok(value)
    }

    /// A value is read from end to end.
    fn read(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        let size = self.size(&value)?;
        self.charge(1 + size)?;
        Ok(value)
    }

    /// A range begins or ends here: it is no longer than both ends are far from 0, nor than a
    /// sequence may be.
    fn span(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        if let JValue::Number(number) = value {
            self.charge(number.abs().min(self.longest as f64) as u64)?;
        }
        Ok(value)
    }

    /// A value is bound into a function that may be called any number of times.
    fn bind(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        let size = self.size(&value)?;
        self.carried.set(self.carried.get().saturating_add(size));
        Ok(value)
    }

    /// A list is reduced by a function of the language's own, which may read all of it each time.
    fn fold(&self, args: &[JValue]) -> HostFnResult {
        let value = first(args);
        let size = self.size(&value)?;
        self.charge(size.saturating_mul(1 + breadth(&value)))?;
        Ok(value)
    }

    /// The items of a list are compared each with each; most differ at once.
    fn pairs(&self, args: &[JValue]) -> HostFnResult {
        let breadth = args.first().map_or(0, breadth);
        self.charge(breadth.saturating_mul(breadth) / 16)?;
        self.read(args)
    }

    /// A text will be put into a value, at any of its places.
    fn into(&self, args: &[JValue]) -> HostFnResult {
        let places = match args.first() {
            Some(JValue::String(text)) => text.len() as u64,
            Some(value) => breadth(value),
            None => 0,
        };
        self.places.borrow_mut().push(places);
        self.read(args)
    }

    /// The text that [`Meter::into`] speaks of.
    fn put(&self, args: &[JValue]) -> HostFnResult {
        let places = self.places.borrow_mut().pop().unwrap_or(0);
        let value = self.read(args)?;
        let bytes = value.as_str().map_or(0, str::len) as u64;
        let units = places.saturating_mul(bytes) / 8;
        if units > self.largest {
            return Err(limit(format!("A value grows larger than {} units", self.largest)));
        }
        self.charge(units)?;
        Ok(value)
    }

    /// A path is followed from a value: as many steps as values are met on the way.
    fn walk(&self, args: &[JValue]) -> HostFnResult {
        let mut met = vec![first(args)];
        self.charge(1)?;
        for segment in &args[1..] {
            let Some(segment) = segment.as_str() else { break };
            let mut kinds = segment.chars();
            let kind = kinds.next();
            let name = kinds.as_str();
            if kind == Some(BELOW) {
                for value in &met {
                    let size = self.size(value)?;
                    self.charge(size)?;
                }
                break;
            }
            met = self.follow(met, kind == Some(INDEX), name)?;
        }
        Ok(JValue::Bool(true))
    }

    fn follow(
        &self,
        from: Vec<JValue>,
        index: bool,
        name: &str,
    ) -> Result<Vec<JValue>, EvaluatorError> {
        let mut reached = Vec::new();
        let mut waiting = from;
        while let Some(value) = waiting.pop() {
            match &value {
                JValue::Array(items) if index => {
                    let place = name.parse::<i64>().unwrap_or(0);
                    let place = if place < 0 { place + items.len() as i64 } else { place };
                    reached
                        .extend(usize::try_from(place).ok().and_then(|at| items.get(at)).cloned());
                }
                JValue::Array(items) => {
                    self.charge(items.len() as u64)?;
                    waiting.extend(items.iter().cloned());
                }
                JValue::Object(members) if !index => reached.extend(members.get(name).cloned()),
                JValue::Object(_) => reached.push(value),
                _ => {}
            }
        }
        Ok(reached)
    }

    /// Units of a value, shared parts as often as they are met, which is how often the evaluator
    /// would visit them. Looking at a part for the first time is charged.
    fn size(&self, value: &JValue) -> Result<u64, EvaluatorError> {
        let size = match value {
            JValue::String(text) => 1 + text.len() as u64 / 8,
            JValue::Array(items) if !items.is_empty() => {
                self.known_or(value, items.as_ptr() as usize, || {
                    with_stack(|| self.sum(items.iter()))
                })?
            }
            JValue::Object(members) if !members.is_empty() => {
                self.known_or(value, Rc::as_ptr(members) as usize, || {
                    with_stack(|| self.sum(members.values()))
                })?
            }
            _ => 1,
        };
        if size > self.largest {
            return Err(limit(format!("A value grows larger than {} units", self.largest)));
        }
        Ok(size)
    }

    fn sum<'v>(&self, values: impl Iterator<Item = &'v JValue>) -> Result<u64, EvaluatorError> {
        let mut sum = 1_u64;
        let mut count = 0;
        for value in values {
            sum = sum.saturating_add(self.size(value)?);
            count += 1;
        }
        self.charge(count)?;
        Ok(sum)
    }

    fn known_or(
        &self,
        value: &JValue,
        address: usize,
        measure: impl FnOnce() -> Result<u64, EvaluatorError>,
    ) -> Result<u64, EvaluatorError> {
        if let Some((_, size)) = self.sizes.borrow().get(&address) {
            return Ok(*size);
        }
        let size = measure()?;
        self.sizes.borrow_mut().insert(address, (value.clone(), size));
        Ok(size)
    }
}

type Charge = fn(&Meter, &[JValue]) -> HostFnResult;

/// The functions that metered trees call.
const CHARGES: [(&str, Charge); 12] = [
    (TICK, Meter::tick),
    (KEEP, Meter::keep),
    (PASS, Meter::pass),
    (READ, Meter::read),
    (SPAN, Meter::span),
    (BIND, Meter::bind),
    (FOLD, Meter::fold),
    (WALK, Meter::walk),
    (COPY, Meter::copy),
    (PAIRS, Meter::pairs),
    (INTO, Meter::into),
    (PUT, Meter::put),
];

fn charge_named(name: &str) -> Charge {
    let found = CHARGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, charge)| *charge).expect("metered trees call what is here")
}

/// Names of the functions here that `tree` calls.
pub(super) fn called(tree: &AstNode) -> Vec<&'static str> {
    let mut names = Vec::new();
    add_called(tree, &mut names);
    names
}

fn add_called(node: &AstNode, names: &mut Vec<&'static str>) {
    if let AstNode::Function { name, .. } = node
        && let Some((known, _)) = CHARGES.iter().find(|(known, _)| known == name)
        && !names.contains(known)
    {
        names.push(known);
    }
    for_each_child(node, &mut |child| add_called(child, names));
}

fn first(args: &[JValue]) -> JValue {
    args.first().cloned().unwrap_or(JValue::Undefined)
}

/// Values the next step goes through one by one.
fn breadth(value: &JValue) -> u64 {
    match value {
        JValue::Array(items) => items.len() as u64,
        JValue::Object(members) => members.len() as u64,
        JValue::String(text) => text.len() as u64 / 8,
        _ => 0,
    }
}

fn limit(message: String) -> EvaluatorError {
    EvaluatorError::EvaluationError(format!("{LIMIT}{message}"))
}
