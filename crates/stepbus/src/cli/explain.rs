//! `stepbus events explain`: why an event matches a pattern or does not.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args};
use serde_json::Value;
use stepbus_model::EventId;
use stepbus_pattern::Pattern;

use super::client::Client;
use crate::output;

/// Neither yes nor no: there was nothing to compare.
const TROUBLE: u8 = 2;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which event").required(true).args(["event_id", "event"]))]
#[command(group = ArgGroup::new("which pattern").required(true).args(["pattern", "subscription"]))]
pub(super) struct Explain {
    /// An event of the server's log.
    #[arg(value_name = "EVENT")]
    event_id: Option<EventId>,
    /// The whole event as JSON, or the file it is in; `-` reads it from standard input.
    #[arg(long, value_name = "FILE|JSON")]
    event: Option<String>,
    /// An event pattern as JSON, or the file it is in; `-` reads it from standard input.
    #[arg(long, value_name = "FILE|JSON")]
    pattern: Option<String>,
    /// The pattern of a subscription of the server.
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
}

impl Explain {
    /// 0 when the event matches, 1 when not, 2 when that cannot be said.
    pub(super) fn run(&self, client: &Client) -> ExitCode {
        self.compare(client).unwrap_or_else(|error| {
            output::error(&format!("{error:#}"));
            ExitCode::from(TROUBLE)
        })
    }

    fn compare(&self, client: &Client) -> anyhow::Result<ExitCode> {
        if self.event.as_deref() == Some("-") && self.pattern.as_deref() == Some("-") {
            bail!("only one of --event and --pattern can be `-`: there is one standard input");
        }
        let pattern = Pattern::parse(self.pattern(client)?)?;
        let explanation = pattern.explain(&self.event(client)?)?;
        if client.is_json() {
            output::json(&explanation);
        } else {
            output::text(&explanation.to_string());
        }
        Ok(if explanation.matched { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn pattern(&self, client: &Client) -> anyhow::Result<Vec<u8>> {
        let Some(name) = &self.subscription else {
            return read(self.pattern.as_deref().unwrap_or_default(), "--pattern");
        };
        let found = client.get(&format!("subscriptions/{name}"), &[])?;
        let pattern = found.pointer("/spec/pattern").and_then(Value::as_str);
        let pattern = pattern.ok_or_else(|| {
            anyhow!("subscription '{name}' is gone from the project; its pattern is not kept")
        })?;
        Ok(pattern.as_bytes().to_vec())
    }

    fn event(&self, client: &Client) -> anyhow::Result<Vec<u8>> {
        let Some(id) = self.event_id else {
            return read(self.event.as_deref().unwrap_or_default(), "--event");
        };
        // The log is read from after an event on.
        let before = EventId(id.0.saturating_sub(1)).to_string();
        let query = [("after", Some(before)), ("limit", Some("1".to_owned()))];
        let events = client.get("events", &query)?;
        let found = events.get(0).filter(|row| row["id"] == id.to_string());
        let found = found.ok_or_else(|| anyhow!("the log holds no {id}"))?;
        Ok(serde_json::to_vec(&found["event"])?)
    }
}

/// JSON as it is; what does not look like it names a file.
fn read(argument: &str, name: &str) -> anyhow::Result<Vec<u8>> {
    if argument == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    if argument.trim_start().starts_with(['{', '[', '"']) {
        return Ok(argument.as_bytes().to_vec());
    }
    std::fs::read(argument)
        .with_context(|| format!("{name} is neither JSON nor a file: cannot read `{argument}`"))
}
