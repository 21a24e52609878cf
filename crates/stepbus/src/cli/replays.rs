//! `stepbus replay`: events of the log once more. `stepbus storage`: the disk it takes.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stepbus_model::{Clock, SystemClock, Timestamp};

use super::client::{Client, cell, listing};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish events of a bus's log once more, to chosen subscriptions; a run of its own.
    Start(Start),
    /// List replays, newest first.
    List,
    /// Show one: what it replays, how far it is.
    Show { name: String },
    /// Stop one; what it published stays.
    Cancel { name: String },
}

#[derive(Debug, Args)]
pub(super) struct Start {
    /// The replay's name; events carry it as `replay-name`.
    name: String,
    #[arg(long)]
    bus: String,
    /// Only what this archive of the bus keeps.
    #[arg(long)]
    archive: Option<String>,
    /// Events accepted since: a time as 2026-01-31T08:00:00Z, or so long ago as 24h.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Events accepted before; now by default.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events that match this event pattern.
    #[arg(long, value_name = "JSON")]
    pattern: Option<String>,
    /// To this subscription, may be given several times; to all of the bus by default.
    #[arg(long = "subscription", value_name = "NAME")]
    subscriptions: Vec<String>,
    /// Events a second at most.
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Send what it delivers although targets hold the same already.
    #[arg(long)]
    force: bool,
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::Start(start) => {
                let pattern = start.pattern.as_deref().map(pattern).transpose()?;
                let answer = client.post(
                    "replays",
                    &json!({
                        "name": start.name,
                        "bus": start.bus,
                        "archive": start.archive,
                        "from": moment(&start.from)?,
                        "to": moment(start.to.as_deref().unwrap_or("now"))?,
                        "pattern": pattern,
                        "subscriptions": start.subscriptions,
                        "rate": start.rate,
                        "force": start.force,
                    }),
                )?;
                Ok(client.show(&answer, shown))
            }
            Command::List => Ok(client.show(&client.get("replays", &[])?, list)),
            Command::Show { name } => {
                Ok(client.show(&client.get(&format!("replays/{name}"), &[])?, shown))
            }
            Command::Cancel { name } => {
                let path = format!("replays/{name}/cancel");
                Ok(client.show(&client.post(&path, &json!({}))?, shown))
            }
        }
    }
}

/// A time, or so long ago, as the admin API takes it.
pub(super) fn moment(text: &str) -> anyhow::Result<String> {
    let now = SystemClock::default().now();
    if text == "now" {
        return Ok(now.to_rfc3339());
    }
    if let Ok(time) = Timestamp::parse(text) {
        return Ok(time.to_rfc3339());
    }
    let Ok(ago) = crate::project::duration(text) else {
        bail!("'{text}' is neither a time as 2026-01-31T08:00:00Z nor a span as 24h");
    };
    let ago = i64::try_from(ago.as_millis()).context("that is too long ago")?;
    Ok(Timestamp(now.0.saturating_sub(ago)).to_rfc3339())
}

fn pattern(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).context("--pattern is no JSON")
}

fn list(replays: &Value) -> String {
    let head = ["replay", "state", "bus", "replayed", "started", "run"];
    listing(replays, "no replays", &head, |row| {
        vec![
            cell(row, "/name"),
            cell(row, "/state"),
            cell(row, "/bus"),
            cell(row, "/replayed"),
            output::time(&row["started"]),
            cell(row, "/run"),
        ]
    })
}

fn shown(replay: &Value) -> String {
    let mut text = format!(
        "{} {} in {}: {} events replayed",
        cell(replay, "/name"),
        cell(replay, "/state"),
        cell(replay, "/run"),
        cell(replay, "/replayed"),
    );
    if !replay["last_replayed"].is_null() {
        text.push_str(&format!(", the last one of {}", output::time(&replay["last_replayed"])));
    }
    text.push('\n');
    if let Some(reason) = replay["reason"].as_str() {
        text.push_str(reason);
        text.push('\n');
    }
    text
}

/// A line about what holds extraction back, when something does.
pub(super) fn held_back(standing: &Value) -> String {
    let extraction = match standing["extraction"].as_str() {
        Some("SLOWED") => "slowed down",
        Some("STOPPED") => "stopped",
        _ => return String::new(),
    };
    format!(
        "extraction is {extraction} since {}: {} is at {} %\n",
        output::time(&standing["since"]),
        cell(standing, "/nearest/bound"),
        cell(standing, "/nearest/percent"),
    )
}

pub(super) fn storage(client: &Client) -> anyhow::Result<ExitCode> {
    Ok(client.show(&client.get("storage", &[])?, |usage| {
        let mebibytes = |bytes: &Value| {
            // A tenth of a MiB, rounded up: what is there is not shown as nothing.
            let tenths = bytes.as_u64().map(|bytes| (bytes * 10).div_ceil(1 << 20));
            tenths
                .map_or_else(|| "-".to_owned(), |tenths| format!("{}.{}", tenths / 10, tenths % 10))
        };
        let mut rows = Vec::new();
        for group in usage["groups"].as_array().into_iter().flatten() {
            rows.push(vec![cell(group, "/0"), mebibytes(&group[1])]);
        }
        for (name, field) in [
            ("free to be used again", "unused"),
            ("database file", "database"),
            ("write-ahead log", "write_ahead_log"),
            ("free on the disk", "disk_free"),
            ("bound", "max_bytes"),
        ] {
            rows.push(vec![name.to_owned(), mebibytes(&usage[field])]);
        }
        let mut text = output::table(&["what", "MiB"], &rows);
        let pressure = &usage["pressure"];
        text.push_str(&format!(
            "\nlive deliveries {} of {}\n",
            cell(pressure, "/live_deliveries"),
            cell(pressure, "/live_deliveries_bound"),
        ));
        text.push_str(&held_back(pressure));
        if usage["refusing"] == true {
            text.push_str("Nothing is accepted: the bound is reached.\n");
        }
        text
    }))
}
