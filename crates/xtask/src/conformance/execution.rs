//! Recorded executions: run on a clock that is moved by hand, with stand-ins for functions.

pub(super) mod compare;
pub(super) mod items;
mod recording;
mod world;

use serde_json::Value;
use stepbus_asl::{Outcome, Program, WorkflowType};
use stepbus_document::Document;

use self::compare::Recorded;
use self::world::World;

/// Runs one case. `told` is a history of the same run, for a case that has none of its own; `items`
/// are those of the object that an ItemReader reads.
///
/// # Errors
/// What was expected beside what came out, where they differ.
pub(crate) fn run_case(
    case: &Value,
    told: Option<&Value>,
    items: Option<&[Value]>,
) -> Result<(), String> {
    let kind = match case["type"].as_str() {
        Some("EXPRESS") => WorkflowType::Express,
        _ => WorkflowType::Standard,
    };
    let definition = match &case["definition"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let document = Document::parse(&definition).map_err(|error| error.to_string())?;
    let program = Program::parse(&document, kind).map_err(|problems| {
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the definition was refused:\n{}", list.join("\n"))
    })?;
    let own = case["history"].as_array().filter(|events| !events.is_empty());
    let history = own.or_else(|| told?.as_array()).map_or(&[] as &[Value], Vec::as_slice);
    let mut world = World::of(case, history, items);
    let waits = case["expect"]["status"] == "RUNNING";
    let ended = world.run(&program, case["input"].clone(), kind, waits);
    let events = stepbus_asl::history(&program, world.journal);
    let told: Vec<Value> = events.iter().map(stepbus_asl::HistoryEvent::to_value).collect();
    let recorded = case["history"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    // A recording of a history alone names no status.
    if !waits || recorded.is_empty() {
        check_end(&case["expect"], ended.as_ref())?;
    }
    let day = case["recorded"].as_str().unwrap_or_default();
    compare::histories(&Recorded { events: recorded, running: waits, day }, &told)
}

fn check_end(expected: &Value, actual: Option<&Outcome>) -> Result<(), String> {
    let (status, output, error, cause) = match actual {
        None => ("RUNNING", Value::Null, None, None),
        Some(Outcome::Succeeded(output)) => ("SUCCEEDED", (**output).clone(), None, None),
        Some(Outcome::Failed(failure)) => {
            ("FAILED", Value::Null, failure.error.clone(), failure.cause.clone())
        }
        Some(Outcome::TimedOut(failure)) => {
            ("TIMED_OUT", Value::Null, failure.error.clone(), failure.cause.clone())
        }
        Some(Outcome::Aborted(failure)) => {
            ("ABORTED", Value::Null, failure.error.clone(), failure.cause.clone())
        }
    };
    let text = |text: Option<String>| text.map_or(Value::Null, Value::from);
    let actual = [
        ("status", Value::from(status)),
        ("output", output),
        ("error", text(error)),
        ("cause", text(cause)),
    ];
    for (name, actual) in actual {
        if !compare::same(&expected[name], &actual) {
            return Err(format!("{name}\nexpected: {}\nactual:   {actual}", expected[name]));
        }
    }
    Ok(())
}
