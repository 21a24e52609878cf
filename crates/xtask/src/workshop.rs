//! Hands a command on to this program built with everything and for speed.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

/// Arguments that only the fully built program knows.
#[derive(Debug, clap::Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(command: &str, rest: &Rest) -> Result<ExitCode> {
    let status = Command::new("cargo")
        .args(["run", "--quiet", "--package", "xtask", "--profile", "xtask"])
        .args(["--features", "workshop", "--", command])
        .args(&rest.arguments)
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
