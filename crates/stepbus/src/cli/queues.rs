//! `stepbus queues`: send to them and receive from them.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, cell, listing};
use crate::output;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List queues with what they hold.
    List,
    /// Send a message.
    Send {
        queue: String,
        body: String,
        /// Seconds for which it is hidden at first; the queue's own when not given.
        #[arg(long, value_name = "SECONDS")]
        delay: Option<u64>,
        /// A message attribute, as NAME=TEXT.
        #[arg(long = "attribute", value_name = "NAME=TEXT")]
        attributes: Vec<String>,
    },
    /// Receive messages: they are hidden from others for a while, and come again unless deleted.
    Receive {
        queue: String,
        /// How many at most, 1 to 10.
        #[arg(long, default_value_t = 1)]
        max: usize,
        /// Seconds to wait for the first, up to 20.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
        /// Seconds for which they stay hidden; the queue's own when not given.
        #[arg(long, value_name = "SECONDS")]
        visibility: Option<u64>,
        /// Delete them at once.
        #[arg(long)]
        delete: bool,
    },
    /// Delete a received message by its receipt handle.
    Delete { queue: String, receipt_handle: String },
    /// Delete everything in a queue; its dead letters count as discarded.
    Purge {
        queue: String,
        /// Do it without asking for this.
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self {
            Command::List => Ok(client.show(&client.get("queues", &[])?, list)),
            Command::Send { queue, body, delay, attributes } => {
                let attributes: serde_json::Map<String, Value> =
                    attributes.iter().map(|text| attribute(text)).collect::<Result<_, _>>()?;
                let body =
                    json!({ "body": body, "delay_seconds": delay, "attributes": attributes });
                let answer = client.post(&format!("queues/{queue}/messages"), &body)?;
                Ok(client.show(&answer, |answer| format!("sent {}\n", cell(answer, "/message"))))
            }
            Command::Receive { queue, max, wait, visibility, delete } => {
                let body =
                    json!({ "max": max, "wait_seconds": wait, "visibility_seconds": visibility });
                let answer = client.post(&format!("queues/{queue}/receive"), &body)?;
                if delete {
                    for message in answer.as_array().into_iter().flatten() {
                        let receipt = json!({ "receipt_handle": message["ReceiptHandle"] });
                        client.post(&format!("queues/{queue}/delete"), &receipt)?;
                    }
                }
                Ok(client.show(&answer, received))
            }
            Command::Delete { queue, receipt_handle } => {
                let body = json!({ "receipt_handle": receipt_handle });
                let answer = client.post(&format!("queues/{queue}/delete"), &body)?;
                Ok(client.show(&answer, |answer| match answer["deleted"] == true {
                    true => "deleted\n".to_owned(),
                    false => "it was received again since, or is gone\n".to_owned(),
                }))
            }
            Command::Purge { queue, yes } => {
                if !yes {
                    bail!("everything in '{queue}' would be deleted; say --yes");
                }
                let answer = client.post(&format!("queues/{queue}/purge"), &json!({}))?;
                Ok(client.show(&answer, |answer| format!("{} deleted\n", cell(answer, "/purged"))))
            }
        }
    }
}

fn attribute(text: &str) -> anyhow::Result<(String, Value)> {
    let Some((name, value)) = text.split_once('=') else {
        bail!("'{text}' is no attribute; write NAME=TEXT");
    };
    Ok((name.to_owned(), json!({ "DataType": "String", "StringValue": value })))
}

fn list(queues: &Value) -> String {
    let head = ["queue", "messages", "visible", "in flight", "delayed", "oldest"];
    listing(queues, "no queues", &head, |row| {
        vec![
            cell(row, "/queue"),
            cell(row, "/messages"),
            cell(row, "/visible"),
            cell(row, "/in_flight"),
            cell(row, "/delayed"),
            output::time(&row["oldest"]),
        ]
    })
}

fn received(messages: &Value) -> String {
    let head = ["message", "times", "receipt handle", "body"];
    listing(messages, "nothing to receive", &head, |row| {
        vec![
            cell(row, "/MessageId"),
            cell(row, "/Attributes/ApproximateReceiveCount"),
            cell(row, "/ReceiptHandle"),
            cell(row, "/Body"),
        ]
    })
}
