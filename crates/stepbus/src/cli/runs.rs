//! `stepbus runs`: what was caused by one event, and whether its books add up.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;
use stepbus_model::RunId;

use super::client::{Client, cell, listing};
use super::map_runs::Selection;
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List runs, newest first.
    List {
        /// Only runs that still have something open.
        #[arg(long)]
        open: bool,
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Only runs older than this one.
        #[arg(long, value_name = "RUN")]
        before: Option<RunId>,
    },
    /// Show a run with its totals, a line a subscription.
    Show { run: RunId },
    /// Run again only what failed: executions from the state that failed, of map runs the children
    /// that did not succeed. The others never run again.
    RerunFailed {
        run: RunId,
        #[command(flatten)]
        selection: Selection,
    },
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::List { open, limit, before } => {
                let query = [
                    ("open", open.then(|| "true".to_owned())),
                    ("limit", Some(limit.to_string())),
                    ("before", before.map(|id| id.to_string())),
                ];
                let answer = client.get("runs", &query)?;
                Ok(client.show(&answer, list))
            }
            Command::RerunFailed { run, selection } => {
                let path = format!("runs/{run}/rerun-failed");
                let answer = client.post(&path, &selection.body())?;
                Ok(client.show(&answer, |answer| {
                    listing(answer, "nothing", &["runs again", "children"], |row| {
                        vec![cell(row, "/subject"), cell(row, "/children")]
                    })
                }))
            }
            Command::Show { run } => {
                let answer = client.get(&format!("runs/{run}"), &[])?;
                Ok(client.show(&answer, show))
            }
        }
    }
}

fn list(runs: &Value) -> String {
    let head = ["run", "status", "origin", "label", "started", "open"];
    listing(runs, "no runs", &head, |run| {
        vec![
            cell(run, "/id"),
            cell(run, "/status"),
            cell(run, "/origin"),
            cell(run, "/label"),
            output::time(&run["started"]),
            cell(run, "/open"),
        ]
    })
}

fn show(run: &Value) -> String {
    let forced = if run["force"] == true { "  forced" } else { "" };
    let mut text = format!(
        "{}  {}  {} {}{forced}\nstarted {}  ended {}  open {}\n",
        cell(run, "/id"),
        cell(run, "/status"),
        cell(run, "/origin"),
        cell(run, "/label"),
        output::time(&run["started"]),
        output::time(&run["ended"]),
        cell(run, "/open"),
    );
    let maps = &run["map_runs"];
    if maps.as_array().is_some_and(|maps| !maps.is_empty()) {
        text.push('\n');
        let head = ["map run", "workflow", "status", "total", "succeeded", "failed", "aborted"];
        text.push_str(&listing(maps, "", &head, |map| {
            let columns = ["/id", "/workflow", "/status", "/counts/total", "/counts/succeeded"];
            let mut row: Vec<String> = columns.iter().map(|column| cell(map, column)).collect();
            let failed =
                ["failed", "timed_out"].iter().filter_map(|name| map["counts"][name].as_i64());
            row.push(output::count(failed.sum()));
            row.push(cell(map, "/counts/aborted"));
            row
        }));
    }
    text.push('\n');
    text.push_str(&totals(&run["subscriptions"]));
    text
}

/// The columns of the books, in the order in which they add up.
pub(crate) const COLUMNS: [&str; 7] =
    ["matched", "delivered", "unchanged", "stale", "dead_lettered", "discarded", "pending"];

fn totals(subscriptions: &Value) -> String {
    let mut head = vec!["subscription"];
    head.extend(COLUMNS);
    listing(subscriptions, "nothing matched", &head, |line| {
        let mut row = vec![cell(line, "/subscription")];
        row.extend(COLUMNS.iter().map(|column| cell(line, &format!("/{column}"))));
        row
    })
}
