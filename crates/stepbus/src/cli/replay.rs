//! `stepbus executions export` and `replay`: an execution at any moment of its life.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use stepbus_model::ExecutionId;
use stepbus_runtime::Recording;
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

use super::client::{Client, cell};
use super::executions::{history, shortened};
use crate::output;

#[derive(Debug, Args)]
pub(super) struct Export {
    execution: ExecutionId,
    /// A data directory that no server uses, instead of asking a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    execution: Option<ExecutionId>,
    /// The last event of its history to be replayed; all of them when not given.
    #[arg(long, value_name = "EVENT")]
    until: Option<u64>,
    /// A file that `executions export` made; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// A data directory that no server uses, instead of asking a server.
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    data: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        match self.data {
            Some(data) => output::json(&recorded(&data, self.execution)?),
            None => {
                let path = format!("executions/{}/export", self.execution);
                output::json(&client.get(&path, &[])?);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Replay {
    pub(super) fn run(self, client: &Client) -> anyhow::Result<ExitCode> {
        let recording = match (&self.from, &self.data, self.execution) {
            (Some(file), ..) => Some(read(file)?),
            (None, Some(data), Some(execution)) => Some(recorded(data, execution)?),
            _ => None,
        };
        let answer = match (recording, self.execution) {
            (Some(recording), _) => recording.replay(self.until)?.to_value(),
            (None, Some(execution)) => {
                let until = self.until.map(|until| until.to_string());
                client.get(&format!("executions/{execution}/replay"), &[("until", until)])?
            }
            (None, None) => bail!("name an execution, or a file with --from"),
        };
        Ok(client.show(&answer, moment))
    }
}

fn read(file: &Path) -> anyhow::Result<Recording> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    Recording::parse(&text).with_context(|| format!("{} cannot be replayed", file.display()))
}

fn recorded(data: &Path, execution: ExecutionId) -> anyhow::Result<Recording> {
    if !data.is_dir() {
        bail!("there is no data directory {}", data.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recording = runtime.block_on(async {
        let store = SqliteStore::open(data, SqliteOptions::default())?;
        stepbus_runtime::export(&store, execution).await
    })?;
    recording.with_context(|| format!("there is no execution {execution} in {}", data.display()))
}

fn moment(answer: &Value) -> String {
    let mut text = format!(
        "execution  {} of {}\nstatus     {}\nat         event {} of {}, {}\n",
        cell(answer, "/execution/id"),
        cell(answer, "/execution/workflow"),
        cell(answer, "/status"),
        cell(answer, "/event"),
        cell(answer, "/events"),
        cell(answer, "/time"),
    );
    for name in ["error", "cause"] {
        if !answer[name].is_null() {
            text.push_str(&format!("{name:<10} {}\n", cell(answer, &format!("/{name}"))));
        }
    }
    for name in ["input", "output"] {
        if let Some(value) = answer.get(name) {
            text.push_str(&format!("{name:<10} {}\n", shortened(&value.to_string())));
        }
    }
    for thread in answer["threads"].as_array().into_iter().flatten() {
        let (state, activity) = (cell(thread, "/state"), cell(thread, "/activity"));
        text.push_str(&format!("\nstate {state}: {activity}\n"));
        text.push_str(&format!("  input  {}\n", shortened(&thread["input"].to_string())));
        for (name, value) in thread["variables"].as_object().into_iter().flatten() {
            text.push_str(&format!("  ${name} = {}\n", shortened(&value.to_string())));
        }
    }
    text.push('\n');
    text.push_str(&history(&serde_json::json!({ "events": answer["history"] })));
    text
}
