//! How data moves through a state: what it works with, what leaves it, what is remembered.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use stepbus_expr::Env;

use super::context::{Item, context};
use super::size::{self, Excess, MAX_DEPTH, excess};
use super::{Flow, Run, events};
use crate::chance::{Point, seed};
use crate::definition::model::{Kind, Language, ResultPath, State, Target};
use crate::expression::{Expression, Frame, LazyContext, Variable};
use crate::fault::Fault;
use crate::thread::{Activity, Parent, Thread};

/// What an expression may see beside the state's input.
#[derive(Default, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) result: Option<&'a Value>,
    pub(super) error: Option<&'a Value>,
    pub(super) item: Option<(u64, &'a Value)>,
}

/// What a state leaves with.
pub(super) struct Leaving {
    pub(super) output: Arc<Value>,
    pub(super) assigned: Option<Arc<Value>>,
}

impl Run<'_> {
    /// Runs `work` with what the thread's expressions see. `input` stands for `$` or
    /// `$states.input`.
    pub(super) fn with_frame<T>(
        &self,
        thread: &Thread,
        point: Point,
        input: &Value,
        seen: Seen<'_>,
        work: impl FnOnce(&Frame<'_>) -> T,
    ) -> T {
        let start = &self.execution.start;
        let env = Env {
            now: self.execution.at,
            seed: seed(start.seed, thread.visit.0, thread.attempt, point),
        };
        let item = seen.item.map(|(index, value)| Item { index, value });
        let build = |whole: bool| {
            let real = || context(self.execution, self.program, thread, item.as_ref(), whole);
            match self.inspection {
                Some(inspection) => inspection.context_object(real),
                None => real(),
            }
        };
        let lazy = LazyContext::new(&build);
        let variables = self.variables(thread);
        let mut frame = Frame::new(env, input, &variables, &lazy, start.bounds.payload_bytes);
        if let Some(result) = seen.result {
            frame = frame.with_result(result);
        }
        if let Some(error) = seen.error {
            frame = frame.with_error(error);
        }
        work(&frame)
    }

    /// The variables a thread sees; of two with one name the last is the inner one.
    pub(super) fn variables<'t>(&self, thread: &'t Thread) -> Cow<'t, [Variable]> {
        let mut levels: Vec<&[Variable]> = Vec::new();
        let mut parent = thread.parent;
        while let Some(Parent { thread: id, .. }) = parent {
            let Some(outer) = self.execution.threads.get(id as usize).and_then(Option::as_ref)
            else {
                break;
            };
            levels.push(&outer.variables);
            parent = outer.parent;
        }
        if levels.iter().all(|level| level.is_empty()) {
            return Cow::Borrowed(&thread.variables);
        }
        let mut all: Vec<Variable> = levels.into_iter().rev().flatten().cloned().collect();
        all.extend(thread.variables.iter().cloned());
        Cow::Owned(all)
    }

    /// The state's input after InputPath.
    pub(super) fn effective_input(
        &self,
        thread: &Thread,
        state: &State,
    ) -> Result<Arc<Value>, Fault> {
        let input = match &state.data.input_path {
            None => Arc::clone(&thread.input),
            Some(path) => {
                self.with_frame(thread, Point::Before, &thread.input, Seen::default(), |frame| {
                    path.eval("InputPath", frame)
                })?
            }
        };
        if state.language == Language::JsonPath && !matches!(state.kind, Kind::Parallel { .. }) {
            self.note("afterInputPath", &input);
        }
        Ok(input)
    }

    /// Arguments or Parameters over `input`, which stands for itself without them.
    pub(super) fn arguments(
        &self,
        thread: &Thread,
        state: &State,
        input: &Arc<Value>,
    ) -> Result<Arc<Value>, Fault> {
        let (field, noted) = match state.language {
            Language::Jsonata => ("Arguments", "afterArguments"),
            Language::JsonPath => ("Parameters", "afterParameters"),
        };
        let given = match &state.data.arguments {
            None => Arc::clone(input),
            Some(arguments) => {
                self.evaluate(thread, Point::Before, arguments, field, input, Seen::default())?
            }
        };
        let tells = match state.kind {
            Kind::Task(_) => true,
            Kind::Pass { .. } => state.language == Language::JsonPath,
            _ => false,
        };
        if tells {
            self.note(noted, &given);
        }
        Ok(given)
    }

    pub(super) fn evaluate(
        &self,
        thread: &Thread,
        point: Point,
        expression: &Expression,
        field: &str,
        input: &Value,
        seen: Seen<'_>,
    ) -> Result<Arc<Value>, Fault> {
        if let Expression::Constant(value) = expression {
            return Ok(Arc::clone(value));
        }
        let value =
            self.with_frame(thread, point, input, seen, |frame| expression.eval(field, frame))?;
        self.check_size(thread, &value)?;
        Ok(value)
    }

    pub(super) fn check_size(&self, thread: &Thread, value: &Value) -> Result<(), Fault> {
        self.check_bytes(thread, value, self.execution.start.bounds.payload_bytes)
    }

    fn check_bytes(&self, thread: &Thread, value: &Value, most: usize) -> Result<(), Fault> {
        let name = &self.program.state(thread.state).name;
        Err(Fault::data_limit(match excess(value, most) {
            None => return Ok(()),
            Some(Excess::Bytes) => None,
            Some(Excess::Depth) => Some(format!(
                "The state/task '{name}' returned a result that is nested too deep: arrays and objects inside one another go down at most {MAX_DEPTH} levels."
            )),
        }))
    }

    /// The bytes of the thread's variables once `values` are assigned, all within bounds.
    fn bytes_with(&self, thread: &Thread, values: &Map<String, Value>) -> Result<u64, Fault> {
        let bounds = &self.execution.start.bounds;
        let name = &self.program.state(thread.state).name;
        let (mut assigned, mut too_deep) = (0, None);
        for value in values.values() {
            match size::measured(value) {
                Some(bytes) => assigned += bytes,
                None => {
                    assigned += size::bytes(value);
                    too_deep = Some(value);
                }
            }
        }
        if usize::try_from(assigned).is_ok_and(|assigned| assigned > bounds.variable_bytes) {
            return Err(Fault::data_limit(Some(format!(
                "The variables that the state '{name}' assigns together exceed {} bytes (limit variable_bytes).",
                bounds.variable_bytes
            ))));
        }
        if let Some(value) = too_deep {
            self.check_bytes(thread, value, usize::MAX)?;
        }
        let bytes = (thread.variable_bytes + assigned).saturating_sub(thread.bytes_of(values));
        let others = self.execution.variable_bytes.saturating_sub(thread.variable_bytes);
        let most = u64::try_from(bounds.variables_bytes).unwrap_or(u64::MAX);
        if others.saturating_add(bytes) > most {
            return Err(Fault::data_limit(Some(format!(
                "The variables of the execution together exceed {most} bytes (limit variables_bytes)."
            ))));
        }
        Ok(bytes)
    }

    /// Output and variables of a state that ended with `result`.
    pub(super) fn leaving(
        &self,
        thread: &Thread,
        state: &State,
        result: Arc<Value>,
    ) -> Result<Leaving, Fault> {
        match state.language {
            Language::Jsonata => {
                let data = &state.data;
                self.jsonata_leaving(thread, (data.output.as_ref(), data.assign.as_ref()), result)
            }
            Language::JsonPath => self.path_leaving(thread, state, result),
        }
    }

    /// Output and Assign both see the state as it was entered.
    pub(super) fn jsonata_leaving(
        &self,
        thread: &Thread,
        (output, assign): (Option<&Expression>, Option<&Expression>),
        result: Arc<Value>,
    ) -> Result<Leaving, Fault> {
        if output.is_none() && assign.is_none() {
            return Ok(Leaving { output: result, assigned: None });
        }
        let has_result = matches!(
            self.program.state(thread.state).kind,
            Kind::Task(_) | Kind::Parallel { .. } | Kind::Map(_)
        );
        let seen = Seen { result: has_result.then_some(&*result), ..Seen::default() };
        let (output, assigned) =
            self.with_frame(thread, Point::After, &thread.input, seen, |frame| {
                let assigned = assign.map(|assign| assign.eval("Assign", frame)).transpose()?;
                let output = output.map(|output| output.eval("Output", frame)).transpose()?;
                Ok::<_, Fault>((output, assigned))
            })?;
        if let Some(output) = &output {
            self.check_size(thread, output)?;
        }
        Ok(Leaving { output: output.unwrap_or_else(|| Arc::clone(&result)), assigned })
    }

    fn path_leaving(
        &self,
        thread: &Thread,
        state: &State,
        result: Arc<Value>,
    ) -> Result<Leaving, Fault> {
        let data = &state.data;
        let seen = Seen::default();
        let result = match &data.result_selector {
            Some(selector) => {
                self.evaluate(thread, Point::After, selector, "ResultSelector", &result, seen)?
            }
            None => result,
        };
        let tells = matches!(
            state.kind,
            Kind::Pass { .. } | Kind::Task(_) | Kind::Parallel { .. } | Kind::Map(_)
        );
        if tells {
            self.note("afterResultSelector", &result);
        }
        let assigned = match &data.assign {
            Some(assign) => {
                Some(self.evaluate(thread, Point::After, assign, "Assign", &result, seen)?)
            }
            None => None,
        };
        let merged = merge(&thread.input, result, &data.result_path)?;
        if tells {
            self.note("afterResultPath", &merged);
        }
        let output = match &data.output_path {
            Some(path) => self.evaluate(thread, Point::After, path, "OutputPath", &merged, seen)?,
            None => merged,
        };
        if !Arc::ptr_eq(&output, &thread.input) {
            self.check_size(thread, &output)?;
        }
        Ok(Leaving { output, assigned })
    }

    /// Tells that the state was left, remembers what it assigned, and goes where it leads.
    pub(super) fn leave(
        &mut self,
        thread: &mut Thread,
        leaving: Leaving,
        target: Target,
    ) -> Result<Flow, Fault> {
        let Leaving { output, assigned } = leaving;
        let bytes = match assigned.as_deref() {
            Some(Value::Object(values)) => Some(self.bytes_with(thread, values)?),
            _ => None,
        };
        let state = self.program.state(thread.state);
        let event = events::exited(&state.kind);
        thread.last = self.emit(thread.last, event, || {
            events::state_exited(&state.name, &output, assigned.as_deref())
        });
        if let (Some(bytes), Some(assigned)) = (bytes, assigned)
            && let Value::Object(values) = Arc::unwrap_or_clone(assigned)
        {
            let all = &mut self.execution.variable_bytes;
            *all = (*all + bytes).saturating_sub(thread.variable_bytes);
            thread.assign(values, bytes);
        }
        thread.activity = Activity::Ready;
        Ok(match target {
            Target::State(next) => {
                thread.state = next;
                thread.input = output;
                Flow::Next
            }
            Target::End => Flow::Done(output),
        })
    }
}

/// ResultPath: puts a result into the state's input.
pub(super) fn merge(
    input: &Arc<Value>,
    result: Arc<Value>,
    path: &ResultPath,
) -> Result<Arc<Value>, Fault> {
    match path {
        ResultPath::Replace => Ok(result),
        ResultPath::Discard => Ok(Arc::clone(input)),
        ResultPath::Into(path) => {
            let mut merged = (**input).clone();
            path.set(&mut merged, Arc::unwrap_or_clone(result)).map_err(|error| {
                Fault::named("States.ResultPathMatchFailure", error.to_string())
            })?;
            Ok(Arc::new(merged))
        }
    }
}

/// The items of a Map state, which must be an array or, with its members as items, an object.
pub(crate) fn check_array(items: &Value) -> bool {
    items.is_array()
}
