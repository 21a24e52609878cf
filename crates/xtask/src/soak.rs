//! `cargo xtask soak`: the big one of `crates/stepbus/tests/soak.rs`, with a binary built for speed.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 200_000)]
    events: u64,

    #[arg(long, default_value_t = 50)]
    subscriptions: u64,

    /// How often the process is killed, spread over the first half.
    #[arg(long, default_value_t = 10)]
    kills: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let status = Command::new("cargo")
        .args(["test", "--release", "--package", "stepbus", "--test", "soak", "--"])
        .args(["--ignored", "--exact", "--nocapture", "a_big_soak"])
        .env("SOAK_EVENTS", arguments.events.to_string())
        .env("SOAK_SUBSCRIPTIONS", arguments.subscriptions.to_string())
        .env("SOAK_KILLS", arguments.kills.to_string())
        .status()
        .context("cannot run cargo test")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
