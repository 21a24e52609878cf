//! `stepbus map-runs`: distributed maps, their counts, what failed in them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use stepbus_model::{ExecutionId, MapRunId, RunId};

use super::client::{Client, cell, listing};
use super::replays::held_back;
use crate::output;

/// Which of those that did not succeed run again.
#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// Only those that failed with this error.
    #[arg(long)]
    error: Option<String>,
    /// Only those for whose item (`$states.input`) this JSONata is true.
    #[arg(long, value_name = "JSONATA")]
    item_filter: Option<String>,
    /// Only those that entered this state; they begin at it, with the input it had.
    #[arg(long, value_name = "STATE")]
    from_state: Option<String>,
    /// The definition they run by: the one they had, or the workflow's current one. By that an
    /// execution goes on at the state that failed, a map run's children begin anew, and each at
    /// --from-state when that is given.
    #[arg(long, default_value = "original", value_parser = ["original", "current"])]
    definition: String,
}

impl Selection {
    pub(super) fn body(&self) -> Value {
        json!({
            "error": self.error,
            "itemFilter": self.item_filter,
            "fromState": self.from_state,
            "currentDefinition": self.definition == "current",
        })
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List map runs, newest first.
    List {
        #[arg(long)]
        run: Option<RunId>,
        /// Only those of this execution.
        #[arg(long)]
        execution: Option<ExecutionId>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only map runs older than this one.
        #[arg(long, value_name = "MAP_RUN")]
        before: Option<MapRunId>,
    },
    /// Show a map run with its counts of items and children, as DescribeMapRun does.
    Show { map_run: MapRunId },
    /// Change a running map run, as UpdateMapRun does.
    Update {
        map_run: MapRunId,
        /// Children at once; 0 is as many as the limit `map_concurrency` allows.
        #[arg(long, value_name = "COUNT")]
        max_concurrency: Option<u64>,
        #[arg(long, value_name = "COUNT")]
        tolerated_failure_count: Option<u64>,
        #[arg(long, value_name = "PERCENT")]
        tolerated_failure_percentage: Option<f64>,
    },
    /// Run again what did not succeed in a map run whose execution has ended.
    Redrive {
        map_run: MapRunId,
        #[command(flatten)]
        selection: Selection,
        /// The same token redrives once.
        #[arg(long, value_name = "TOKEN")]
        client_token: Option<String>,
    },
    /// What failed: children with item and input, or groups of those that failed alike.
    Failures {
        map_run: MapRunId,
        /// One line for each kind of failure, with how many there are and some of the items.
        #[arg(long)]
        group: bool,
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only failures after this child.
        #[arg(long, value_name = "EXECUTION")]
        after: Option<ExecutionId>,
    },
    /// Write all that failed, with item, input, error and cause.
    Export {
        map_run: MapRunId,
        #[arg(long, default_value = "jsonl", value_parser = ["csv", "jsonl"])]
        format: String,
        /// The file to write; the standard output when there is none.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::List { run, execution, limit, before } => {
                let query = [
                    ("run", run.map(|id| id.to_string())),
                    ("execution", execution.map(|id| id.to_string())),
                    ("limit", Some(limit.to_string())),
                    ("before", before.map(|id| id.to_string())),
                ];
                Ok(client.show(&client.get("map-runs", &query)?, list))
            }
            Command::Show { map_run } => {
                let answer = client.get(&format!("map-runs/{map_run}"), &[])?;
                Ok(client.show(&answer, show))
            }
            Command::Update {
                map_run,
                max_concurrency,
                tolerated_failure_count,
                tolerated_failure_percentage,
            } => {
                let update = json!({
                    "maxConcurrency": max_concurrency,
                    "toleratedFailureCount": tolerated_failure_count,
                    "toleratedFailurePercentage": tolerated_failure_percentage,
                });
                let answer = client.post(&format!("map-runs/{map_run}/update"), &update)?;
                Ok(client.show(&answer, show))
            }
            Command::Redrive { map_run, selection, client_token } => {
                let mut body = selection.body();
                body["clientToken"] = json!(client_token);
                let answer = client.post(&format!("map-runs/{map_run}/redrive"), &body)?;
                Ok(client.show(&answer, |answer| {
                    format!("{map_run}: {} children run again\n", cell(answer, "/children"))
                }))
            }
            Command::Failures { map_run, group: true, .. } => {
                let answer = client.get(&format!("map-runs/{map_run}/failure-groups"), &[])?;
                Ok(client.show(&answer, groups))
            }
            Command::Failures { map_run, group: false, limit, after } => {
                let query =
                    [("limit", Some(limit.to_string())), ("after", after.map(|id| id.to_string()))];
                let answer = client.get(&format!("map-runs/{map_run}/failures"), &query)?;
                Ok(client.show(&answer, failures))
            }
            Command::Export { map_run, format, output } => {
                let query = [("format", Some(format))];
                let path = format!("map-runs/{map_run}/export");
                match output {
                    None => client.copy(&path, &query, &mut std::io::stdout().lock())?,
                    Some(file) => {
                        let named = || format!("cannot write {}", file.display());
                        let mut to = std::fs::File::create(&file).with_context(named)?;
                        client.copy(&path, &query, &mut to)?;
                        to.flush().with_context(named)?;
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn list(map_runs: &Value) -> String {
    let head = [
        "map run",
        "workflow",
        "status",
        "run",
        "started",
        "items",
        "succeeded",
        "failed",
        "pending",
    ];
    listing(map_runs, "no map runs", &head, |row| {
        vec![
            cell(row, "/id"),
            cell(row, "/workflow"),
            cell(row, "/status"),
            cell(row, "/run"),
            output::time(&row["startDate"]),
            cell(row, "/itemCounts/total"),
            cell(row, "/itemCounts/succeeded"),
            cell(row, "/itemCounts/failed"),
            cell(row, "/itemCounts/pending"),
        ]
    })
}

const COUNTERS: [&str; 10] = [
    "total",
    "pending",
    "running",
    "succeeded",
    "failed",
    "timedOut",
    "aborted",
    "resultsWritten",
    "failuresNotRedrivable",
    "pendingRedrive",
];

fn show(map_run: &Value) -> String {
    let mut text = String::new();
    for name in [
        "id",
        "mapRunArn",
        "workflow",
        "label",
        "childType",
        "status",
        "execution",
        "run",
        "maxConcurrency",
        "toleratedFailureCount",
        "toleratedFailurePercentage",
        "redriveCount",
        "sourceVersion",
        "error",
        "cause",
    ] {
        if !map_run[name].is_null() {
            text.push_str(&format!("{name:<27} {}\n", cell(map_run, &format!("/{name}"))));
        }
    }
    for name in ["startDate", "stopDate", "redriveDate"] {
        if !map_run[name].is_null() {
            text.push_str(&format!("{name:<27} {}\n", output::time(&map_run[name])));
        }
    }
    let held = &map_run["heldBack"];
    if !held.is_null() {
        let most = cell(held, "/childrenAtOnce");
        text.push_str(&format!("{:<27} {most} children at once, ", "heldBack"));
        text.push_str(&held_back(held));
    }
    let rows: Vec<Vec<String>> = COUNTERS
        .iter()
        .map(|name| {
            let items = cell(map_run, &format!("/itemCounts/{name}"));
            vec![(*name).to_owned(), items, cell(map_run, &format!("/executionCounts/{name}"))]
        })
        .collect();
    text.push('\n');
    text.push_str(&output::table(&["", "items", "children"], &rows));
    text
}

fn groups(answer: &Value) -> String {
    listing(
        answer,
        "nothing failed",
        &["status", "error", "children", "items like", "cause"],
        |row| {
            let samples = row["samples"].as_array().into_iter().flatten();
            let samples: Vec<String> = samples.map(|sample| sample["item"].to_string()).collect();
            vec![
                cell(row, "/status"),
                cell(row, "/error"),
                cell(row, "/count"),
                samples.join(", "),
                cell(row, "/cause"),
            ]
        },
    )
}

fn failures(answer: &Value) -> String {
    let head = ["item", "execution", "status", "error", "cause"];
    let mut text = listing(&answer["failures"], "nothing failed", &head, |row| {
        vec![
            cell(row, "/index"),
            cell(row, "/execution"),
            cell(row, "/status"),
            cell(row, "/error"),
            cell(row, "/cause"),
        ]
    });
    if let Some(next) = answer["next"].as_str() {
        text.push_str(&format!("more: --after {next}\n"));
    }
    text
}
