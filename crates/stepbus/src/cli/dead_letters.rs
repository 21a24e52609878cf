//! `stepbus dlq`: dead letters as a place to work.

use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{Context, bail};
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
    /// Count dead letters by what they died of, by queue or by subscription.
    Groups {
        #[command(flatten)]
        filter: Filter,
        #[arg(long, value_enum, default_value_t = By::Cause)]
        by: By,
    },
    /// How many messages each queue holds, and since when.
    Queues,
    /// Show what a redrive of a dead letter would send.
    Payload { message: MessageId },
    /// Have a dead letter sent with another payload; a redrive then sends it under a new
    /// Idempotency-Key. The original is kept.
    Edit {
        message: MessageId,
        /// The whole payload; `-` reads it from standard input.
        #[arg(long, value_name = "JSON", conflicts_with = "set")]
        payload: Option<String>,
        /// One place of it, as in `/product/uom="PCE"`; may be given several times.
        #[arg(long, value_name = "POINTER=JSON", required_unless_present = "payload")]
        set: Vec<String>,
        /// Why; the audit keeps it.
        #[arg(long, default_value = "")]
        reason: String,
    },
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
    /// Redrives, newest first, and how far they are.
    Redrives {
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Have a redrive end after what it is at.
    Cancel { operation: u64 },
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
    /// Only those whose cause has this in it, in whatever case.
    #[arg(long)]
    cause: Option<String>,
    /// Only those sent at least so long ago, as in 90s, 30m, 12h or 7d.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    older_than: Option<u64>,
    /// Only those sent at most so long ago.
    #[arg(long, value_name = "SPAN", value_parser = seconds)]
    newer_than: Option<u64>,
}

/// A span of time in whole seconds.
fn seconds(text: &str) -> Result<u64, String> {
    crate::project::duration(text).map(|span| span.as_secs())
}

impl Filter {
    fn query(self) -> [(&'static str, Option<String>); 8] {
        [
            ("queue", self.queue),
            ("run", self.run.map(|id| id.to_string())),
            ("subscription", self.subscription),
            ("error_code", self.error_code),
            ("key", self.key),
            ("cause", self.cause),
            ("older_than", self.older_than.map(|seconds| seconds.to_string())),
            ("newer_than", self.newer_than.map(|seconds| seconds.to_string())),
        ]
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum By {
    Queue,
    Subscription,
    Cause,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Selected {
    /// One message.
    #[arg(conflicts_with_all = [
        "queue", "run", "subscription", "error_code", "key", "cause", "older_than", "newer_than", "all",
    ])]
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
                let mut query = filter.query().to_vec();
                query.push(("after", after.map(|id| id.to_string())));
                query.push(("limit", Some(limit.to_string())));
                Ok(client.show(&client.get("dead-letters", &query)?, list))
            }
            Command::Groups { filter, by } => {
                let mut query = filter.query().to_vec();
                let by = by.to_possible_value().map(|value| value.get_name().to_owned());
                query.push(("by", by));
                Ok(client.show(&client.get("dead-letters/groups", &query)?, groups))
            }
            Command::Payload { message } => {
                let answer = client.get(&format!("dead-letters/{message}/payload"), &[])?;
                Ok(client.show(&answer, pretty))
            }
            Command::Edit { message, payload, set, reason } => {
                let path = format!("dead-letters/{message}/payload");
                let payload = match payload {
                    Some(text) => serde_json::from_str(&output::argument(text)?)
                        .context("--payload is no JSON")?,
                    None => changed(client.get(&path, &[])?, &set)?,
                };
                let edit = json!({ "payload": payload, "reason": reason });
                Ok(client.show(&client.put(&path, &edit)?, pretty))
            }
            Command::Redrives { limit } => {
                let query = [("limit", Some(limit.to_string()))];
                Ok(client.show(&client.get("operations", &query)?, redrives))
            }
            Command::Cancel { operation } => {
                let answer = client.post(&format!("operations/{operation}/cancel"), &json!({}))?;
                Ok(client.show(&answer, |answer| {
                    let what = match answer["cancelled"] == true {
                        true => "ends after what it is at",
                        false => "is not under way",
                    };
                    format!("redrive {operation} {what}\n")
                }))
            }
            Command::Queues => Ok(client.show(&client.get("queues", &[])?, queues)),
            Command::Show { message } => {
                let answer = client.get(&format!("dead-letters/{message}"), &[])?;
                Ok(client.show(&answer, pretty))
            }
            Command::Redrive { selected, rate, subscription_version } => {
                let mut body = selected.body();
                body["rate"] = json!(rate);
                body["version"] = match subscription_version {
                    Version::Original => "original".into(),
                    Version::Current => "current".into(),
                };
                let answer = followed(client, client.post("dead-letters/redrive", &body)?)?;
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
            "cause": self.filter.cause,
            "older_than": self.filter.older_than,
            "newer_than": self.filter.newer_than,
            "all": self.all,
        })
    }
}

fn pretty(answer: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(answer).unwrap_or_default())
}

/// The payload with some of its places set.
fn changed(view: Value, set: &[String]) -> anyhow::Result<Value> {
    let mut payload = view["payload"].clone();
    if payload.is_null() {
        bail!("there is no payload to change ({}); give it whole", cell(&view, "/problem"));
    }
    for assignment in set {
        let (pointer, text) = assignment
            .split_once('=')
            .with_context(|| format!("`{assignment}`: expected POINTER=JSON, as /uom=\"PCE\""))?;
        let value: Value =
            serde_json::from_str(text).with_context(|| format!("`{assignment}`: no JSON"))?;
        let (parent, name) = pointer
            .rsplit_once('/')
            .with_context(|| format!("`{pointer}`: a pointer begins with /"))?;
        let parent = payload
            .pointer_mut(parent)
            .with_context(|| format!("`{pointer}`: the payload has no `{parent}`"))?;
        let name = name.replace("~1", "/").replace("~0", "~");
        match parent {
            Value::Object(members) => drop(members.insert(name, value)),
            Value::Array(items) => {
                let index = name.parse::<usize>().ok();
                *index
                    .and_then(|index| items.get_mut(index))
                    .with_context(|| format!("`{pointer}`: no such element"))? = value;
            }
            _ => bail!("`{pointer}`: what it is to stand in is neither an object nor a list"),
        }
    }
    Ok(payload)
}

/// Tells how far a redrive is until it ends; it goes on in the server whoever watches.
fn followed(client: &Client, mut answer: Value) -> anyhow::Result<Value> {
    let Some(operation) = answer["operation"].as_u64() else { return Ok(answer) };
    while answer["running"] == true {
        output::note(&format!("{} redriven so far (redrive {operation})", cell(&answer, "/done")));
        let wait = [("wait", Some("10".to_owned()))];
        let view = client.get(&format!("operations/{operation}"), &wait)?;
        for member in ["done", "refused", "refusal", "status"] {
            answer[member] = view[member].clone();
        }
        answer["running"] = json!(view["status"] == "RUNNING");
    }
    Ok(answer)
}

fn groups(groups: &Value) -> String {
    let head = ["count", "oldest", "code", "of", "cause", "sample"];
    listing(groups, "no dead letters", &head, |group| {
        let joined = |member: &str| {
            let names = group[member].as_array().into_iter().flatten();
            names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        vec![
            cell(group, "/count"),
            output::time(&group["oldest"]),
            joined("error_codes"),
            [joined("subscriptions"), joined("schedules")].concat(),
            cell(group, "/cause"),
            cell(group, "/sample"),
        ]
    })
}

fn redrives(operations: &Value) -> String {
    let head = ["redrive", "status", "started", "ended", "redriven", "refused", "rate"];
    listing(operations, "no redrives", &head, |row| {
        vec![
            row["id"].to_string(),
            cell(row, "/status"),
            output::time(&row["started"]),
            output::time(&row["ended"]),
            cell(row, "/done"),
            cell(row, "/refused"),
            cell(row, "/wish/rate"),
        ]
    })
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
