//! `cargo xtask test`: installs what is missing, then runs every test of a tier.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The long ones too: many kills, soaks, fuzzing.
    #[arg(long)]
    full: bool,

    /// What follows goes to `cargo nextest run`, such as a filter.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Programs the tests need, and the Debian package each comes in.
const TOOLS: &[(&str, &str)] = &[("cc", "gcc"), ("c++", "g++"), ("ld", "binutils")];
/// How long the full tier runs each fuzz target.
const FUZZ_SECONDS: u64 = 60;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    install_missing()?;
    let mut nextest = Command::new("cargo");
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
    if arguments.full {
        nextest.args(["--run-ignored", "all", "--profile", "full"]);
    }
    nextest.args(&arguments.rest);
    let tested = nextest.status().context("cannot run cargo nextest")?;
    if !tested.success() {
        return Ok(ExitCode::FAILURE);
    }
    if arguments.full && arguments.rest.is_empty() && !crate::fuzz::all(FUZZ_SECONDS)? {
        return Ok(ExitCode::FAILURE);
    }
    if arguments.rest.is_empty() {
        let mut documentation = Command::new("cargo");
        documentation.args(["test", "--workspace", "--doc", "--quiet"]);
        if !documentation.status()?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn install_missing() -> Result<()> {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        println!("installing {}", missing.join(", "));
        must(Command::new("apt-get").arg("update"))?;
        must(Command::new("apt-get").args(["install", "--yes"]).args(&missing))?;
    }
    if !there("cargo-nextest") {
        must(Command::new("cargo").args(["install", "cargo-nextest", "--locked"]))?;
    }
    Ok(())
}

fn there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn must(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
