//! One visit of one state by itself, watched closely: what TestState runs.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Flow, ROOT, Run};
use crate::definition::model::{Kind, MapState};
use crate::execution::Execution;
use crate::fault::Fault;
use crate::io::{Failure, ItemBatcher, RunTask};
use crate::map::batched;
use crate::program::Program;
use crate::thread::{Activity, Thread};

/// What is seen of a state while it runs.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    /// Takes the place of the context object.
    pub(crate) context: Option<Value>,
    /// What an ItemReader is taken to have read.
    pub(crate) items: Option<Value>,
    pub(crate) data: RefCell<Map<String, Value>>,
    pub(crate) errors: RefCell<Map<String, Value>>,
    /// The latest failure, in its own words.
    pub(crate) failure: RefCell<Option<Failure>>,
}

/// What a visit came to.
#[derive(Debug)]
pub(crate) enum Visited {
    Succeeded {
        output: Arc<Value>,
        next: Option<String>,
    },
    Retries,
    Failed(Failure),
    /// The state waits for the result of this call.
    Calls(Box<RunTask>),
    /// The state waits for its children.
    Forks,
}

/// The name AWS gives to the state under test, whatever it is called.
pub(crate) const STATE_NAME: &str = "StateName";

impl Inspection {
    /// The context object as the state under test sees it.
    pub(super) fn context_object(&self, real: impl FnOnce() -> Value) -> Value {
        match &self.context {
            Some(given) => given.clone(),
            None => {
                let mut context = real();
                context["State"]["Name"] = Value::from(STATE_NAME);
                context
            }
        }
    }
}

impl<'r> Run<'r> {
    pub(crate) fn inspecting(
        program: &'r Program,
        execution: &'r mut Execution,
        inspection: &'r Inspection,
    ) -> Self {
        Run { inspection: Some(inspection), ..Run::new(program, execution, None) }
    }

    pub(super) fn note(&self, name: &'static str, value: &Value) {
        if let Some(inspection) = self.inspection {
            inspection.data.borrow_mut().insert(name.to_owned(), value.clone());
        }
    }

    /// Notes what the children of a Map would be given: items after ItemSelector and ItemBatcher.
    pub(super) fn note_items(
        &self,
        thread: &Thread,
        map: &MapState,
        (items, input): (Option<&Value>, &Value),
        batcher: Option<&ItemBatcher>,
    ) -> Result<(), Fault> {
        let Some(inspection) = self.inspection else { return Ok(()) };
        let Some(items) = items.or(inspection.items.as_ref()).and_then(Value::as_array) else {
            return Ok(());
        };
        let mut inputs = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            inputs
                .push(Arc::unwrap_or_clone(self.iteration_input(thread, map, input, index, item)?));
        }
        if map.item_selector.is_some() {
            self.note("afterItemSelector", &Value::from(inputs.clone()));
        }
        if let Some(batcher) = batcher {
            self.note("afterItemBatcher", &Value::from(batched(inputs, batcher)));
        }
        Ok(())
    }

    pub(super) fn note_error(&self, name: &'static str, number: usize) {
        if let Some(inspection) = self.inspection {
            inspection.errors.borrow_mut().insert(name.to_owned(), Value::from(number));
        }
    }

    pub(super) fn note_failure(&self, failure: &Failure) {
        if let Some(inspection) = self.inspection {
            inspection.failure.replace(Some(failure.clone()));
        }
    }

    /// Enters the root's state, which has had `retries` retries of each retrier.
    pub(crate) fn visit(&mut self, retries: u32) -> Visited {
        let Some(mut thread) = self.take_thread(ROOT) else { return Visited::Forks };
        let program = self.program;
        let flow = self.enter_again(&mut thread, retries);
        let visited = self.visited(program, &thread, flow);
        self.put_thread(ROOT, thread);
        visited
    }

    fn enter_again(&mut self, thread: &mut Thread, retries: u32) -> Flow {
        self.arrive(thread);
        thread.attempt = retries;
        thread.retries = vec![retries; self.program.state(thread.state).retry.len()];
        self.attempt(ROOT, thread)
    }

    fn visited(&mut self, program: &Program, thread: &Thread, flow: Flow) -> Visited {
        match flow {
            Flow::Next => {
                let next = Some(program.state(thread.state).name.to_string());
                Visited::Succeeded { output: Arc::clone(&thread.input), next }
            }
            Flow::Done(output) => Visited::Succeeded { output, next: None },
            Flow::Failed(failure) => Visited::Failed(failure),
            Flow::Wait => match &thread.activity {
                Activity::Retrying { .. } => Visited::Retries,
                Activity::Task(open) => {
                    match super::task_command(self.execution, program, thread, open) {
                        Some(call) => Visited::Calls(Box::new(call)),
                        None => Visited::Forks,
                    }
                }
                _ => Visited::Forks,
            },
        }
    }

    /// Gives the visit its result: a task's, or that of the children it would have had. A Wait
    /// state needs none to go on.
    pub(crate) fn answer(&mut self, answer: Result<Arc<Value>, Failure>) -> Visited {
        let Some(mut thread) = self.take_thread(ROOT) else { return Visited::Forks };
        let program = self.program;
        let state = program.state(thread.state);
        if let (Kind::Task(_), Ok(result)) = (&state.kind, &answer) {
            self.note("result", result);
        }
        let flow = match (&state.kind, answer) {
            (Kind::Wait(_), Ok(_)) => self
                .waited(&mut thread)
                .unwrap_or_else(|fault| self.handle(ROOT, &mut thread, fault)),
            (_, Ok(result)) => self
                .leaving(&thread, state, result)
                .and_then(|leaving| self.leave(&mut thread, leaving, state.next))
                .unwrap_or_else(|fault| self.handle(ROOT, &mut thread, fault)),
            (_, Err(failure)) => self.handle(ROOT, &mut thread, Fault::told(failure)),
        };
        let visited = self.visited(program, &thread, flow);
        self.put_thread(ROOT, thread);
        visited
    }

    /// Whether the root's state is a Wait state that waits.
    pub(crate) fn only_waits(&self) -> bool {
        let root = self.execution.threads.first().and_then(Option::as_ref);
        root.is_some_and(|thread| matches!(thread.activity, Activity::Waiting { .. }))
    }
}
