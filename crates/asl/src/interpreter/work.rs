//! What each type of state does when it is entered, and again on each retry.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::data::Seen;
use super::{Flow, Run, events};
use crate::chance::Point;
use crate::definition::fields::whole;
use crate::definition::model::{Choice, Kind, Language, Rule, State, Target, Test, WaitFor};
use crate::definition::values::timestamp;
use crate::expression::{Expression, Frame};
use crate::fault::{Fault, FaultKind, NO_CHOICE};
use crate::io::{Command, Failure, Timer, TimerKind, Visit};
use crate::thread::{Activity, Thread, ThreadId};

/// AWS waits at most this long.
const LONGEST_WAIT_SECONDS: i64 = i32::MAX as i64;

impl Run<'_> {
    pub(super) fn enter(&mut self, id: ThreadId, thread: &mut Thread) -> Flow {
        self.arrive(thread);
        self.attempt(id, thread)
    }

    /// Tells that a state is entered.
    pub(super) fn arrive(&mut self, thread: &mut Thread) {
        let state = self.program.state(thread.state);
        self.execution.visits += 1;
        thread.visit = Visit(self.execution.visits);
        thread.attempt = 0;
        thread.retries.clear();
        thread.entered_at = self.execution.at;
        thread.before = thread.last;
        let input = &thread.input;
        thread.entered = self.emit(thread.last, events::entered(&state.kind), || {
            events::state_entered(&state.name, input)
        });
        thread.last = thread.entered;
        self.watch(|watch| watch.enters(&state.name, thread));
    }

    /// Does the state's work, the first time or again.
    pub(super) fn attempt(&mut self, id: ThreadId, thread: &mut Thread) -> Flow {
        match self.work(id, thread) {
            Ok(flow) => flow,
            Err(fault) => self.handle(id, thread, fault),
        }
    }

    fn work(&mut self, id: ThreadId, thread: &mut Thread) -> Result<Flow, Fault> {
        let state = self.program.state(thread.state);
        match &state.kind {
            Kind::Pass { result } => self.pass(thread, state, result.as_ref()),
            Kind::Succeed => self.succeed(thread, state),
            Kind::Fail { error, cause } => self.fail_state(thread, error.as_ref(), cause.as_ref()),
            Kind::Choice(choice) => self.choose(thread, state, choice),
            Kind::Wait(wait) => self.wait(thread, state, wait),
            Kind::Task(task) => self.start_task(id, thread, state, task),
            Kind::Parallel { branches } => self.fork_branches(id, thread, state, branches),
            Kind::Map(map) => self.start_map(id, thread, state, map),
        }
    }

    fn pass(
        &mut self,
        thread: &mut Thread,
        state: &State,
        result: Option<&Arc<Value>>,
    ) -> Result<Flow, Fault> {
        let value = match result {
            Some(result) => {
                self.note("result", result);
                Arc::clone(result)
            }
            None => {
                let input = self.effective_input(thread, state)?;
                self.arguments(thread, state, &input)?
            }
        };
        let leaving = self.leaving(thread, state, value)?;
        self.leave(thread, leaving, state.next)
    }

    fn succeed(&mut self, thread: &mut Thread, state: &State) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let leaving = self.leaving(thread, state, input)?;
        self.leave(thread, leaving, Target::End)
    }

    fn fail_state(
        &mut self,
        thread: &Thread,
        error: Option<&Expression>,
        cause: Option<&Expression>,
    ) -> Result<Flow, Fault> {
        let state = self.program.state(thread.state);
        let field = |name: &str, expression: Option<&Expression>| {
            let Some(expression) = expression else { return Ok(None) };
            let label = match expression {
                Expression::Path(_) => format!("{name}Path"),
                _ => name.to_owned(),
            };
            let seen = Seen::default();
            let value =
                self.evaluate(thread, Point::Before, expression, &label, &thread.input, seen)?;
            match &*value {
                Value::String(text) => Ok(Some(text.clone())),
                other => Err(not_of_type(state, expression, &label, other, "string")),
            }
        };
        self.effective_input(thread, state)?;
        let failure = Failure { error: field("Error", error)?, cause: field("Cause", cause)? };
        Err(Fault::told(failure))
    }

    fn choose(
        &mut self,
        thread: &mut Thread,
        state: &State,
        choice: &Choice,
    ) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let seen = Seen::default();
        let matched = self.with_frame(thread, Point::Before, &input, seen, |frame| {
            for (index, rule) in choice.rules.iter().enumerate() {
                if holds(rule, index, frame)? {
                    return Ok(Some((index, rule)));
                }
            }
            Ok::<_, Fault>(None)
        })?;
        let (target, leaving) = match (matched, choice.default) {
            (Some((index, rule)), _) => {
                let leaving = match state.language {
                    Language::Jsonata => {
                        let own = (rule.output.as_ref(), rule.assign.as_ref());
                        self.jsonata_leaving(thread, own, input)
                    }
                    Language::JsonPath => {
                        self.path_choice_leaving(thread, state, rule.assign.as_ref(), input)
                    }
                };
                let leaving = leaving.map_err(|fault| fault.within(&format!("Choices[{index}]/")));
                (rule.next, leaving?)
            }
            (None, Some(default)) => (default, self.leaving(thread, state, input)?),
            (None, None) => {
                let cause = "Failed to transition out of the state. The state does not point to a next state.";
                return Err(Fault::named(NO_CHOICE, cause));
            }
        };
        self.leave(thread, leaving, Target::State(target))
    }

    fn path_choice_leaving(
        &self,
        thread: &Thread,
        state: &State,
        assign: Option<&Expression>,
        input: Arc<Value>,
    ) -> Result<super::data::Leaving, Fault> {
        let seen = Seen::default();
        let assigned = assign
            .map(|assign| self.evaluate(thread, Point::After, assign, "Assign", &input, seen))
            .transpose()?;
        let output = match &state.data.output_path {
            Some(path) => self.evaluate(thread, Point::After, path, "OutputPath", &input, seen)?,
            None => input,
        };
        Ok(super::data::Leaving { output, assigned })
    }

    fn wait(&mut self, thread: &mut Thread, state: &State, wait: &WaitFor) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let now = self.execution.at;
        let until = match wait {
            WaitFor::Seconds(seconds) => {
                let seconds = self.wait_seconds(thread, state, seconds, &input)?;
                now.plus(Duration::from_secs(seconds))
            }
            WaitFor::Timestamp(moment) => self.wait_moment(thread, state, moment, &input)?,
        };
        if until.since(now).as_secs() > LONGEST_WAIT_SECONDS.unsigned_abs() {
            return Err(Fault::runtime("Wait state delay is too long."));
        }
        if until <= now {
            return self.waited(thread);
        }
        thread.activity = Activity::Waiting { until };
        let timer = Timer { visit: thread.visit, kind: TimerKind::Wait, attempt: thread.attempt };
        self.commands.push(Command::SetTimer { timer, at: until });
        Ok(Flow::Wait)
    }

    fn wait_seconds(
        &self,
        thread: &Thread,
        state: &State,
        seconds: &Expression,
        input: &Value,
    ) -> Result<u64, Fault> {
        let field = field_name("Seconds", seconds);
        let value = self.path_or(thread, seconds, &field, input)?.ok_or_else(|| {
            Fault::runtime(format!(
                "The {field} parameter does not reference an input value: {}",
                source(seconds)
            ))
        })?;
        match whole(&value) {
            Some(number) if number >= 0 => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
            _ => Err(not_of_type(state, seconds, &field, &value, "a non-negative integer")),
        }
    }

    fn wait_moment(
        &self,
        thread: &Thread,
        state: &State,
        moment: &Expression,
        input: &Value,
    ) -> Result<stepbus_model::Timestamp, Fault> {
        let field = field_name("Timestamp", moment);
        let value = self.path_or(thread, moment, &field, input)?.ok_or_else(|| {
            Fault::runtime(format!(
                "The {field} parameter does not reference an input value: {}",
                source(moment)
            ))
        })?;
        if let Some(at) = value.as_str().and_then(timestamp) {
            return Ok(at);
        }
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Err(match state.language {
            Language::JsonPath => Fault::runtime(format!(
                "The {field} parameter does not reference a valid ISO-8601 extended offset date-time format string: {} == {shown}",
                source(moment)
            )),
            Language::Jsonata => not_of_type(state, moment, &field, &value, "timestamp"),
        })
    }

    /// The value of a field that is a path in JSONPath mode; none when that leads nowhere.
    fn path_or(
        &self,
        thread: &Thread,
        expression: &Expression,
        field: &str,
        input: &Value,
    ) -> Result<Option<Arc<Value>>, Fault> {
        let seen = Seen::default();
        match self.evaluate(thread, Point::Before, expression, field, input, seen) {
            Ok(value) => Ok(Some(value)),
            Err(fault)
                if matches!(expression, Expression::Path(_))
                    && fault.kind == FaultKind::Runtime =>
            {
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The end of a Wait state.
    pub(super) fn waited(&mut self, thread: &mut Thread) -> Result<Flow, Fault> {
        let state = self.program.state(thread.state);
        let input = self.effective_input(thread, state)?;
        let leaving = self.leaving(thread, state, input)?;
        self.leave(thread, leaving, state.next)
    }

    /// A number of a field that is a constant, an expression or a path.
    pub(super) fn whole_number(
        &self,
        thread: &Thread,
        expression: &Expression,
        name: &str,
        input: &Value,
    ) -> Result<u64, Fault> {
        let state = self.program.state(thread.state);
        let field = field_name(name, expression);
        let seen = Seen::default();
        let value = self.evaluate(thread, Point::Before, expression, &field, input, seen)?;
        let number = match &*value {
            // AWS takes digits in text where a path leads to them.
            Value::String(text) if matches!(expression, Expression::Path(_)) => {
                text.parse::<i128>().ok()
            }
            other => whole(other),
        };
        match number {
            Some(number) if number >= 0 => Ok(u64::try_from(number).unwrap_or(u64::MAX)),
            Some(_) if matches!(expression, Expression::Path(_)) => {
                Err(Fault::runtime(format!("{name} cannot be negative.")))
            }
            _ => Err(not_of_type(state, expression, &field, &value, "an integer")),
        }
    }
}

fn holds(rule: &Rule, index: usize, frame: &Frame<'_>) -> Result<bool, Fault> {
    match &rule.test {
        Test::Compare(comparison) => comparison.holds(frame),
        Test::Condition(condition) => {
            let field = format!("Choices[{index}]/Condition");
            match &*condition.eval(&field, frame)? {
                Value::Bool(holds) => Ok(*holds),
                other => Err(Fault::wrong_type(
                    &condition.source(),
                    &field,
                    kind_in_words(other),
                    "boolean",
                )),
            }
        }
    }
}

/// `Seconds`, or `SecondsPath` where a path gives it.
pub(super) fn field_name(name: &str, expression: &Expression) -> String {
    match expression {
        Expression::Path(_) => format!("{name}Path"),
        _ => name.to_owned(),
    }
}

fn source(expression: &Expression) -> String {
    expression.source()
}

pub(super) fn not_of_type(
    state: &State,
    expression: &Expression,
    field: &str,
    value: &Value,
    needed: &str,
) -> Fault {
    let shown = value.to_string();
    match state.language {
        Language::Jsonata => {
            Fault::wrong_type(&expression.source(), field, kind_in_words(value), needed)
        }
        Language::JsonPath => {
            let shown = value.as_str().map_or(shown, str::to_owned);
            let valid = match needed {
                "an integer" => "a valid integer",
                "string" => "a string",
                other => other,
            };
            Fault::runtime(format!(
                "The {field} field refers to value \"{shown}\" which is not {valid}: {}",
                expression.source()
            ))
        }
    }
}

fn kind_in_words(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
