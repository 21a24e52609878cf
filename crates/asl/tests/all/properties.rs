//! Whatever a workflow is and whatever happens to it: a journal tells all of it, a crash at any
//! of its entries loses nothing, and what is to be sent again is what was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use stepbus_asl::{
    Command, Execution, Failure, HistoryEvent, Input, MapRunOutcome, MapRunSpec, Program, RunTask,
    Status, TaskId, Timer, Visit, history, replay,
};
use stepbus_model::Timestamp;

use crate::generated::{machine, program};
use crate::support::{BEGIN, start};

type Journal = Vec<(Timestamp, Input)>;

/// What is under way outside the execution: after a crash it is sent again, or still awaited.
#[derive(Debug, Clone, Default, PartialEq)]
struct Outside {
    tasks: BTreeMap<TaskId, RunTask>,
    /// Those of them whose call was accepted: these are awaited, and not sent again.
    submitted: BTreeSet<TaskId>,
    timers: BTreeMap<Timer, Timestamp>,
    map_runs: BTreeMap<Visit, MapRunSpec>,
}

impl Outside {
    fn perform(&mut self, commands: &[Command]) {
        for command in commands {
            match command {
                Command::RunTask(run) => {
                    assert!(self.tasks.insert(run.task, run.clone()).is_none(), "sent twice");
                }
                Command::CancelTask { task } => {
                    assert!(self.tasks.remove(task).is_some(), "{task:?} was not sent");
                    self.submitted.remove(task);
                }
                Command::SetTimer { timer, at } => {
                    self.timers.insert(*timer, *at);
                }
                Command::ClearTimer { timer } => {
                    assert!(self.timers.remove(timer).is_some(), "{timer:?} was not set");
                }
                Command::StartMapRun(spec) => {
                    self.map_runs.insert(spec.visit, (**spec).clone());
                }
                Command::StopMapRun { visit } => {
                    assert!(self.map_runs.remove(visit).is_some(), "{visit:?} was not started");
                }
                Command::End(_) => assert_eq!(*self, Outside::default(), "open at the end"),
            }
        }
    }

    /// What an execution that was taken up says is under way.
    fn of(execution: &Execution, program: &Program) -> Outside {
        let accepted = execution.submitted_tasks(program);
        let submitted = accepted.iter().map(|run| run.task).collect();
        let tasks = execution.open_tasks(program).into_iter().chain(accepted);
        let tasks = tasks.map(|run| (run.task, run));
        let map_runs = execution.open_map_runs().into_iter().map(|spec| (spec.visit, spec));
        Outside {
            tasks: tasks.collect(),
            submitted,
            timers: execution.open_timers().into_iter().collect(),
            map_runs: map_runs.collect(),
        }
    }
}

/// What happens next, as chance has it.
#[derive(Default)]
struct World {
    now: i64,
    outside: Outside,
    redrives: u32,
}

impl World {
    fn next(&mut self, execution: &Execution, choice: u8) -> Option<(Timestamp, Input)> {
        if execution.outcome().is_some() {
            self.redrives += 1;
            let again = execution.status() != Status::Succeeded && choice < 160;
            return (again && self.redrives <= 2).then(|| self.at(Input::Redriven));
        }
        if choice >= 253 {
            return Some(self.at(Input::Stopped(Failure::new("Enough", "by hand"))));
        }
        let (tasks, runs) = (self.outside.tasks.len(), self.outside.map_runs.len());
        let waits = !self.outside.timers.is_empty();
        if tasks + runs == 0 || waits && choice.is_multiple_of(3) {
            return self.fire();
        }
        let place = choice as usize / 7 % (tasks + runs);
        let input = match self.outside.tasks.keys().nth(place) {
            Some(task) => self.answer(*task, choice),
            None => {
                let visit = *self.outside.map_runs.keys().nth(place - tasks)?;
                self.outside.map_runs.remove(&visit);
                let outcome = match choice % 4 {
                    0 => MapRunOutcome::Failed(Failure::new("Down", "too many")),
                    _ => MapRunOutcome::Succeeded(Arc::new(json!([choice]))),
                };
                Input::MapRunEnded { visit, outcome }
            }
        };
        Some(self.at(input))
    }

    fn at(&self, input: Input) -> (Timestamp, Input) {
        (Timestamp(BEGIN.0 + self.now), input)
    }

    fn fire(&mut self) -> Option<(Timestamp, Input)> {
        let (timer, at) = self.outside.timers.iter().min_by_key(|(timer, at)| (**at, **timer))?;
        let (timer, at) = (*timer, *at);
        self.outside.timers.remove(&timer);
        self.now = self.now.max(at.0 - BEGIN.0);
        Some(self.at(Input::TimerFired { timer }))
    }

    fn answer(&mut self, task: TaskId, choice: u8) -> Input {
        let output = Arc::new(json!({ "choice": choice, "of": [1, "two", null] }));
        match choice % 10 {
            0 => return Input::Heartbeat { task },
            1 => {
                self.outside.submitted.insert(task);
                return Input::TaskSubmitted { task, output };
            }
            2 => return Input::TaskStarted { task, worker: Some("w".to_owned()) },
            _ => {}
        }
        self.outside.tasks.remove(&task);
        self.outside.submitted.remove(&task);
        match choice % 4 {
            0 => Input::TaskFailed { task, failure: Failure::new("Down", "by chance") },
            _ => Input::TaskSucceeded { task, output },
        }
    }
}

/// One entry of a life: what came of it, and where everything stood afterwards.
struct Step {
    commands: Vec<Command>,
    snapshot: Vec<u8>,
    outside: Outside,
}

struct Life {
    journal: Journal,
    steps: Vec<Step>,
    end: Option<Status>,
}

/// Runs a program as chance has it.
fn live(program: &Program, choices: &[u8], most: usize) -> Life {
    let start = start(json!({ "x": 1, "items": ["a", { "b": 2 }] }));
    let mut journal = vec![(BEGIN, Input::Started(Arc::new(start.clone())))];
    let (mut execution, mut commands) = Execution::begin(program, BEGIN, start);
    let mut world = World::default();
    let mut steps: Vec<Step> = Vec::new();
    let mut choices = choices.iter().copied().cycle().take(4 * most);
    loop {
        world.outside.perform(&commands);
        let snapshot = execution.to_bytes();
        steps.push(Step { commands, snapshot, outside: world.outside.clone() });
        let input = loop {
            // A long life is stopped, so that all of them end.
            let next = match choices.next() {
                Some(choice) if steps.len() < most => world.next(&execution, choice),
                _ => execution.outcome().is_none().then(|| world.at(stop())),
            };
            match next {
                Some((at, input)) if execution.expects(&input) => break Some((at, input)),
                // What concerns nothing changes nothing, journalled or not.
                Some((at, input)) => {
                    assert!(execution.apply(program, at, input).is_empty());
                    assert!(execution.to_bytes() == steps[steps.len() - 1].snapshot);
                }
                None => break None,
            }
        };
        let Some((at, input)) = input else { break };
        journal.push((at, input.clone()));
        commands = execution.apply(program, at, input);
    }
    Life { journal, steps, end: execution.outcome().map(|_| execution.status()) }
}

fn stop() -> Input {
    Input::Stopped(Failure::default())
}

/// Takes the execution up after the entry at `position`, as after a crash, and goes on.
fn crash(program: &Program, life: &Life, position: usize, mut woken: Execution) -> TestCaseResult {
    let step = &life.steps[position];
    prop_assert_eq!(&woken.to_bytes(), &step.snapshot, "woken at {}", position);
    prop_assert_eq!(&Outside::of(&woken, program), &step.outside, "sent again at {}", position);
    for (number, (at, input)) in life.journal.iter().enumerate().skip(position + 1) {
        let commands = woken.apply(program, *at, input.clone());
        let then = &life.steps[number];
        prop_assert_eq!(&commands, &then.commands, "commands of {} after {}", number, position);
    }
    let last = &life.steps[life.steps.len() - 1];
    prop_assert_eq!(&woken.to_bytes(), &last.snapshot, "the end after {}", position);
    Ok(())
}

fn tells_everything(states: Vec<Value>, choices: &[u8], most: usize) -> TestCaseResult {
    let program = program(states);
    let life = live(&program, choices, most);
    prop_assert!(life.end.is_some(), "nothing more happens, but it runs");

    let text = serde_json::to_string(&life.journal).unwrap();
    let read: Journal = serde_json::from_str(&text).unwrap();
    prop_assert_eq!(&read, &life.journal);
    let told = history(&program, read);
    check_history(&told)?;
    for position in 0..life.journal.len() {
        let snapshot = Execution::from_bytes(&life.steps[position].snapshot).unwrap();
        crash(&program, &life, position, snapshot)?;
        let prefix = life.journal[..=position].iter().cloned();
        crash(&program, &life, position, replay(&program, prefix.clone()).unwrap())?;
        let so_far = history(&program, prefix);
        prop_assert_eq!(&so_far[..], &told[..so_far.len()], "history up to {}", position);
    }
    Ok(())
}

fn check_history(told: &[HistoryEvent]) -> TestCaseResult {
    for (event, id) in told.iter().zip(1..) {
        prop_assert_eq!(event.id, id);
        prop_assert!(event.previous_event_id < id);
    }
    Ok(())
}

fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..60)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn a_journal_tells_everything(states in machine(2), choices in choices()) {
        tells_everything(states, &choices, 40)?;
    }
}

proptest! {
    #![proptest_config(config(5_000))]

    #[test]
    #[ignore = "takes minutes"]
    fn a_journal_tells_everything_at_length(states in machine(3), choices in choices()) {
        tells_everything(states, &choices, 80)?;
    }
}
