//! Runs recorded cases and counts those whose outcome is the recorded one.

mod definition;
mod execution;
mod jsonata;
mod patterns;
mod teststate;
mod transforms;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Files of cases, a JSON object a line, or folders of such files (`*.jsonl`).
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Show expected beside actual for the case with this id.
    #[arg(long, value_name = "ID")]
    show: Option<String>,
    /// Leave out cases that need services which are not offered, instead of failing them.
    #[arg(long)]
    skip_needs: bool,
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// What a case comes to: nothing, or "expected … actual …".
type Outcome = Result<(), String>;

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut total = Count::default();
    for path in &arguments.paths {
        for file in files(path)? {
            let count = run_file(&file, arguments)?;
            total.passed += count.passed;
            total.failed += count.failed;
            total.skipped += count.skipped;
        }
    }
    print!("{} passed, {} failed", total.passed, total.failed);
    if arguments.skip_needs {
        print!(", {} skipped", total.skipped);
    }
    println!();
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn run_file(file: &Path, arguments: &Arguments) -> anyhow::Result<Count> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut count = Count::default();
    let mut failures = Vec::new();
    let mut cases = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Value = serde_json::from_str(&jsonata::readable(line))
            .with_context(|| format!("{} line {}", file.display(), i + 1))?;
        cases.push((i, case));
    }
    let siblings = Siblings::of(&cases);
    for (i, case) in &cases {
        if arguments.skip_needs && lacks_service(case) {
            count.skipped += 1;
            continue;
        }
        let id = case["id"].as_str().map_or_else(|| format!("line {}", i + 1), str::to_owned);
        let outcome = run_case(case, &siblings);
        if arguments.show.as_deref() == Some(id.as_str()) {
            show(&id, case, &outcome);
        }
        match outcome {
            Ok(()) => count.passed += 1,
            Err(_) => {
                count.failed += 1;
                failures.push(id);
            }
        }
    }
    let total = count.passed + count.failed;
    println!("{}: {}/{total}", file.display(), count.passed);
    for id in failures {
        println!("  {id}");
    }
    Ok(count)
}

/// What cases tell of one another: several may be recorded from one run, or have read one object.
struct Siblings<'c> {
    /// Histories by their run.
    told: HashMap<Run<'c>, &'c Value>,
    /// The items of the object that the cases of one test read: as many as one of them tells.
    items: HashMap<&'c str, Vec<Value>>,
}

/// The test that was recorded, what it ran and with what input.
type Run<'c> = (&'c str, String, String);

impl<'c> Siblings<'c> {
    fn of(cases: &'c [(usize, Value)]) -> Siblings<'c> {
        let mut siblings = Siblings { told: HashMap::new(), items: HashMap::new() };
        for (_, case) in cases {
            if let Some(history) = case.get("history").filter(|events| events.is_array()) {
                siblings.told.insert(run_of(case), history);
            }
            if let Some(items) = execution::items::told(case) {
                let known = siblings.items.entry(test_of(case)).or_default();
                if items.len() > known.len() {
                    *known = items;
                }
            }
        }
        siblings
    }
}

/// The recorded test, without what it was run with.
fn test_of(case: &Value) -> &str {
    let id = case["id"].as_str().unwrap_or_default();
    id.split(['[', '#']).next().unwrap_or(id)
}

fn run_of(case: &Value) -> Run<'_> {
    let id = case["id"].as_str().unwrap_or_default();
    let test = id.rsplit_once('#').map_or(id, |(test, _)| test);
    (test, case["definition"].to_string(), case["input"].to_string())
}

fn run_case(case: &Value, siblings: &Siblings<'_>) -> Outcome {
    match case["kind"].as_str().unwrap_or_default() {
        "match" | "compile" => patterns::run_case(case),
        "execution" => execution::run_case(
            case,
            siblings.told.get(&run_of(case)).copied(),
            siblings.items.get(test_of(case)).map(Vec::as_slice),
        ),
        "invalid_definition" => definition::run_invalid(case),
        "input_transform" => transforms::run_case(case),
        "jsonata" => jsonata::run_case(case),
        "test_state" => teststate::run_case(case),
        "validate" => definition::run_validate(case),
        kind => Err(format!("no runner for cases of kind {kind:?}")),
    }
}

/// Services that workflows may call in these runs.
const OFFERED: [&str; 6] = ["activity", "events", "lambda", "s3", "sqs", "states"];

fn lacks_service(case: &Value) -> bool {
    case["needs"].as_array().is_some_and(|needs| {
        needs.iter().filter_map(Value::as_str).any(|need| !OFFERED.contains(&need))
    })
}

fn show(id: &str, case: &Value, outcome: &Outcome) {
    println!("case {id}:");
    println!("{case:#}");
    match outcome {
        Ok(()) => println!("passed"),
        Err(difference) => println!("{difference}"),
    }
}
