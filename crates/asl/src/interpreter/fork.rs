//! Parallel states and inline Maps: children that run inside the execution.

use std::sync::Arc;

use serde_json::Value;

use super::data::Seen;
use super::{Flow, Run, events};
use crate::chance::Point;
use crate::definition::model::{Kind, MapState, Processor, State, StateId};
use crate::fault::Fault;
use crate::io::Outcome;
use crate::thread::{Activity, Fork, Parent, Thread, ThreadId};

/// AWS: iterations of an inline Map at one time.
const INLINE_CONCURRENCY: u64 = 40;

impl Run<'_> {
    pub(super) fn fork_branches(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        state: &State,
        branches: &[StateId],
    ) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let arguments = self.arguments(thread, state, &input)?;
        thread.last = self.emit(thread.last, events::started(&state.kind), || None);
        for (index, start) in branches.iter().enumerate() {
            let parent = Parent { thread: id, index: number(index) };
            self.spawn(parent, *start, Arc::clone(&arguments), thread.last);
        }
        thread.activity = Activity::Fork(Box::new(Fork {
            items: None,
            input: None,
            results: vec![None; branches.len()],
            next: branches.len(),
            remaining: branches.len(),
        }));
        Ok(Flow::Wait)
    }

    fn spawn(&mut self, parent: Parent, start: StateId, input: Arc<Value>, follows: u64) {
        let child = self.add_thread(Thread::new(Some(parent), start, input, follows));
        self.ready.push_back(child);
    }

    pub(super) fn fork_iterations(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        state: &State,
        (items, input): (Arc<Value>, Arc<Value>),
        max_concurrency: u64,
    ) -> Result<Flow, Fault> {
        let length = items.as_array().map_or(0, Vec::len);
        thread.last =
            self.emit(thread.last, events::started(&state.kind), || events::map_started(length));
        let mut fork = Fork {
            items: Some(items),
            input: Some(input),
            results: vec![None; length],
            next: 0,
            remaining: length,
        };
        let most = match max_concurrency {
            0 => INLINE_CONCURRENCY,
            given => given.min(INLINE_CONCURRENCY),
        };
        let follows = thread.last;
        for _ in 0..length.min(usize::try_from(most).unwrap_or(usize::MAX)) {
            if let Err(fault) = self.start_iteration(id, thread, &mut fork, follows) {
                self.drop_children(id);
                return Err(fault);
            }
        }
        let empty = fork.remaining == 0;
        thread.activity = Activity::Fork(Box::new(fork));
        if empty {
            return self.join(thread);
        }
        Ok(Flow::Wait)
    }

    /// Starts the next iteration, if there is one.
    fn start_iteration(
        &mut self,
        id: ThreadId,
        thread: &Thread,
        fork: &mut Fork,
        follows: u64,
    ) -> Result<(), Fault> {
        let state = self.program.state(thread.state);
        let Kind::Map(map) = &state.kind else { return Ok(()) };
        let Processor::Inline { start } = &map.processor else { return Ok(()) };
        let index = fork.next;
        let Some(item) = fork.items.as_ref().and_then(|items| items.get(index)) else {
            return Ok(());
        };
        let input = fork.input.as_deref().unwrap_or(&Value::Null);
        let child_input = self.iteration_input(thread, map, input, index, item)?;
        fork.next += 1;
        let number = number(index);
        let event = self.emit(follows, "MapIterationStarted", || {
            events::iteration("mapIterationStartedEventDetails", &state.name, number)
        });
        self.spawn(Parent { thread: id, index: number }, *start, child_input, event);
        Ok(())
    }

    pub(super) fn iteration_input(
        &self,
        thread: &Thread,
        map: &MapState,
        input: &Value,
        index: usize,
        item: &Value,
    ) -> Result<Arc<Value>, Fault> {
        let Some(selector) = &map.item_selector else { return Ok(Arc::new(item.clone())) };
        let seen = Seen { item: Some((index as u64, item)), ..Seen::default() };
        let point = Point::Item(index as u64);
        self.evaluate(thread, point, selector, "ItemSelector", input, seen)
    }

    /// A thread's last state has ended.
    pub(super) fn finish_thread(&mut self, id: ThreadId, thread: Thread, output: Arc<Value>) {
        let Some(parent) = thread.parent else {
            self.emit(thread.last, "ExecutionSucceeded", || events::execution_succeeded(&output));
            return self.end(Outcome::Succeeded(output));
        };
        let last = thread.last;
        self.forget_variables(&thread);
        drop(thread);
        self.execution.free.push(id);
        let Some(mut above) = self.take_thread(parent.thread) else { return };
        let flow = match self.child_ended(parent, &mut above, output, last) {
            Ok(flow) => flow,
            Err(fault) => self.handle_own(parent.thread, &mut above, fault),
        };
        self.settle(parent.thread, above, flow);
    }

    /// A fault of a forking state while its children run: they stop.
    fn handle_own(&mut self, id: ThreadId, thread: &mut Thread, fault: Fault) -> Flow {
        let state = self.program.state(thread.state);
        self.abort_children(id, None, thread.last, &state.kind, &state.name);
        self.handle(id, thread, fault)
    }

    fn child_ended(
        &mut self,
        parent: Parent,
        above: &mut Thread,
        output: Arc<Value>,
        last: u64,
    ) -> Result<Flow, Fault> {
        let state = self.program.state(above.state);
        let mut follows = last;
        if matches!(state.kind, Kind::Map(_)) {
            follows = self.emit(last, "MapIterationSucceeded", || {
                let name = "mapIterationSucceededEventDetails";
                events::iteration(name, &state.name, parent.index)
            });
        }
        let Activity::Fork(mut fork) = std::mem::replace(&mut above.activity, Activity::Ready)
        else {
            return Ok(Flow::Wait);
        };
        fork.results[parent.index as usize] = Some(output);
        fork.remaining -= 1;
        let done = fork.remaining == 0;
        // AWS lets the next iteration follow the last state, not the end of the iteration.
        let started = self.start_iteration(parent.thread, above, &mut fork, last);
        above.activity = Activity::Fork(fork);
        started?;
        if done {
            above.last = follows;
            return self.join(above);
        }
        Ok(Flow::Wait)
    }

    /// All children of a forking state have ended.
    fn join(&mut self, thread: &mut Thread) -> Result<Flow, Fault> {
        let state = self.program.state(thread.state);
        let Activity::Fork(fork) = std::mem::replace(&mut thread.activity, Activity::Ready) else {
            return Ok(Flow::Wait);
        };
        self.emit(thread.last, events::succeeded(&state.kind), || None);
        let results = fork
            .results
            .into_iter()
            .map(|result| result.map_or(Value::Null, Arc::unwrap_or_clone))
            .collect();
        let result = Arc::new(Value::Array(results));
        self.check_size(thread, &result)?;
        let leaving = self.leaving(thread, state, result)?;
        self.leave(thread, leaving, state.next)
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
