//! `stepbus schedules`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::client::{Client, cell, listing};
use super::operating::{Pause, pretty, resume};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Schedules {
    /// List schedules with their next time.
    List {
        /// Those as well that are over and say `after_completion: delete`.
        #[arg(long)]
        all: bool,
    },
    /// Show one schedule.
    Show { schedule: String },
    /// The next times of a schedule.
    Next {
        schedule: String,
        #[arg(default_value_t = 10)]
        count: usize,
    },
    /// Fire no more; times that pass meanwhile do not count as missed. Survives a restart.
    Pause(Pause),
    /// Go on.
    Resume { name: String },
    /// Fire now, beside its times.
    RunNow { schedule: String },
}

impl Schedules {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Schedules::List { all } => {
                let query = [("all", all.then(|| "true".to_owned()))];
                Ok(client.show(&client.get("schedules", &query)?, |lines| {
                    let head = ["schedule", "state", "expression", "zone", "next", "last", "fired"];
                    listing(lines, "no schedules", &head, |line| {
                        vec![
                            cell(line, "/schedule"),
                            cell(line, "/state"),
                            cell(line, "/expression"),
                            cell(line, "/timezone"),
                            output::time(&line["next"]),
                            output::time(&line["last"]),
                            cell(line, "/fired"),
                        ]
                    })
                }))
            }
            Schedules::Show { schedule } => {
                Ok(client.show(&client.get(&format!("schedules/{schedule}"), &[])?, pretty))
            }
            Schedules::Next { schedule, count } => {
                let query = [("count", Some(count.to_string()))];
                let answer = client.get(&format!("schedules/{schedule}/next"), &query)?;
                Ok(client.show(&answer, |times| {
                    listing(times, "it is over", &["next"], |at| vec![cell(at, "/time")])
                }))
            }
            Schedules::Pause(pause) => pause.pause(client, "schedules"),
            Schedules::Resume { name } => resume(client, "schedules", &name),
            Schedules::RunNow { schedule } => {
                let answer = client.post(&format!("schedules/{schedule}/run-now"), &json!({}))?;
                Ok(client.show(&answer, |answer| format!("fired in {}\n", cell(answer, "/run"))))
            }
        }
    }
}
