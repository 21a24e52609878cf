//! `stepbus subscriptions` and `stepbus destinations`: how they stand, pause, resume, drain, test.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, cell, listing};
use super::runs::COLUMNS;
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Subscriptions {
    /// List subscriptions with their state and books.
    List,
    /// Show one subscription: what it is, how it stands.
    Show { subscription: String },
    /// Begin no more deliveries; what is in flight ends. Survives a restart.
    Pause(Pause),
    /// Go on.
    Resume { name: String },
    /// Pause, and wait until nothing is in flight.
    Drain(Pause),
}

#[derive(Debug, Subcommand)]
pub(super) enum Destinations {
    /// List destinations with their state and what was called.
    List,
    /// Show one destination.
    Show { destination: String },
    /// Begin no more deliveries to it, whoever's; what is in flight ends. Survives a restart.
    Pause(Pause),
    /// Go on.
    Resume { name: String },
    /// Pause, and wait until nothing is in flight.
    Drain(Pause),
    /// Make one real call, outside of all books, and show the answer.
    Test {
        destination: String,
        /// What is sent, as a transform would give it; `-` reads it from standard input.
        #[arg(long, value_name = "JSON")]
        payload: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Pause {
    name: String,
    /// Why; lists and the audit show it.
    #[arg(long, default_value = "")]
    reason: String,
}

impl Subscriptions {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Subscriptions::List => {
                Ok(client.show(&client.get("subscriptions", &[])?, list_subscriptions))
            }
            Subscriptions::Show { subscription } => {
                Ok(client.show(&client.get(&format!("subscriptions/{subscription}"), &[])?, pretty))
            }
            Subscriptions::Pause(pause) => pause.pause(client, "subscriptions"),
            Subscriptions::Resume { name } => resume(client, "subscriptions", &name),
            Subscriptions::Drain(pause) => pause.drain(client, "subscriptions"),
        }
    }
}

impl Destinations {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Destinations::List => {
                Ok(client.show(&client.get("destinations", &[])?, list_destinations))
            }
            Destinations::Show { destination } => {
                Ok(client.show(&client.get(&format!("destinations/{destination}"), &[])?, pretty))
            }
            Destinations::Pause(pause) => pause.pause(client, "destinations"),
            Destinations::Resume { name } => resume(client, "destinations", &name),
            Destinations::Drain(pause) => pause.drain(client, "destinations"),
            Destinations::Test { destination, payload } => test(client, &destination, payload),
        }
    }
}

impl Pause {
    pub(super) fn pause(self, client: &Client, listing: &str) -> anyhow::Result<ExitCode> {
        let path = format!("{listing}/{}/pause", self.name);
        let answer = client.post(&path, &json!({ "reason": self.reason }))?;
        Ok(client.show(&answer, |answer| {
            format!(
                "{} is paused, {} in flight\n",
                cell(answer, "/name"),
                cell(answer, "/in_flight")
            )
        }))
    }

    /// Asks until it is drained: what is in flight may take as long as its timeout.
    fn drain(self, client: &Client, listing: &str) -> anyhow::Result<ExitCode> {
        let path = format!("{listing}/{}/drain", self.name);
        loop {
            let answer = client.post(&path, &json!({ "reason": self.reason }))?;
            if answer["drained"] == true {
                return Ok(client.show(&answer, |answer| {
                    format!("{} is paused, nothing is in flight\n", cell(answer, "/name"))
                }));
            }
            output::note(&format!("{} still in flight", cell(&answer, "/in_flight")));
        }
    }
}

pub(super) fn resume(client: &Client, listing: &str, name: &str) -> anyhow::Result<ExitCode> {
    let answer = client.post(&format!("{listing}/{name}/resume"), &json!({}))?;
    Ok(client.show(&answer, |answer| {
        let what = if answer["resumed"] == true { "goes on" } else { "was not paused" };
        format!("{} {what}\n", cell(answer, "/name"))
    }))
}

fn test(client: &Client, destination: &str, payload: String) -> anyhow::Result<ExitCode> {
    let text = output::argument(payload)?;
    let payload: Value = serde_json::from_str(&text).context("--payload is no JSON")?;
    let path = format!("destinations/{destination}/test");
    let answer = client.post(&path, &json!({ "payload": payload }))?;
    let code = client.show(&answer, pretty);
    if answer["result"] != "DELIVERED" {
        bail!("{}: {}", cell(&answer, "/result"), cell(&answer, "/failure/message"));
    }
    Ok(code)
}

pub(super) fn pretty(answer: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(answer).unwrap_or_default())
}

fn list_subscriptions(lines: &Value) -> String {
    let mut head = vec!["subscription", "bus", "target", "state", "in flight"];
    head.extend(COLUMNS);
    listing(lines, "no subscriptions", &head, |line| {
        let fixed = ["/subscription", "/bus", "/target", "/state", "/in_flight"];
        let mut row: Vec<String> = fixed.iter().map(|column| cell(line, column)).collect();
        row.extend(COLUMNS.iter().map(|column| cell(line, &format!("/{column}"))));
        row
    })
}

fn list_destinations(lines: &Value) -> String {
    let head = ["destination", "state", "circuit", "in flight", "waiting", "calls", "failures"];
    listing(lines, "no destinations", &head, |line| {
        let columns = [
            "/destination",
            "/state",
            "/condition/circuit",
            "/condition/in_flight",
            "/condition/waiting",
            "/condition/calls",
            "/condition/failures",
        ];
        columns.iter().map(|column| cell(line, column)).collect()
    })
}

pub(super) fn audit_log(
    client: &Client,
    limit: usize,
    before: Option<u64>,
) -> anyhow::Result<ExitCode> {
    let query =
        [("limit", Some(limit.to_string())), ("before", before.map(|line| line.to_string()))];
    let answer = client.get("audit-log", &query)?;
    Ok(client.show(&answer, |lines| {
        let head = ["line", "time", "who", "action", "subject", "count", "reason"];
        listing(lines, "nobody did anything yet", &head, |line| {
            vec![
                line["id"].to_string(),
                output::time(&line["at"]),
                cell(line, "/who"),
                cell(line, "/action"),
                cell(line, "/subject"),
                cell(line, "/detail/count"),
                cell(line, "/detail/reason"),
            ]
        })
    }))
}
