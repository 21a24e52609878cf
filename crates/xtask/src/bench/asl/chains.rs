//! Chains of states that wait for nothing.

use std::fmt::Write;
use std::hint::black_box;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use stepbus_asl::{Execution, Input, Status, history};
use stepbus_expr::{Env, EvalLimits, Scope, Template};

use super::{BEGIN, beside, program, start};

const STATES: usize = 1_000;

pub(super) fn run(rounds: usize) -> Result<()> {
    println!("transitions a second, {STATES} states an execution");
    println!("{:34}{:>13}{:>16}{:>8}", "chain", "without", "with history", "ratio");
    let input = json!({ "n": 3, "sku": "A-100", "price": 9.5, "tags": ["a", "b"] });
    chain(rounds, "Pass", &pass("JSONPath", ""), &input)?;
    chain(rounds, "Pass, ResultPath", &pass("JSONPath", "Result: 1, ResultPath: $.r, "), &input)?;
    let output = "Output: '{% $states.input %}', ";
    chain(rounds, "Pass, JSONata Output", &pass("JSONata", output), &input)?;
    chain(rounds, "Choice, JSONPath", &choice_by_path(), &input)?;
    chain(rounds, "Choice, JSONata", &choice_by_expression(), &input)?;
    conditions(rounds, &input)
}

/// The chain with nobody listening, as the runtime runs it, beside the same one told as history.
fn chain(rounds: usize, name: &str, definition: &str, input: &Value) -> Result<()> {
    let program = program(definition)?;
    let (execution, _) = Execution::begin(&program, BEGIN, start(input.clone()));
    ensure!(execution.status() == Status::Succeeded, "{name}: {:?}", execution.outcome());
    let given = start(input.clone());
    let (bare, told) = beside(
        rounds,
        || {
            black_box(Execution::begin(&program, BEGIN, given.clone()));
        },
        || {
            let journal = [(BEGIN, Input::Started(given.clone().into()))];
            black_box(history(&program, journal));
        },
    );
    let speed = |seconds: f64| STATES as f64 / seconds;
    println!("{name:34}{:>13.0}{:>16.0}{:>8.2}", speed(bare), speed(told), told / bare);
    Ok(())
}

/// A JSONata Choice beside its condition alone.
fn conditions(rounds: usize, input: &Value) -> Result<()> {
    let program = program(&choice_by_expression())?;
    let given = start(input.clone());
    let condition = Template::compile(&json!(CONDITION)).map_err(|_| anyhow::anyhow!("broken"))?;
    let (all, alone) = beside(
        rounds,
        || {
            black_box(Execution::begin(&program, BEGIN, given.clone()));
        },
        || {
            for _ in 0..STATES {
                let mut scope = Scope::new(Env::new(BEGIN, 1));
                scope.limits(EvalLimits::DEFAULT);
                scope.bind_member("states", "input", input);
                black_box(condition.eval(&scope).is_ok());
            }
        },
    );
    println!("a JSONata Choice takes {:.2}x its condition alone", all / alone);
    Ok(())
}

fn pass(language: &str, fields: &str) -> String {
    let mut text = format!("QueryLanguage: {language}\nStartAt: S0\nStates:\n");
    for n in 0..STATES - 1 {
        let _ = writeln!(text, "  S{n}: {{ Type: Pass, {fields}Next: S{} }}", n + 1);
    }
    let _ = writeln!(text, "  S{}: {{ Type: Pass, {fields}End: true }}", STATES - 1);
    text
}

fn choice_by_path() -> String {
    choice("JSONPath", "Variable: $.n, NumericEquals: 3")
}

const CONDITION: &str = "{% $states.input.n = 3 %}";

fn choice_by_expression() -> String {
    choice("JSONata", &format!("Condition: '{CONDITION}'"))
}

fn choice(language: &str, rule: &str) -> String {
    let mut text = format!("QueryLanguage: {language}\nStartAt: S0\nStates:\n");
    for n in 0..STATES - 1 {
        let next = n + 1;
        let _ = writeln!(
            text,
            "  S{n}: {{ Type: Choice, Choices: [{{ {rule}, Next: S{next} }}], Default: S{} }}",
            STATES - 1
        );
    }
    let _ = writeln!(text, "  S{}: {{ Type: Succeed }}", STATES - 1);
    text
}
