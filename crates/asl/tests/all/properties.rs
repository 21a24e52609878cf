//! Whatever a workflow is and whatever happens to it, a journal tells all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stepbus_asl::{
    Command, Execution, Failure, Input, Program, Status, TaskId, Timer, WorkflowType, history,
};
use stepbus_document::Document;
use stepbus_model::Timestamp;

use crate::support::{BEGIN, start};

const TASK: &str = "arn:aws:states:::http:invoke";

/// A machine of a few states, one after the other, some with machines inside.
fn machine(depth: u32) -> BoxedStrategy<Vec<Value>> {
    let pass = prop_oneof![
        Just(json!({"Type": "Pass", "Output": "{% {'n': $random(), 'in': $states.input} %}"})),
        Just(json!({"Type": "Pass", "Assign": {format!("last{depth}"): "{% $uuid() %}"}})),
    ];
    let wait = (0_u64..3).prop_map(|seconds| json!({"Type": "Wait", "Seconds": seconds}));
    let task = (any::<bool>(), any::<bool>(), 0_u64..3).prop_map(|(retried, caught, timeout)| {
        let mut task = json!({"Type": "Task", "Resource": TASK, "Output": "{% $states.result %}"});
        if retried {
            task["Retry"] = json!([{"ErrorEquals": ["States.ALL"], "MaxAttempts": 2, "JitterStrategy": "FULL"}]);
        }
        if caught {
            task["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": "NEXT", "Output": "{% $states.errorOutput %}"}]);
        }
        if timeout > 0 {
            task["TimeoutSeconds"] = json!(timeout);
        }
        task
    });
    let choice = Just(json!({
        "Type": "Choice",
        "Choices": [{"Condition": "{% $random() > 0.5 %}", "Next": "NEXT"}],
        "Default": "NEXT",
    }));
    let simple = prop_oneof![pass, wait, task, choice].boxed();
    if depth == 0 {
        return prop::collection::vec(simple, 1..4).boxed();
    }
    let parallel = (prop::collection::vec(machine(depth - 1), 1..3), any::<bool>()).prop_map(
        |(branches, caught)| {
            let mut state = json!({"Type": "Parallel", "MACHINES": branches});
            if caught {
                state["Catch"] = json!([{"ErrorEquals": ["States.ALL"], "Next": "NEXT"}]);
            }
            state
        },
    );
    let map = (machine(depth - 1), 0_usize..4, 0_u64..3).prop_map(|(inner, items, most)| {
        let items: Vec<usize> = (0..items).collect();
        json!({"Type": "Map", "Items": items, "MaxConcurrency": most, "MACHINES": [inner]})
    });
    prop::collection::vec(prop_oneof![3 => simple, 1 => parallel, 1 => map], 1..4).boxed()
}

/// Names the states and joins them.
fn joined(states: Vec<Value>, names: &mut u32) -> Value {
    let first = *names;
    *names += u32::try_from(states.len()).unwrap();
    let last = first + u32::try_from(states.len()).unwrap() - 1;
    let mut object = Map::new();
    for (id, mut state) in (first..).zip(states) {
        let next = if id == last { None } else { Some(format!("S{}", id + 1)) };
        let end = format!("E{first}");
        let machines = state.as_object_mut().unwrap().remove("MACHINES");
        let target = format!("\"{}\"", next.as_ref().unwrap_or(&end));
        let text = state.to_string().replace("\"NEXT\"", &target);
        state = serde_json::from_str(&text).unwrap();
        if let Some(machines) = machines {
            let machines: Vec<Vec<Value>> = serde_json::from_value(machines).unwrap();
            let inner: Vec<Value> = machines.into_iter().map(|m| joined(m, names)).collect();
            if state["Type"] == "Map" {
                state["ItemProcessor"] = inner.into_iter().next().unwrap();
            } else {
                state["Branches"] = Value::Array(inner);
            }
        }
        if state["Type"] != "Choice" {
            state["Next"] = json!(next.unwrap_or(end));
        }
        object.insert(format!("S{id}"), state);
    }
    object.insert(format!("E{first}"), json!({"Type": "Succeed"}));
    json!({"StartAt": format!("S{first}"), "States": object})
}

fn program(states: Vec<Value>) -> Program {
    let mut definition = joined(states, &mut 0);
    definition["QueryLanguage"] = json!("JSONata");
    definition["TimeoutSeconds"] = json!(50);
    let document = Document::parse(&definition.to_string()).unwrap();
    Program::parse(&document, WorkflowType::Standard)
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{definition:#}"))
}

/// What may happen next, and what of it does, as `choices` say.
#[derive(Default)]
struct World {
    now: i64,
    tasks: Vec<TaskId>,
    timers: BTreeMap<Timer, Timestamp>,
}

impl World {
    fn perform(&mut self, commands: &[Command]) {
        for command in commands {
            match command {
                Command::RunTask(run) => self.tasks.push(run.task),
                Command::CancelTask { task } => self.tasks.retain(|open| open != task),
                Command::SetTimer { timer, at } => {
                    self.timers.insert(*timer, *at);
                }
                Command::ClearTimer { timer } => {
                    self.timers.remove(timer);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self, choice: u8) -> Option<(Timestamp, Input)> {
        let answers =
            !self.tasks.is_empty() && (!choice.is_multiple_of(3) || self.timers.is_empty());
        if answers {
            let task = self.tasks.remove(choice as usize % self.tasks.len());
            let output = Arc::new(json!({"choice": choice}));
            let input = match choice % 4 {
                0 => Input::TaskFailed { task, failure: Failure::new("Down", "by chance") },
                _ => Input::TaskSucceeded { task, output },
            };
            return Some((Timestamp(BEGIN.0 + self.now), input));
        }
        let (timer, at) = self.timers.iter().min_by_key(|(timer, at)| (**at, **timer))?;
        let (timer, at) = (*timer, *at);
        self.timers.remove(&timer);
        self.now = self.now.max(at.0 - BEGIN.0);
        Some((Timestamp(BEGIN.0 + self.now), Input::TimerFired { timer }))
    }
}

type Journal = Vec<(Timestamp, Input)>;

/// Runs a program as chance has it; each position's snapshot comes with it.
fn run(program: &Program, choices: &[u8]) -> (Execution, Journal, Vec<Vec<u8>>) {
    let start = start(json!({"x": 1}));
    let mut journal = vec![(BEGIN, Input::Started(Box::new(start.clone())))];
    let (mut execution, commands) = Execution::begin(program, BEGIN, start);
    let mut world = World::default();
    world.perform(&commands);
    let mut snapshots = vec![execution.to_bytes()];
    for choice in choices.iter().cycle().take(300) {
        if execution.outcome().is_some() {
            break;
        }
        let Some((at, input)) = world.next(*choice) else { break };
        assert!(execution.expects(&input), "{input:?} was asked for");
        journal.push((at, input.clone()));
        world.perform(&execution.apply(program, at, input));
        snapshots.push(execution.to_bytes());
        let open: Vec<Timer> =
            execution.open_timers().into_iter().map(|(timer, _)| timer).collect();
        assert!(open.iter().all(|timer| world.timers.contains_key(timer)), "open but not set");
    }
    (execution, journal, snapshots)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_journal_tells_everything(
        states in machine(2),
        choices in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let program = program(states);
        let (execution, journal, snapshots) = run(&program, &choices);
        prop_assert_ne!(execution.status(), Status::Running, "nothing more happens, but it runs");
        let bytes = execution.to_bytes();

        let (again, same_journal, same_snapshots) = run(&program, &choices);
        prop_assert_eq!(&again.to_bytes(), &bytes);
        prop_assert_eq!(&same_journal, &journal);
        prop_assert_eq!(&same_snapshots, &snapshots);

        for (position, snapshot) in snapshots.iter().enumerate() {
            let mut woken = Execution::from_bytes(snapshot).unwrap();
            for (at, input) in &journal[position + 1..] {
                woken.apply(&program, *at, input.clone());
            }
            prop_assert_eq!(&woken.to_bytes(), &bytes, "woken at {}", position);
        }

        let text = serde_json::to_string(&journal).unwrap();
        let read: Journal = serde_json::from_str(&text).unwrap();
        let told = history(&program, journal);
        prop_assert_eq!(&history(&program, read), &told);
        for (event, id) in told.iter().zip(1..) {
            prop_assert_eq!(event.id, id);
            prop_assert!(event.previous_event_id < id);
        }
    }
}
