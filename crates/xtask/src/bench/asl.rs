//! The interpreter on one thread: transitions a second, the product of the example sync beside
//! its expressions alone, history by replay, and waking an execution from the store.

mod chains;
mod product;
mod waking;

use std::time::Instant;

use anyhow::{Result, bail};
use serde_json::Value;
use stepbus_asl::{Bounds, Program, Start, WorkflowType};
use stepbus_document::Document;
use stepbus_model::Timestamp;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds of each; the fastest counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Inputs in the journal of the execution that is woken.
    #[arg(long, default_value_t = 10_000)]
    entries: usize,
}

const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if cfg!(debug_assertions) {
        bail!("built for debugging; use cargo xtask bench asl");
    }
    chains::run(arguments.rounds)?;
    product::run(arguments.rounds)?;
    waking::run(arguments)
}

/// Seconds that one call of each takes at best, measured in turns so that both meet the same
/// machine. Each is called for about a hundredth of a second a round.
fn beside(rounds: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let (mut best, mut other_best) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..rounds {
        best = best.min(each(&mut one));
        other_best = other_best.min(each(&mut other));
    }
    (best, other_best)
}

fn each(work: &mut impl FnMut()) -> f64 {
    const SECONDS: f64 = 0.05;
    let begun = Instant::now();
    let start = processor_seconds();
    let mut calls = 0;
    loop {
        work();
        calls += 1;
        // The processor's clock is a file; the other one costs nothing.
        if begun.elapsed().as_secs_f64() > SECONDS {
            let spent = processor_seconds() - start;
            return spent / f64::from(calls);
        }
    }
}

/// What this thread has used of the processor, so that other work on the machine counts less.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let used: Option<f64> = text.split(' ').next().and_then(|number| number.parse().ok());
    used.unwrap_or_default() / 1e9
}

fn program(definition: &str) -> Result<Program> {
    let document = Document::parse(definition)?;
    Program::parse(&document, WorkflowType::Standard).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", problems.join("\n"))
    })
}

fn start(input: Value) -> Start {
    Start {
        input: input.into(),
        execution_arn: "arn:aws:states:local:000000000000:execution:m:e".into(),
        execution_name: "e".into(),
        state_machine_arn: "arn:aws:states:local:000000000000:stateMachine:m".into(),
        state_machine_name: "m".into(),
        role_arn: None,
        seed: 42,
        workflow_type: WorkflowType::Standard,
        map_item: None,
        resumption: None,
        bounds: Bounds::default(),
    }
}
