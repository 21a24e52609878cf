//! `stepbus workflows` and `stepbus executions`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};
use stepbus_model::{ExecutionId, MapRunId, RunId};

use super::client::{Client, cell, listing};
use super::events::PRIORITIES;
use super::{replay, test_state, workflow_tests};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Workflows {
    /// List workflows with how many executions they had.
    List,
    /// Start an execution.
    Start {
        workflow: String,
        /// The execution's input, as JSON.
        #[arg(long, value_name = "JSON", default_value = "{}", conflicts_with = "input_file")]
        input: String,
        /// A file with the execution's input.
        #[arg(long, value_name = "FILE")]
        input_file: Option<PathBuf>,
        /// Wait for the end and show the output; of an EXPRESS workflow only.
        #[arg(long)]
        sync: bool,
        /// The execution's name; made up when not given.
        #[arg(long)]
        name: Option<String>,
        /// What the run gets beside others that wait for the same system: low, normal or high.
        #[arg(long, default_value = "normal", value_parser = PRIORITIES)]
        priority: String,
        /// Send what the run delivers although targets hold the same already.
        #[arg(long)]
        force: bool,
    },
    /// Run workflows against files of mocks and expectations, without a server.
    Test(workflow_tests::Test),
    /// Run one state by itself, as AWS's TestState does, without a server.
    TestState(test_state::TestState),
}

#[derive(Debug, Subcommand)]
pub(super) enum Executions {
    /// List executions, newest first; a map run's children with --map-run.
    List {
        #[arg(long)]
        workflow: Option<String>,
        /// RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED.
        #[arg(long)]
        status: Option<String>,
        #[arg(long)]
        run: Option<RunId>,
        #[arg(long, value_name = "MAP_RUN")]
        map_run: Option<MapRunId>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only executions older than this one.
        #[arg(long, value_name = "EXECUTION")]
        before: Option<ExecutionId>,
    },
    /// Show one execution with input, output and error.
    Describe { execution: ExecutionId },
    /// The events of an execution, as GetExecutionHistory tells them.
    History { execution: ExecutionId },
    /// Print definition and journal of an execution, to be replayed anywhere.
    Export(replay::Export),
    /// Show an execution as it was at an event: its states, variables, input and history.
    Replay(replay::Replay),
    /// Run a STANDARD execution that failed, timed out or was aborted again, from the state that
    /// failed, as RedriveExecution does.
    Redrive {
        execution: ExecutionId,
        /// A state that it was in, to begin at with the input it had; the one that failed when none
        /// is named.
        #[arg(long, value_name = "STATE")]
        from_state: Option<String>,
        /// The definition it goes on by: the one it had, or the workflow's current one.
        #[arg(long, default_value = "original", value_parser = ["original", "current"])]
        definition: String,
        /// The same token redrives once.
        #[arg(long, value_name = "TOKEN")]
        client_token: Option<String>,
    },
    /// Stop a running execution.
    Stop {
        execution: ExecutionId,
        #[arg(long)]
        error: Option<String>,
        #[arg(long)]
        cause: Option<String>,
    },
}

impl Workflows {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Workflows::Test(test) => test.run(client.is_json()),
            Workflows::TestState(test) => test.run(client.is_json()),
            Workflows::List => {
                let answer = client.get("workflows", &[])?;
                let head = ["workflow", "type", "started", "running", "succeeded", "failed"];
                let columns = ["/name", "/kind", "/started", "/running", "/succeeded", "/failed"];
                Ok(client.show(&answer, |answer| {
                    listing(answer, "no workflows", &head, |row| {
                        columns.iter().map(|column| cell(row, column)).collect()
                    })
                }))
            }
            Workflows::Start { workflow, input, input_file, sync, name, priority, force } => {
                let text = match input_file {
                    None => input,
                    Some(file) => std::fs::read_to_string(&file)
                        .with_context(|| format!("cannot read {}", file.display()))?,
                };
                let input: Value = serde_json::from_str(&text).context("the input is no JSON")?;
                let path = format!("workflows/{workflow}/executions");
                let start = json!({
                    "name": name, "input": input, "priority": priority, "force": force,
                    "sync": sync,
                });
                if sync {
                    let answer = client.post_patiently(&path, &start)?;
                    return Ok(client.show(&answer, |answer| describe(&answer["result"])));
                }
                let answer = client.post(&path, &start)?;
                Ok(client.show(&answer, |answer| {
                    format!("{} started in {}\n", cell(answer, "/execution"), cell(answer, "/run"))
                }))
            }
        }
    }
}

impl Executions {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Executions::List { workflow, status, run, map_run, limit, before } => {
                let query = [
                    ("workflow", workflow),
                    ("status", status),
                    ("run", run.map(|id| id.to_string())),
                    ("map_run", map_run.map(|id| id.to_string())),
                    ("limit", Some(limit.to_string())),
                    ("before", before.map(|id| id.to_string())),
                ];
                Ok(client.show(&client.get("executions", &query)?, list))
            }
            Executions::Describe { execution } => {
                let answer = client.get(&format!("executions/{execution}"), &[])?;
                Ok(client.show(&answer, describe))
            }
            Executions::History { execution } => {
                let answer = client.get(&format!("executions/{execution}/history"), &[])?;
                Ok(client.show(&answer, history))
            }
            Executions::Export(export) => export.run(client),
            Executions::Replay(replay) => replay.run(client),
            Executions::Redrive { execution, from_state, definition, client_token } => {
                let path = format!("executions/{execution}/redrive");
                let options = json!({
                    "fromState": from_state,
                    "currentDefinition": definition == "current",
                    "clientToken": client_token,
                });
                let answer = client.post(&path, &options)?;
                Ok(client.show(&answer, |_| format!("{execution} runs again\n")))
            }
            Executions::Stop { execution, error, cause } => {
                let path = format!("executions/{execution}/stop");
                let answer = client.post(&path, &json!({ "error": error, "cause": cause }))?;
                Ok(client.show(&answer, |_| format!("{execution} is being stopped\n")))
            }
        }
    }
}

fn list(executions: &Value) -> String {
    let head = ["execution", "workflow", "status", "run", "item", "started", "error"];
    listing(executions, "no executions", &head, |row| {
        vec![
            cell(row, "/id"),
            cell(row, "/workflow"),
            cell(row, "/status"),
            cell(row, "/run"),
            cell(row, "/item_index"),
            output::time(&row["started"]),
            cell(row, "/error"),
        ]
    })
}

fn describe(execution: &Value) -> String {
    let mut text = String::new();
    for name in [
        "id",
        "arn",
        "workflow",
        "status",
        "run",
        "caused_by",
        "children",
        "map_run",
        "item_index",
        "error",
        "cause",
        "redrive_status",
    ] {
        if !execution[name].is_null() {
            text.push_str(&format!("{name:<10} {}\n", cell(execution, &format!("/{name}"))));
        }
    }
    for name in ["started", "ended"] {
        text.push_str(&format!("{name:<10} {}\n", output::time(&execution[name])));
    }
    for name in ["input", "output"] {
        if !execution[name].is_null() {
            let value = serde_json::to_string_pretty(&execution[name]).unwrap_or_default();
            text.push_str(&format!("{name}:\n{value}\n"));
        }
    }
    text
}

pub(super) fn history(answer: &Value) -> String {
    listing(&answer["events"], "no events", &["id", "time", "type", "details"], |event| {
        let details = event.as_object().and_then(|members| {
            members.iter().find(|(name, _)| name.ends_with("EventDetails")).map(|(_, value)| value)
        });
        vec![
            cell(event, "/id"),
            cell(event, "/timestamp"),
            cell(event, "/type"),
            details.map(|details| shortened(&details.to_string())).unwrap_or_default(),
        ]
    })
}

/// One line of a terminal; `--json` has it all.
pub(super) fn shortened(text: &str) -> String {
    const WIDTH: usize = 100;
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    let head: String = text.chars().take(WIDTH).collect();
    format!("{head}…")
}
