//! `stepbus tasks` and `stepbus activities`: results of tasks that come from outside.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, cell, listing};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Tasks {
    /// The task of this token is done.
    Success {
        token: String,
        /// Its output, as JSON.
        #[arg(default_value = "{}")]
        output: String,
    },
    /// The task of this token failed.
    Failure {
        token: String,
        #[arg(long)]
        error: Option<String>,
        #[arg(long)]
        cause: Option<String>,
    },
    /// The task of this token is still being worked on.
    Heartbeat { token: String },
}

#[derive(Debug, Subcommand)]
pub(super) enum Activities {
    /// List activities.
    List,
    /// Make an activity.
    Create { name: String },
    /// Delete an activity; tasks that wait for its workers wait until they time out.
    Delete { name: String },
    /// Take the task that waits longest, as a worker does.
    Take {
        name: String,
        /// The worker's name, for the history.
        #[arg(long)]
        worker: Option<String>,
        /// Seconds to wait for a task, up to 60.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
}

impl Tasks {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let (path, body) = match self {
            Tasks::Success { token, output } => {
                let output: Value =
                    serde_json::from_str(&output).context("the output is no JSON")?;
                ("tasks/success", json!({ "token": token, "output": output }))
            }
            Tasks::Failure { token, error, cause } => {
                ("tasks/failure", json!({ "token": token, "error": error, "cause": cause }))
            }
            Tasks::Heartbeat { token } => ("tasks/heartbeat", json!({ "token": token })),
        };
        let answer = client.post(path, &body)?;
        Ok(client.show(&answer, |_| "taken\n".to_owned()))
    }
}

impl Activities {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Activities::List => {
                let answer = client.get("activities", &[])?;
                Ok(client.show(&answer, |answer| {
                    listing(answer, "no activities", &["activity", "arn", "created"], |row| {
                        let created = output::time(&row["created"]);
                        vec![cell(row, "/name"), cell(row, "/arn"), created]
                    })
                }))
            }
            Activities::Create { name } => {
                let answer = client.post("activities", &json!({ "name": name }))?;
                Ok(client.show(&answer, |answer| format!("{}\n", cell(answer, "/arn"))))
            }
            Activities::Delete { name } => {
                let answer = client.post(&format!("activities/{name}/delete"), &json!({}))?;
                Ok(client.show(&answer, |_| format!("{name} is deleted\n")))
            }
            Activities::Take { name, worker, wait } => {
                let body = json!({ "worker": worker, "wait_seconds": wait });
                let answer = client.post_patiently(&format!("activities/{name}/take"), &body)?;
                Ok(client.show(&answer, |answer| match answer["token"].as_str() {
                    Some(token) => format!("{token}\n{}\n", cell(answer, "/input")),
                    None => "no task\n".to_owned(),
                }))
            }
        }
    }
}
