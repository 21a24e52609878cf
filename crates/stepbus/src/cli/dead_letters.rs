//! `stepbus dlq`: dead letters as a place to work.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use stepbus_model::{MessageId, RunId};

use super::client::{Client, cell, listing};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only messages after this one.
        #[arg(long, value_name = "MESSAGE")]
        after: Option<MessageId>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// How many messages each queue holds, and since when.
    Queues,
    /// Show one dead letter: its event, its attributes, the last request and response.
    Show { message: MessageId },
    /// Send dead letters again, attempts and age anew.
    Redrive {
        #[command(flatten)]
        selected: Selected,
        /// Deliveries a second at most.
        #[arg(long)]
        rate: Option<NonZeroU32>,
        /// By which version of the subscription.
        #[arg(long, value_enum, default_value_t = Version::Original)]
        subscription_version: Version,
    },
    /// Give dead letters up; they count as discarded.
    Purge {
        #[command(flatten)]
        selected: Selected,
        /// Why; the audit keeps it.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Clone, Args)]
pub(super) struct Filter {
    /// Only those of this dead-letter queue.
    #[arg(long)]
    queue: Option<String>,
    /// Only those of this run.
    #[arg(long)]
    run: Option<RunId>,
    /// Only those of this subscription.
    #[arg(long)]
    subscription: Option<String>,
    /// Only those with this ERROR_CODE.
    #[arg(long)]
    error_code: Option<String>,
    /// Only those with this business key.
    #[arg(long)]
    key: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Selected {
    /// One message.
    #[arg(conflicts_with_all = ["queue", "run", "subscription", "error_code", "key", "all"])]
    message: Option<MessageId>,
    #[command(flatten)]
    filter: Filter,
    /// All there are.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Version {
    Original,
    Current,
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::List { filter, after, limit } => {
                let query = [
                    ("queue", filter.queue),
                    ("run", filter.run.map(|id| id.to_string())),
                    ("subscription", filter.subscription),
                    ("error_code", filter.error_code),
                    ("key", filter.key),
                    ("after", after.map(|id| id.to_string())),
                    ("limit", Some(limit.to_string())),
                ];
                Ok(client.show(&client.get("dead-letters", &query)?, list))
            }
            Command::Queues => Ok(client.show(&client.get("queues", &[])?, queues)),
            Command::Show { message } => {
                let answer = client.get(&format!("dead-letters/{message}"), &[])?;
                Ok(client.show(&answer, |answer| {
                    format!("{}\n", serde_json::to_string_pretty(answer).unwrap_or_default())
                }))
            }
            Command::Redrive { selected, rate, subscription_version } => {
                let mut body = selected.body();
                body["rate"] = json!(rate);
                body["version"] = match subscription_version {
                    Version::Original => "original".into(),
                    Version::Current => "current".into(),
                };
                let answer = client.post("dead-letters/redrive", &body)?;
                Ok(client.show(&answer, |answer| tally(answer, "redriven")))
            }
            Command::Purge { selected, reason } => {
                let mut body = selected.body();
                body["reason"] = reason.into();
                let answer = client.post("dead-letters/purge", &body)?;
                Ok(client.show(&answer, |answer| tally(answer, "purged")))
            }
        }
    }
}

impl Selected {
    fn body(self) -> Value {
        json!({
            "id": self.message,
            "queue": self.filter.queue,
            "run": self.filter.run,
            "subscription": self.filter.subscription,
            "error_code": self.filter.error_code,
            "key": self.filter.key,
            "all": self.all,
        })
    }
}

fn list(letters: &Value) -> String {
    let head = ["message", "queue", "run", "key", "sent", "attempts", "code", "error"];
    listing(letters, "no dead letters", &head, |row| {
        vec![
            cell(row, "/id"),
            cell(row, "/queue"),
            cell(row, "/run"),
            cell(row, "/key"),
            output::time(&row["sent"]),
            cell(row, "/attempts"),
            cell(row, "/error_code"),
            cell(row, "/attributes/ERROR_MESSAGE"),
        ]
    })
}

fn queues(queues: &Value) -> String {
    listing(queues, "all queues are empty", &["queue", "messages", "oldest"], |row| {
        vec![cell(row, "/queue"), cell(row, "/messages"), output::time(&row["oldest"])]
    })
}

fn tally(answer: &Value, done: &str) -> String {
    let mut text = format!("{} {done}", cell(answer, "/done"));
    if answer["refused"].as_u64().unwrap_or(0) > 0 {
        let refusal =
            format!(", {} refused: {}", cell(answer, "/refused"), cell(answer, "/refusal"));
        text.push_str(&refusal);
    }
    if answer["running"] == true {
        text.push_str(" so far; it goes on in the server");
    }
    text.push('\n');
    text
}
