//! What a driver has asked others for: calls of tasks, and map runs.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use stepbus_asl::{TaskId, Visit};

use super::Arrival;

type Call = BoxFuture<'static, Arrival>;

/// Names a call, so that it can be called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Awaited {
    Task(TaskId),
    MapRun(Visit),
}

/// Most executions wait for one thing at a time; the set that many need costs them nothing then.
#[derive(Default)]
pub(super) struct Calls {
    first: Option<First>,
    others: Option<Box<Others>>,
}

struct First {
    /// None: there is a result, from elsewhere.
    awaited: Option<Awaited>,
    /// None: there is an answer, which need not be the result.
    call: Option<Call>,
}

#[derive(Default)]
struct Others {
    calls: FuturesUnordered<Abortable<Call>>,
    handles: BTreeMap<Awaited, AbortHandle>,
}

impl Calls {
    pub(super) fn start(&mut self, awaited: Awaited, call: Call) {
        if self.first.is_none() {
            self.first = Some(First { awaited: Some(awaited), call: Some(call) });
            return;
        }
        let (handle, registration) = AbortHandle::new_pair();
        let others = self.others.get_or_insert_default();
        others.handles.insert(awaited, handle);
        others.calls.push(Abortable::new(call, registration));
    }

    /// There is a result. An answer that is still to come is waited for all the same: whoever is
    /// asked may be in the middle of it.
    pub(super) fn settled(&mut self, awaited: Awaited) {
        if let Some(first) = &mut self.first
            && first.awaited == Some(awaited)
        {
            first.awaited = None;
            self.first.take_if(|first| first.call.is_none());
        } else if let Some(others) = &mut self.others {
            others.handles.remove(&awaited);
        }
    }

    /// Nobody wants a result any more.
    pub(super) fn call_off(&mut self, awaited: Awaited) {
        if self.first.as_ref().is_some_and(|first| first.awaited == Some(awaited)) {
            self.first = None;
        } else if let Some(others) = &mut self.others
            && let Some(handle) = others.handles.remove(&awaited)
        {
            handle.abort();
        }
    }

    /// Whether an answer is still to come.
    pub(super) fn in_flight(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first.call.is_some())
            || self.others.as_ref().is_some_and(|others| !others.calls.is_empty())
    }

    /// Whether a task has no result yet.
    pub(super) fn has_task(&self) -> bool {
        let others = self.others.iter().flat_map(|others| others.handles.keys());
        let mut all = self.first.iter().flat_map(|first| &first.awaited).chain(others);
        all.any(|awaited| matches!(awaited, Awaited::Task(_)))
    }

    /// The next answer; none when there is none to come.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Arrival>> {
        if let Some(first) = &mut self.first
            && let Some(call) = &mut first.call
            && let Poll::Ready(arrival) = call.as_mut().poll(context)
        {
            first.call = None;
            self.first.take_if(|first| first.awaited.is_none());
            return Poll::Ready(Some(arrival));
        }
        while let Some(others) = &mut self.others
            && let Poll::Ready(Some(ended)) = others.calls.poll_next_unpin(context)
        {
            // What was called off has no result.
            if let Ok(arrival) = ended {
                return Poll::Ready(Some(arrival));
            }
        }
        if self.in_flight() { Poll::Pending } else { Poll::Ready(None) }
    }
}

#[cfg(test)]
mod tests {
    use stepbus_asl::{Input, Timer, TimerKind};
    use tokio::sync::oneshot;

    use super::*;

    fn task(visit: u64) -> Awaited {
        Awaited::Task(TaskId { visit: Visit(visit), attempt: 0 })
    }

    /// Starts a call that is answered by what is given back.
    fn start(calls: &mut Calls, visit: u64) -> oneshot::Sender<()> {
        let (answer, answered) = oneshot::channel();
        let timer = Timer { visit: Visit(visit), attempt: 0, kind: TimerKind::Wait };
        calls.start(
            task(visit),
            Box::pin(async move {
                answered.await.unwrap();
                Input::TimerFired { timer }.into()
            }),
        );
        answer
    }

    #[track_caller]
    fn check(arrival: Option<Arrival>, expected: Option<u64>) {
        let visit = arrival.map(|arrival| match arrival.input {
            Input::TimerFired { timer } => timer.visit.0,
            other => panic!("{other:?}"),
        });
        assert_eq!(visit, expected);
    }

    #[tokio::test]
    async fn answers_come_as_they_are_there() {
        let mut calls = Calls::default();
        check(calls.next().await, None);
        let answers: Vec<_> = (0..3).map(|visit| start(&mut calls, visit)).collect();
        let mut left = Vec::new();
        for (visit, answer) in (0..).zip(answers) {
            if visit == 1 { answer.send(()).unwrap() } else { left.push(answer) }
        }
        check(calls.next().await, Some(1));
        left.remove(0).send(()).unwrap();
        check(calls.next().await, Some(0));
        assert!(calls.in_flight());
        left.remove(0).send(()).unwrap();
        check(calls.next().await, Some(2));
        assert!(!calls.in_flight());
        // Not every answer is a result.
        assert!(calls.has_task());
        for visit in 0..3 {
            calls.settled(task(visit));
        }
        assert!(!calls.has_task());
        check(calls.next().await, None);
    }

    #[tokio::test]
    async fn a_call_goes_on_when_the_result_comes_from_elsewhere() {
        let mut calls = Calls::default();
        let answers = [start(&mut calls, 0), start(&mut calls, 1)];
        for (visit, answer) in (0..).zip(answers) {
            calls.settled(task(visit));
            assert!(!answer.is_closed());
            assert_eq!(calls.has_task(), visit == 0);
            answer.send(()).unwrap();
            check(calls.next().await, Some(visit));
        }
        check(calls.next().await, None);
    }

    #[tokio::test]
    async fn what_is_called_off_is_dropped_and_has_no_answer() {
        let mut calls = Calls::default();
        let (first, second) = (start(&mut calls, 0), start(&mut calls, 1));
        calls.call_off(task(0));
        assert!(first.is_closed());
        calls.call_off(task(1));
        check(calls.next().await, None);
        assert!(second.is_closed());
        // The place of the first one is free.
        let third = start(&mut calls, 2);
        third.send(()).unwrap();
        check(calls.next().await, Some(2));
    }
}
