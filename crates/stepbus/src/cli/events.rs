//! `stepbus events`: publish by hand, read the retained log, explain matches.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use stepbus_model::EventId;
use stepbus_store::Priority;

use super::client::{Client, cell, listing};
use super::explain::Explain;
use super::replays::moment;
use crate::output;

/// The priorities a run can have, by name.
pub(super) const PRIORITIES: [&str; 3] =
    [Priority::Low.name(), Priority::Normal.name(), Priority::High.name()];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish one event; it is the root of a run of its own.
    Put {
        #[arg(long)]
        bus: String,
        #[arg(long)]
        detail_type: String,
        #[arg(long, default_value = "operator")]
        source: String,
        /// The detail, a JSON object; `-` reads it from standard input.
        #[arg(long, value_name = "JSON", default_value = "{}")]
        detail: String,
        /// What the run gets beside others that wait for the same system: low, normal or high.
        #[arg(long, default_value = "normal", value_parser = PRIORITIES)]
        priority: String,
        /// By which the event counts as the same for 5 minutes, should it be published again.
        #[arg(long, value_name = "ID")]
        dedup_id: Option<String>,
        /// Send what the run delivers although targets hold the same already.
        #[arg(long)]
        force: bool,
    },
    /// Read the retained log, oldest first.
    List {
        #[arg(long)]
        bus: Option<String>,
        /// Only events after this one.
        #[arg(long, value_name = "EVENT")]
        after: Option<EventId>,
        /// Accepted since: a time as 2026-01-31T08:00:00Z, or so long ago as 2h.
        #[arg(long, value_name = "TIME", requires = "bus")]
        since: Option<String>,
        /// Accepted before.
        #[arg(long, value_name = "TIME", requires = "bus")]
        until: Option<String>,
        /// Only events that match this event pattern.
        #[arg(long, value_name = "JSON", requires = "bus")]
        pattern: Option<String>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Say field by field why an event matches a pattern or does not; without a server where
    /// both are given. Exit status 0: it matches, 1: it does not, 2: that cannot be said.
    Explain(Explain),
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::Put { bus, detail_type, source, detail, priority, dedup_id, force } => {
                let entry = json!({
                    "bus": bus, "source": source, "detail-type": detail_type, "priority": priority,
                    "dedup_id": dedup_id,
                    "force": force,
                });
                put(client, entry, detail)
            }
            Command::List { bus, after, since, until, pattern, limit } => {
                let query = [
                    ("bus", bus),
                    ("after", after.map(|id| id.to_string())),
                    ("since", since.as_deref().map(moment).transpose()?),
                    ("until", until.as_deref().map(moment).transpose()?),
                    ("pattern", pattern),
                    ("limit", Some(limit.to_string())),
                ];
                let answer = client.get("events", &query)?;
                Ok(client.show(&answer, list))
            }
            Command::Explain(explain) => Ok(explain.run(client)),
        }
    }
}

fn put(client: &Client, mut entry: Value, detail: String) -> anyhow::Result<ExitCode> {
    let text = output::argument(detail)?;
    let detail: Value = serde_json::from_str(&text).context("--detail is no JSON")?;
    if !detail.is_object() {
        bail!("--detail must be a JSON object");
    }
    entry["detail"] = detail;
    let answer = client.post("events", &json!({ "entries": [entry] }))?;
    let result = &answer["entries"][0];
    if let Some(error) = result["error"].as_str() {
        bail!("{error}: {}", cell(result, "/message"));
    }
    Ok(client.show(result, |result| {
        format!("{} published in {}\n", cell(result, "/event"), cell(result, "/run"))
    }))
}

fn list(events: &Value) -> String {
    let head = ["event", "run", "bus", "time", "source", "detail-type", "caused by"];
    listing(events, "no events", &head, |row| {
        vec![
            cell(row, "/id"),
            cell(row, "/run"),
            cell(row, "/bus"),
            output::time(&row["at"]),
            cell(row, "/event/source"),
            cell(row, "/event/detail-type"),
            cell(row, "/caused_by"),
        ]
    })
}
